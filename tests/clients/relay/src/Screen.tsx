import { Suspense, useMemo, useState } from "react";
import {
  graphql,
  useFragment,
  useLazyLoadQuery,
  useMutation,
  usePaginationFragment,
  useSubscription,
} from "react-relay";

import type { ScreenQuery } from "./__generated__/ScreenQuery.graphql";
import type { ScreenRenameMutation } from "./__generated__/ScreenRenameMutation.graphql";
import type { Screen_task$key } from "./__generated__/Screen_task.graphql";
import type { Screen_tasks$key } from "./__generated__/Screen_tasks.graphql";
import type { ScreenTasksPageQuery } from "./__generated__/ScreenTasksPageQuery.graphql";
import type { ScreenTasksSubscription } from "./__generated__/ScreenTasksSubscription.graphql";
import { Refused } from "./environment";

/** A lead and a task, each with its pages and rows; their numbers may be the same. */
export function Screen({ leadId, taskId }: { leadId: string; taskId: string }) {
  const { lead, tasks: [task], changeStream } = useLazyLoadQuery<ScreenQuery>(
    graphql`
      query ScreenQuery($leadId: ID!, $taskIds: [ID!]!) {
        lead: leadBy(input: { id: $leadId }) {
          id
          fullName
          version
          ...Screen_tasks
        }
        tasks(filter: { id: { in: $taskIds } }) {
          id
          version
          ...Screen_task
          lead { fullName }
        }
        changeStream { cursor }
      }
    `,
    { leadId, taskIds: [taskId] },
  );
  const [conflict, setConflict] = useState("");
  const [rename, isSaving] = useMutation<ScreenRenameMutation>(graphql`
    mutation ScreenRenameMutation($id: ID!, $input: UpdateLeadInput!) {
      updateLead(id: $id, input: $input) {
        fullName
        version
      }
    }
  `);
  if (!lead || !task) return <p>It is not there any more.</p>;
  const save = (firstName: string) =>
    rename({
      variables: { id: lead.id, input: { firstName, expectedVersion: lead.version } },
      onError: (error) => setConflict(error instanceof Refused ? String(error.details.conflict) : error.message),
    });
  return (
    <main>
      <h1 data-id={lead.id}>{lead.fullName}</h1>
      <button id="rename" disabled={isSaving} onClick={() => save("Östen")}>
        Rename
      </button>
      <p role="alert">{conflict}</p>
      <Suspense>
        <Tasks lead={lead} leadId={lead.id} after={changeStream?.cursor} />
      </Suspense>
      <aside data-id={task.id}>
        <Row task={task} /> of <b>{task.lead?.fullName}</b>
      </aside>
    </main>
  );
}

function Tasks({ lead, leadId, after }: { lead: Screen_tasks$key; leadId: string; after: string | undefined }) {
  const { data, loadNext, hasNext, refetch } = usePaginationFragment<ScreenTasksPageQuery, Screen_tasks$key>(
    graphql`
      fragment Screen_tasks on Lead
      @refetchable(queryName: "ScreenTasksPageQuery")
      @argumentDefinitions(
        first: { type: "Int", defaultValue: 2 }
        after: { type: "String" }
        direction: { type: "Direction", defaultValue: ASC }
      ) {
        tasksConnection(first: $first, after: $after, orderBy: [{ field: TITLE, direction: $direction }])
          @connection(key: "Screen_tasksConnection") {
          __id
          edges {
            node {
              id
              ...Screen_task
            }
          }
        }
      }
    `,
    lead,
  );
  const connection = data.tasksConnection.__id;
  useSubscription<ScreenTasksSubscription>(
    useMemo(
      () => ({
        subscription: graphql`
          subscription ScreenTasksSubscription($leadId: ID!, $after: String, $connections: [ID!]!) {
            changes(leadId: $leadId, types: ["task.created"], after: $after) {
              cursor
              task @appendNode(connections: $connections, edgeTypeName: "TaskEdge") {
                id
                ...Screen_task
              }
            }
          }
        `,
        variables: { leadId, after, connections: [connection] },
      }),
      [leadId, after, connection],
    ),
  );
  return (
    <section>
      <ol>
        {data.tasksConnection.edges.map(({ node }) => (
          <li key={node.id}>
            <Row task={node} />
          </li>
        ))}
      </ol>
      <button id="more" disabled={!hasNext} onClick={() => loadNext(2)}>
        More
      </button>
      <button id="turn" onClick={() => refetch({ first: 3, direction: "DESC" }, { fetchPolicy: "network-only" })}>
        Turn
      </button>
    </section>
  );
}

function Row({ task }: { task: Screen_task$key }) {
  const { title, completed } = useFragment(
    graphql`
      fragment Screen_task on Task {
        title
        completed
      }
    `,
    task,
  );
  return <span>{completed ? `${title} (done)` : title}</span>;
}
