import { graphql } from "./gql";

export const Leads = graphql(`
  query Leads($filter: LeadFilter) {
    leads(filter: $filter, orderBy: [{ field: LAST_NAME }, { field: FIRST_NAME }], limit: 20) {
      id
      fullName
      version
      timeline(limit: 1) {
        cursor
      }
    }
  }
`);

export const LeadPages = graphql(`
  query LeadPages($first: Int!, $after: String) {
    leadsConnection(first: $first, after: $after, orderBy: [{ field: LAST_NAME }, { field: FIRST_NAME }]) {
      edges {
        node {
          id
          fullName
        }
      }
      pageInfo {
        hasNextPage
        endCursor
      }
    }
  }
`);

export const CreateLead = graphql(`
  mutation CreateLead($input: CreateLeadInput!) {
    createLead(input: $input) {
      id
    }
  }
`);

export const RenameLead = graphql(`
  mutation RenameLead($id: ID!, $input: UpdateLeadInput!) {
    updateLead(id: $id, input: $input) {
      id
      fullName
      version
    }
  }
`);

export const AddTask = graphql(`
  mutation AddTask($input: CreateTaskInput!) {
    createTask(input: $input) {
      id
      title
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
