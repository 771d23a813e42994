import { initGraphQLTada } from "gql.tada";

import type { introspection } from "./graphql-env.d.ts";

/** Types of operations come from their text: nothing is generated for each. */
export const graphql = initGraphQLTada<{
  introspection: introspection;
  scalars: { ID: string; Date: string; DateTime: string; Decimal: string; JSON: unknown };
}>();

export const LeadCard = graphql(`
  fragment LeadCard on Lead @_unmask {
    id
    fullName
    version
  }
`);

export const Leads = graphql(
  `
    query Leads {
      leads(orderBy: [{ field: LAST_NAME }, { field: FIRST_NAME }], limit: 20) {
        ...LeadCard
      }
      changeStream {
        cursor
      }
    }
  `,
  [LeadCard],
);

export const LeadPages = graphql(
  `
    query LeadPages($first: Int!, $after: String) {
      leadsConnection(first: $first, after: $after, orderBy: [{ field: LAST_NAME }, { field: FIRST_NAME }]) {
        edges {
          node {
            ...LeadCard
          }
        }
        pageInfo {
          hasNextPage
          endCursor
        }
      }
    }
  `,
  [LeadCard],
);

export const CreateLead = graphql(`
  mutation CreateLead($input: CreateLeadInput!) {
    createLead(input: $input) {
      id
    }
  }
`);

export const RenameLead = graphql(
  `
    mutation RenameLead($id: ID!, $input: UpdateLeadInput!) {
      updateLead(id: $id, input: $input) {
        ...LeadCard
      }
    }
  `,
  [LeadCard],
);

export const AddTask = graphql(`
  mutation AddTask($input: CreateTaskInput!) {
    createTask(input: $input) {
      id
    }
  }
`);

export const TasksOf = graphql(`
  subscription TasksOf($leadId: ID!, $after: String) {
    changes(leadId: $leadId, types: ["task.created"], after: $after) {
      cursor
      task {
        id
        title
      }
    }
  }
`);

/** Its text is in the server's file, its id in the bundle. */
export const persisted = `query CountOfLeads { leadsConnection(first: 0) { totalCount } }`;
export const CountOfLeads = graphql(persisted);
