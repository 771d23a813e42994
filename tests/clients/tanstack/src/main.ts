// TanStack Query with graphql-request: a list, pages, a change, a form, a conflict, live changes that put what they
// bring into the cache, all by persisted documents.
import assert from "node:assert/strict";

import { InfiniteQueryObserver, MutationObserver, QueryClient, QueryObserver } from "@tanstack/react-query";
import { print } from "graphql";
import { ClientError, GraphQLClient } from "graphql-request";

import { assertConflict, assertFiveMistakes, form, headers, ok, recording, Titles, url } from "../../shared/flow";
import { connect } from "../../shared/socket";
import {
  AddTaskDocument as AddTask,
  CreateLeadDocument as CreateLead,
  LeadPagesDocument as LeadPages,
  LeadsDocument as Leads,
  RenameLeadDocument as RenameLead,
  TasksOfDocument as TasksOf,
  type CreateLeadInput,
  type TasksOfSubscription,
  type UpdateLeadInput,
} from "./gql/graphql";

const { sent, fetch } = recording();
const socket = connect(url, headers);
const idOf = (document: object) => (document as { __meta__?: { hash: string } }).__meta__?.hash;
const ids = new Map([Leads, LeadPages, CreateLead, RenameLead, AddTask].map((known) => [print(known).trim(), idOf(known)]));
const api = new GraphQLClient(url, {
  headers,
  fetch,
  requestMiddleware: (request) => {
    const { query, ...rest } = JSON.parse(String(request.body));
    return { ...request, body: JSON.stringify({ ...rest, documentId: ids.get(query.trim()) }) };
  },
});
const client = new QueryClient({ defaultOptions: { mutations: { retry: false } } });

/** The extensions of the first error that an operation fails with. */
async function failure(operation: Promise<unknown>): Promise<Record<string, unknown> | undefined> {
  const error = await operation.then(
    () => assert.fail("it did not fail"),
    (error: unknown) => error,
  );
  assert(error instanceof ClientError, String(error));
  return error.response.errors?.[0]?.extensions;
}

const list = new QueryObserver(client, { queryKey: ["leads", "list"], queryFn: () => api.request(Leads, {}) });
const watching = list.subscribe(() => {});
await list.refetch({ cancelRefetch: false });
const { leads = [], changeStream } = list.getCurrentResult().data ?? {};
const names = () => list.getCurrentResult().data?.leads.map(({ fullName }) => fullName);
assert.deepEqual(names(), ["Eva Ek", "Nils Ek", "Lars Åberg", "Åsa Ångström", "Pär Öst"]);
ok("list");

const pages = new InfiniteQueryObserver(client, {
  queryKey: ["leads", "pages"],
  initialPageParam: null as string | null,
  queryFn: ({ pageParam }) => api.request(LeadPages, { first: 2, after: pageParam }),
  getNextPageParam: ({ leadsConnection: { pageInfo } }) => (pageInfo.hasNextPage ? pageInfo.endCursor : null),
});
await pages.refetch();
let shown = pages.getCurrentResult();
while (shown.hasNextPage) shown = await pages.fetchNextPage();
assert.equal(shown.data?.pages.length, 3);
const paged = shown.data.pages.flatMap(({ leadsConnection }) => leadsConnection.edges.map(({ node }) => node.id));
assert.deepEqual(
  paged,
  leads.map(({ id }) => id),
);
ok("pages");

const eva = leads[0];
assert(eva);
const { id, version } = eva;
const rename = new MutationObserver(client, {
  mutationFn: (input: UpdateLeadInput) => api.request(RenameLead, { id, input }),
  onSuccess: () => client.invalidateQueries({ queryKey: ["leads", "list"] }),
});
await rename.mutate({ firstName: "Ewa", expectedVersion: version });
assert.equal(names()?.[0], "Ewa Ek");
ok("change");

const create = new MutationObserver(client, { mutationFn: (input: CreateLeadInput) => api.request(CreateLead, { input }) });
assertFiveMistakes(await failure(create.mutate(form)));
assertConflict(await failure(rename.mutate({ firstName: "Eve", expectedVersion: version })), version + 1);

const add = (title: string) => api.request(AddTask, { input: { leadId: id, title } });
const titles = new Titles();
const unsubscribe = socket.client.subscribe<TasksOfSubscription>(
  { query: print(TasksOf), variables: { leadId: id, after: changeStream?.cursor } },
  {
    next: ({ data }) => titles.add(data?.changes.task?.title),
    error: (error) => titles.add(String(error)),
    complete: () => {},
  },
);
await titles.comeOnce(add, socket);

assert(sent.length > 10 && sent.every(({ query, documentId }) => query === undefined && documentId));
ok("persisted");

unsubscribe();
watching();
client.clear();
await socket.client.dispose();
