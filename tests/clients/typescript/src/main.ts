// Every flow that a frontend has, once, against the server at CRM_URL, with the token CRM_TOKEN if it needs one.
import assert from "node:assert/strict";

import { Client, CrmError } from "./client.js";
import * as documents from "./documents.js";
import { getFragmentData } from "./gql/index.js";
import { changesOf, connect, statesOf } from "./live.js";
import { Relay } from "./relay.js";
import type {
  AiTaskStatus,
  CreateAiTaskInput,
  CreateLeadInput,
  ErrorCode,
  FieldProblem,
  LeadFilter,
  LeadPageQuery,
  TaskSource,
} from "./gql/graphql.js";

const url = process.env.CRM_URL ?? "http://127.0.0.1:8000/graphql";
const token = process.env.CRM_TOKEN;
const client = new Client(url, token);
const run = `ts-${Date.now()}`;

/** Leads of this run alone, so that the program runs against any data. */
async function addLeads(tag: string, ...leads: Omit<CreateLeadInput, "tags">[]): Promise<string[]> {
  const inputs = leads.map((lead) => ({ ...lead, tags: [tag] }));
  const { createLeads } = await client.run(documents.CreateLeads, { inputs });
  const ids = createLeads.map((result) => result.lead?.id ?? "");
  added.push(...ids);
  return ids;
}

const added: string[] = [];

async function list(): Promise<void> {
  const [asa, osten] = await addLeads(
    run,
    { firstName: "Åsa", lastName: "Ångström" },
    { firstName: "Östen", lastName: "Öberg", budget: "1250.50", currency: "SEK" },
    { firstName: "Nils", lastName: "Utan" },
  );
  assert(asa && osten);
  await client.run(documents.CreateTask, { input: { leadId: asa, title: "Ring" } });
  await client.run(documents.CreateTask, { input: { leadId: osten, title: "Some day" } });
  await client.run(documents.CreateTask, {
    input: { leadId: osten, title: "First", dueDate: "2027-01-01T12:00:00Z" },
  });

  const filter: LeadFilter = { tags: { has: run }, tasks: { some: { status: { eq: "OPEN" } } } };
  const { leads } = await client.run(documents.OpenLeads, {
    filter,
    orderBy: [{ field: "LAST_NAME", direction: "DESC" }, { field: "BUDGET", nulls: "FIRST" }],
    limit: 20,
  });
  const cards = getFragmentData(documents.LeadCard, leads);
  assert.deepEqual(
    cards.map((card) => card.fullName),
    ["Östen Öberg", "Åsa Ångström"],
  );
  const first = cards[0];
  assert(first);
  assert.equal(first.owner?.name ?? "nobody", "nobody");
  assert.equal(first.budget, "1250.50");
  assert(!Number.isNaN(Date.parse(first.createdAt)));
  const tasks = getFragmentData(documents.TaskRow, first.tasks);
  assert.deepEqual(
    tasks.map((task) => task.dueDate?.slice(0, 10) ?? "some day"),
    ["2027-01-01", "some day"],
  );
}

async function one(): Promise<void> {
  const missing = await client.run(documents.OneLead, { id: "2000000000" });
  assert.equal(missing.lead, null);
  const created = await createLead();
  const { lead } = await client.run(documents.OneLead, { id: created });
  assert(lead, "the lead is there");
  assert.equal(getFragmentData(documents.LeadCard, lead).status, "NEW");
  assert.equal(lead.lastInteractionAt, null);
  const change = lead.timeline[0];
  assert.equal(change?.type, "lead.created");
  const company = change.fields.find((field) => field.name === "company");
  assert.equal(company?.before, null);
  assert(typeof company.after === "string"); // `unknown` until you look
  const { leadBy } = await client.run(documents.LeadByKey, { key: { email: `${run}@EXAMPLE.com` } });
  assert.equal(leadBy?.id, created);
}

let createdId: string | undefined;

async function createLead(): Promise<string> {
  if (createdId !== undefined) return createdId;
  const { createLead } = await client.run(documents.CreateLead, {
    input: {
      firstName: "Åke",
      lastName: "Sjöö",
      email: `${run}@example.com`,
      company: "Written by TypeScript",
      budget: "99.90",
      currency: "SEK",
    },
  });
  assert.equal(createLead.budget, "99.90");
  createdId = createLead.id;
  added.push(createdId);
  return createdId;
}

