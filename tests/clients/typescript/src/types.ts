// What must not compile. Each `@ts-expect-error` is itself an error once the line below it does compile.
import type { Client } from "./client.js";
import * as documents from "./documents.js";
import { getFragmentData } from "./gql/index.js";
import type { AiTaskStatus, LeadFilter, LeadKey, TaskSource } from "./gql/graphql.js";

export async function mistakes(client: Client): Promise<void> {
  const { leads } = await client.run(documents.OpenLeads, { limit: 1 });
  const card = getFragmentData(documents.LeadCard, leads)[0];

  // @ts-expect-error an array may be empty
  card.fullName;
  if (!card) return;

  // @ts-expect-error no such field
  card.surname;
  // @ts-expect-error not selected
  card.email;
  // @ts-expect-error nobody may own it
  card.owner.name;
  // @ts-expect-error money is text, so that it stays exact
  card.budget * 2;
  // @ts-expect-error not without saying how many: the document declares `$limit: Int!`
  await client.run(documents.OpenLeads, {});
  // An id as it came, or the number that it is.
  await client.run(documents.OneLead, { id: card.id });
  await client.run(documents.OneLead, { id: card.tasks.length });
  // @ts-expect-error a title is needed
  await client.run(documents.CreateTask, { input: { leadId: 1 } });
}

// @ts-expect-error not a source
export const source: TaskSource = "MANAUL";
// @ts-expect-error not a status
export const status: AiTaskStatus = "DONE";
// @ts-expect-error a number is compared with numbers
export const filter: LeadFilter = { activityScore: { gte: "80" } };
// @ts-expect-error exactly one key
export const key: LeadKey = { id: 1, email: "anna@example.com" };
