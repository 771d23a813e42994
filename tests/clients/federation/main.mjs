// Composes the API (its SDL is in the file CRM_SDL) with another subgraph, and asks a gateway questions across both.
// The API is at CRM_URL, and lets the token CRM_TOKEN in.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";

import { createGatewayRuntime } from "@graphql-hive/gateway";
import { composeServices, compositionHasErrors } from "@theguild/federation-composition";
import { buildSchema, graphql, parse } from "graphql";

// Invoices of leads, as some other team has them.
const KEYS = 'extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])';
const TYPES = `
  type Invoice @key(fields: "id") { id: ID! amount: String! lead: Lead! }
  type Lead @key(fields: "id") { id: ID! invoices: [Invoice!]! }
  type Query { invoice(id: ID!): Invoice }
`;
const served = buildSchema(
  `directive @key(fields: String!) repeatable on OBJECT
  scalar _Any
  union _Entity = Invoice | Lead
  ${TYPES}
  extend type Query { _entities(representations: [_Any!]!): [_Entity]! }`,
);
const invoice = (id) => ({ __typename: "Invoice", id, amount: `${id}00.00`, lead: { id } });
const lead = ({ id }) => ({ __typename: "Lead", id, invoices: [invoice(id)] });
const root = {
  invoice: ({ id }) => invoice(id),
  _entities: ({ representations }) => representations.map((one) => (one.__typename === "Lead" ? lead(one) : invoice(one.id))),
};

const billing = createServer(async (request, response) => {
  const { query, variables } = JSON.parse(await text(request));
  const answer = await graphql({ schema: served, source: query, variableValues: variables, rootValue: root });
  response.setHeader("Content-Type", "application/json").end(JSON.stringify(answer));
});
await new Promise((resolve) => billing.listen(0, "127.0.0.1", resolve));

const composed = composeServices([
  { name: "crm", url: process.env.CRM_URL, typeDefs: parse(await readFile(process.env.CRM_SDL, "utf8")) },
  { name: "billing", url: `http://127.0.0.1:${billing.address().port}/graphql`, typeDefs: parse(`${KEYS}\n${TYPES}`) },
]);
assert(!compositionHasErrors(composed), JSON.stringify(composed.errors));
console.log("ok composed");

const gateway = createGatewayRuntime({
  supergraph: composed.supergraphSdl,
  logging: false,
  propagateHeaders: {
    fromClientToSubgraphs: ({ request }) => ({ authorization: request.headers.get("authorization") }),
  },
});

async function ask(query, variables = {}) {
  const response = await gateway.fetch("http://gateway/graphql", {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${process.env.CRM_TOKEN}` },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await response.json();
  assert.equal(errors, undefined, JSON.stringify(errors));
  return data;
}

// From the API to the other, which knows the leads by their keys alone, and back.
const { leads } = await ask("{ leads(orderBy: [{ field: ID }]) { id fullName invoices { amount lead { company } } } }");
assert.deepEqual(leads, [
  { id: "1", fullName: "Åsa Ångström", invoices: [{ amount: "100.00", lead: { company: "Nordic Timber" } }] },
  { id: "2", fullName: "John Hill", invoices: [{ amount: "200.00", lead: { company: null } }] },
]);
console.log("ok fromTheApi");

const { invoice: found } = await ask("query ($id: ID!) { invoice(id: $id) { lead { fullName tasks { title } } } }", { id: "1" });
assert.deepEqual(found, { lead: { fullName: "Åsa Ångström", tasks: [{ title: "Call" }] } });
console.log("ok toTheApi");

const { createTask } = await ask(
  'mutation ($lead: ID!) { createTask(input: { leadId: $lead, title: "Send the invoice" }) { title lead { invoices { amount } } } }',
  { lead: "2" },
);
assert.deepEqual(createTask, { title: "Send the invoice", lead: { invoices: [{ amount: "200.00" }] } });
console.log("ok mutation");
process.exit(0);