async function change(): Promise<void> {
  const id = await createLead();
  // Left out stays, null clears; the version that you showed protects what you did not see.
  const { updateLead } = await client.run(documents.UpdateLead, {
    id,
    input: { location: "Umeå", company: null, expectedVersion: 1 },
  });
  assert.deepEqual(updateLead, { version: 2, company: null, location: "Umeå" });
  const stale = await failure(
    client.run(documents.UpdateLead, { id, input: { location: "Luleå", expectedVersion: 1 } }),
  );
  assert.equal(stale.code, "CONFLICT" satisfies ErrorCode);
  assert.equal(stale.details.field, "expectedVersion");
  assert.equal(stale.details.currentVersion, 2);
}

async function tasks(): Promise<void> {
  const leadId = await createLead();
  const { createTask } = await client.run(documents.CreateTask, {
    input: { leadId, title: "Ring upp", dueDate: "2027-01-31T10:00:00+01:00", priority: "HIGH" },
  });
  const task = getFragmentData(documents.TaskRow, createTask);
  assert.equal(task.dueDate, "2027-01-31T09:00:00.000000Z");

  const { completeTask } = await client.run(documents.CompleteTask, { id: task.id });
  assert(completeTask.completed && completeTask.completedAt);

  for (const source of ["DISMISSED", "MANUAL"] satisfies TaskSource[]) {
    const { setTaskSource } = await client.run(documents.SetTaskSource, { id: task.id, source });
    assert.equal(getFragmentData(documents.TaskRow, setTaskSource).source, source);
  }
  const { tasks: found } = await client.run(documents.TasksOfLead, { leadId });
  assert.equal(found.length, 1);
}

async function* allLeads(filter: LeadFilter, first: number) {
  let after: string | null = null;
  do {
    const page: LeadPageQuery = await client.run(documents.LeadPage, { filter, first, after });
    const { nodes, pageInfo } = page.leadsConnection;
    yield* nodes;
    after = pageInfo.hasNextPage ? pageInfo.endCursor : null;
  } while (after !== null);
}

async function paging(): Promise<void> {
  const paged = `${run}-paged`;
  const ten = Array.from({ length: 10 }, (_, n) => ({ firstName: "Page", lastName: `Lead ${n % 4}` }));
  await addLeads(paged, ...ten);
  const names: string[] = [];
  for await (const lead of allLeads({ tags: { has: paged } }, 3)) names.push(lead.lastName);
  assert.equal(names.length, 10);
  assert.deepEqual(names, names.toSorted());
  const bad = await failure(client.run(documents.LeadPage, { first: 3, after: "not a cursor" }));
  assert.deepEqual([bad.code, bad.details.field], ["BAD_USER_INPUT", "after"]);
}

async function bulk(): Promise<void> {
  const { createLeads } = await client.run(documents.CreateLeads, {
    inputs: [
      { firstName: "Ny", lastName: "Kund", email: `bulk-${run}@example.com` },
      { firstName: "Samma", lastName: "Kund", email: `BULK-${run}@example.com` },
      { firstName: "", lastName: "Kund" },
    ],
  });
  assert.deepEqual(
    createLeads.map((result) => result.status),
    ["CREATED", "DUPLICATE", "INVALID"],
  );
  const [created, duplicate, invalid] = createLeads;
  assert(created?.lead);
  added.push(created.lead.id);
  assert.equal(duplicate?.existingId, created.lead.id);
  assert.equal(invalid?.field, "firstName");
}

async function errors(): Promise<void> {
  const id = await createLead();
  const form = await failure(
    client.run(documents.CreateTask, { input: { leadId: id, title: " ", assigneeId: "nobody" } }),
  );
  assert.deepEqual([form.code, form.details.field], ["BAD_USER_INPUT", "title"]);
  const reasons = form.details.problems?.map(({ reason }) => reason) ?? [];
  assert.deepEqual(reasons, ["BLANK", "NOT_AN_ID"] satisfies FieldProblem[]);
  const taken = await failure(
    client.run(documents.CreateLead, {
      input: { firstName: "Någon", lastName: "Annan", email: `${run}@example.com` },
    }),
  );
  assert.deepEqual([taken.code, taken.details.conflict, taken.details.existingId], ["CONFLICT", "TAKEN", id]);
  const gone = await failure(client.run(documents.CompleteTask, { id: "2000000000" }));
  assert.equal(gone.code, "NOT_FOUND");
  const stranger = new Client(url, "not a token");
  assert.equal((await failure(stranger.run(documents.OneLead, { id }))).code, "UNAUTHENTICATED");
}

