// urql 5 with its normalised cache (graphcache) and gql.tada: a list, pages, a change, a form, a conflict, live changes,
// a persisted document.
import assert from "node:assert/strict";

import { cacheExchange } from "@urql/exchange-graphcache";
import { relayPagination } from "@urql/exchange-graphcache/extras";
import { graphql } from "gql.tada";
import { Client, fetchExchange, subscriptionExchange, type CombinedError, type OperationResult } from "urql";

import { assertConflict, assertFiveMistakes, form, headers, ok, recording, Titles, url } from "../../shared/flow";
import { connect } from "../../shared/socket";
import { AddTask, type CountOfLeads, CreateLead, LeadPages, Leads, RenameLead, TasksOf } from "./documents";
import documents from "./persisted-documents.json";

const { sent, fetch } = recording();
const socket = connect(url, headers);
const requests = { url, fetch, fetchOptions: { headers }, preferGetMethod: false };
const none = () => null; // embedded in what it belongs to: it has no id of its own
const client = new Client({
  ...requests,
  exchanges: [
    cacheExchange({
      keys: { Change: none, ChangeStream: none, LeadConnection: none, LeadEdge: none, PageInfo: none },
      resolvers: { Query: { leadsConnection: relayPagination() } },
    }),
    fetchExchange,
    subscriptionExchange({
      forwardSubscription: ({ query = "", variables }) => ({
        subscribe: (sink) => ({
          unsubscribe: socket.client.subscribe({ query, variables: variables as Record<string, unknown> }, sink as never),
        }),
      }),
    }),
  ],
});

function given<Data>({ data, error }: OperationResult<Data>): Data {
  assert(data, String(error));
  return data;
}

function extensions(error: CombinedError | undefined) {
  return error?.graphQLErrors[0]?.extensions;
}

const { leads, changeStream } = given(await client.query(Leads, {}));
assert.deepEqual(
  leads.map(({ fullName }) => fullName),
  ["Eva Ek", "Nils Ek", "Lars Åberg", "Åsa Ångström", "Pär Öst"],
);
ok("list");

let { leadsConnection } = given(await client.query(LeadPages, { first: 2 }));
while (leadsConnection.pageInfo.hasNextPage) {
  const after = leadsConnection.pageInfo.endCursor;
  ({ leadsConnection } = given(await client.query(LeadPages, { first: 2, after })));
}
// The cache has put the pages together.
assert.deepEqual(
  leadsConnection.edges.map(({ node }) => node.id),
  leads.map(({ id }) => id),
);
ok("pages");

const eva = leads[0];
assert(eva);
const { id, version } = eva;
given(await client.mutation(RenameLead, { id, input: { firstName: "Ewa", expectedVersion: version } }));
assert.equal(given(await client.query(Leads, {}, { requestPolicy: "cache-only" })).leads[0]?.fullName, "Ewa Ek");
ok("change");

assertFiveMistakes(extensions((await client.mutation(CreateLead, { input: form })).error));
const stale = { id, input: { firstName: "Eve", expectedVersion: version } };
assertConflict(extensions((await client.mutation(RenameLead, stale)).error), version + 1);

const add = async (title: string) => given(await client.mutation(AddTask, { input: { leadId: id, title } }));
const titles = new Titles();
const { unsubscribe } = client
  .subscription(TasksOf, { leadId: id, after: changeStream?.cursor })
  .subscribe(({ data, error }) => titles.add(error?.message ?? data?.changes.task?.title));
await titles.comeOnce(add, socket);

// In a bundle the document is its id; a cache that looks into documents would have to come after.
const [documentId = ""] = Object.keys(documents);
const count = graphql.persisted<typeof CountOfLeads>(documentId);
const slim = new Client({ ...requests, exchanges: [fetchExchange] });
assert.equal(given(await slim.query(count, {})).leadsConnection.totalCount, 5);
assert.deepEqual([sent.at(-1)?.documentId, sent.at(-1)?.query], [documentId, undefined]);
ok("persisted");

unsubscribe();
await socket.client.dispose();
