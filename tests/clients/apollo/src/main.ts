// Apollo Client 4: a list and its cache, pages, a change, a form, a conflict, live changes, all by persisted documents.
import assert from "node:assert/strict";

import { ApolloClient, ApolloLink, CombinedGraphQLErrors, HttpLink, InMemoryCache } from "@apollo/client";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { relayStylePagination } from "@apollo/client/utilities";
import { OperationTypeNode, type DocumentNode } from "graphql";
import { filter, firstValueFrom, map, timeout } from "rxjs";

import { assertConflict, assertFiveMistakes, form, headers, ok, recording, Titles, url } from "../../shared/flow";
import { connect } from "../../shared/socket";
import {
  AddTaskDocument as AddTask,
  CreateLeadDocument as CreateLead,
  LeadPagesDocument as LeadPages,
  LeadsDocument as Leads,
  RenameLeadDocument as RenameLead,
  TasksOfDocument as TasksOf,
} from "./gql/graphql";

const { sent, fetch } = recording();
const socket = connect(url, headers);
const generateHash = (document: DocumentNode) => (document as { __meta__?: { hash: string } }).__meta__?.hash.replace("sha256:", "") ?? "";
const overHttp = ApolloLink.from([
  new PersistedQueryLink({ generateHash }),
  new HttpLink({ uri: url, fetch, headers }),
]);
const client = new ApolloClient({
  cache: new InMemoryCache({
    typePolicies: { Query: { fields: { leadsConnection: relayStylePagination(["filter", "orderBy"]) } } },
  }),
  link: ApolloLink.split(
    ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION,
    new GraphQLWsLink(socket.client),
    overHttp,
  ),
});

/** The extensions of the first error that an operation fails with. */
async function failure(operation: Promise<unknown>) {
  const error = await operation.then(
    () => assert.fail("it did not fail"),
    (error: unknown) => error,
  );
  assert(CombinedGraphQLErrors.is(error), String(error));
  return error.errors[0]?.extensions;
}

const { data } = await client.query({ query: Leads });
const list = client.watchQuery({ query: Leads });
const watching = list.subscribe({});
assert.deepEqual(data?.leads.map(({ fullName }) => fullName), ["Eva Ek", "Nils Ek", "Lars Åberg", "Åsa Ångström", "Pär Öst"]);
ok("list");

const pages = client.watchQuery({ query: LeadPages, variables: { first: 2 } });
const paging = pages.subscribe({});
const shown = (count: number) =>
  firstValueFrom(
    pages.pipe(
      map(({ data }) => data?.leadsConnection?.edges?.map((edge) => edge?.node?.fullName)),
      filter((names) => names?.length === count),
      timeout(20_000),
    ),
  );
await shown(2);
let { data: page } = await client.query({ query: LeadPages, variables: { first: 2 } });
while (page?.leadsConnection.pageInfo.hasNextPage) {
  ({ data: page } = await pages.fetchMore({ variables: { after: page.leadsConnection.pageInfo.endCursor } }));
}
// The cache has put the pages together.
assert.deepEqual(await shown(5), data?.leads.map(({ fullName }) => fullName));
ok("pages");

const eva = data?.leads[0];
assert(eva);
const { id } = eva;
await client.mutate({ mutation: RenameLead, variables: { id, input: { firstName: "Ewa", expectedVersion: eva.version } } });
// Both screens show it, though nothing was read again.
await firstValueFrom(list.pipe(filter(({ data }) => data?.leads?.[0]?.fullName === "Ewa Ek"), timeout(20_000)));
assert.equal((await shown(5))?.[0], "Ewa Ek");
ok("change");

assertFiveMistakes(await failure(client.mutate({ mutation: CreateLead, variables: { input: form } })));
const stale = { id, input: { firstName: "Eve", expectedVersion: eva.version } };
assertConflict(await failure(client.mutate({ mutation: RenameLead, variables: stale })), eva.version + 1);

const add = (title: string) => client.mutate({ mutation: AddTask, variables: { input: { leadId: id, title } } });
const titles = new Titles();
const following = client
  .subscribe({ query: TasksOf, variables: { leadId: id, after: data?.changeStream?.cursor ?? null } })
  .subscribe(({ data, error }) => titles.add(error?.message ?? data?.changes.task?.title));
await titles.comeOnce(add, socket);

assert(sent.length > 10 && sent.every(({ query, extensions }) => query === undefined && extensions?.persistedQuery));
ok("persisted");

for (const each of [following, paging, watching]) each.unsubscribe();
client.stop();
await socket.client.dispose();
