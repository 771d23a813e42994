import { Suspense } from "react";
import { graphql, useFragment, useLazyLoadQuery, useMutation, usePaginationFragment } from "react-relay";

import type { ScreenQuery } from "./__generated__/ScreenQuery.graphql";
import type { ScreenRenameMutation } from "./__generated__/ScreenRenameMutation.graphql";
import type { Screen_task$key } from "./__generated__/Screen_task.graphql";
import type { Screen_tasks$key } from "./__generated__/Screen_tasks.graphql";
import type { ScreenTasksPageQuery } from "./__generated__/ScreenTasksPageQuery.graphql";

/** A lead and a task, each with its pages and rows; their numbers may be the same. */
export function Screen({ leadId, taskId }: { leadId: string; taskId: string }) {
  const { lead, tasks: [task] } = useLazyLoadQuery<ScreenQuery>(
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
      }
    `,
    { leadId, taskIds: [taskId] },
  );
  const [rename, isSaving] = useMutation<ScreenRenameMutation>(graphql`
    mutation ScreenRenameMutation($id: ID!, $firstName: String!) {
      updateLead(id: $id, input: { firstName: $firstName }) {
        fullName
        version
      }
    }
  `);
  if (!lead || !task) return <p>It is not there any more.</p>;
  return (
    <main>
      <h1 data-id={lead.id}>{lead.fullName}</h1>
      <button
        id="rename"
        disabled={isSaving}
        onClick={() => rename({ variables: { id: lead.id, firstName: "Östen" } })}
      >
        Rename
      </button>
      <Suspense>
        <Tasks lead={lead} />
      </Suspense>
      <aside data-id={task.id}>
        <Row task={task} /> of <b>{task.lead?.fullName}</b>
      </aside>
    </main>
  );
}

function Tasks({ lead }: { lead: Screen_tasks$key }) {
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