async function live(): Promise<void> {
  const leadId = await createLead();
  const { changeStream } = await client.run(documents.LeadToFollow, { id: leadId });
  const start = changeStream?.cursor ?? null;
  const addTask = (title: string) => client.run(documents.CreateTask, { input: { leadId, title } });

  await addTask("before you connect");
  const relay = await Relay.to(url);
  const socket = connect(relay.url, token);
  const seen: string[] = [];
  for await (const change of changesOf(socket, leadId, start)) {
    if (change.type !== "task.created") continue; // where a worker runs, the lead's new score comes in between
    seen.push(getFragmentData(documents.TaskRow, change.task)?.title ?? "deleted since");
    if (seen.length === 1) await addTask("while you look");
    if (seen.length === 2) {
      socket.terminate(); // the connection is lost
      await addTask("while you are away");
    }
    if (seen.length === 3) {
      await relay.stop(); // the server is away, and takes no new connection either
      await addTask("while the server is away");
      setTimeout(() => void relay.start(), 1500);
    }
    if (seen.length === 4) break;
  }
  assert.deepEqual(seen, ["before you connect", "while you look", "while you are away", "while the server is away"]);

  const foreign = await failure(changesOf(socket, leadId, "not a cursor").next());
  assert.deepEqual([foreign.code, foreign.details.field], ["BAD_USER_INPUT", "after"]);
  await socket.dispose();
  await relay.stop();
}

async function aiTasks(): Promise<void> {
  const input: CreateAiTaskInput = {
    taskType: "echo",
    input: { message: "Hej", seconds: 3600 }, // for an hour, so that there is something to cancel
    priority: "LOW",
    timeoutSeconds: 3600,
    scheduledFor: new Date(Date.now() - 1000).toISOString(),
    idempotencyKey: run,
  };
  const create = async () =>
    getFragmentData(documents.AiTaskState, (await client.run(documents.CreateAiTask, { input })).createAiTask);
  const { id } = await create();
  assert.equal((await create()).id, id, "the same key gives the same task");

  const socket = connect(url, token);
  const statuses: AiTaskStatus[] = [];
  for await (const task of statesOf(socket, id)) {
    statuses.push(task.status);
    if (statuses.length > 1) continue;
    socket.terminate(); // the connection is lost
    await client.run(documents.PrioritiseAiTask, { id, priority: "URGENT" });
    const { cancelAiTask } = await client.run(documents.CancelAiTask, { id });
    assert(getFragmentData(documents.AiTaskState, cancelAiTask).canRetry);
  }
  assert(statuses[0] === "QUEUED" || statuses[0] === "RUNNING"); // where a worker runs, it may have begun
  assert.equal(statuses.at(-1), "CANCELLED");

  const { aiTasks } = await client.run(documents.AiTasks, {
    filter: { idempotencyKey: { eq: run }, status: { notIn: ["COMPLETED"] } },
    orderBy: [{ field: "PRIORITY", direction: "DESC" }],
    limit: 5,
  });
  const found = getFragmentData(documents.AiTaskState, aiTasks)[0];
  assert(found);
  assert.deepEqual([found.priority, found.result, found.costUsd, found.costSource], ["URGENT", null, "0", null]);
  assert.deepEqual(found.input, input.input); // `unknown` until you look

  const again = await failure(client.run(documents.CancelAiTask, { id }));
  assert.deepEqual([again.code, again.details.status], ["CONFLICT", "CANCELLED"]);
  const missing = await failure(statesOf(socket, "00000000-0000-7000-8000-000000000000").next());
  assert.equal(missing.code, "NOT_FOUND");
  await socket.dispose();
}

async function failure(promise: Promise<unknown>): Promise<CrmError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof CrmError) return error;
  throw error ?? new Error("this should have failed");
}

try {
  for (const flow of [list, one, change, tasks, paging, bulk, errors, live, aiTasks]) {
    await flow();
    console.log(`ok ${flow.name}`);
  }
} finally {
  for (const id of added) await client.run(documents.DeleteLead, { id });
}
