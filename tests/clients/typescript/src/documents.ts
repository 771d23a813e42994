import { graphql } from "./gql/index.js";

export const TaskRow = graphql(`
  fragment TaskRow on Task {
    id
    title
    dueDate
    completed
    source
    aiReasoning
    leadId
  }
`);

export const LeadCard = graphql(`
  fragment LeadCard on Lead {
    id
    fullName
    company
    status
    budget
    currency
    createdAt
    owner {
      id
      name
    }
    tasks(filter: { status: { eq: OPEN } }, orderBy: [{ field: DUE_DATE }], limit: 5) {
      ...TaskRow
    }
  }
`);

export const OpenLeads = graphql(`
  query OpenLeads($filter: LeadFilter, $orderBy: [LeadOrder!], $limit: Int!) {
    leads(filter: $filter, orderBy: $orderBy, limit: $limit) {
      ...LeadCard
    }
  }
`);

export const OneLead = graphql(`
  query OneLead($id: ID!) {
    lead: leadBy(input: { id: $id }) {
      ...LeadCard
      version
      lastInteractionAt
      timeline(limit: 10) {
        type
        occurredAt
        fields {
          name
          before
          after
        }
      }
    }
  }
`);

export const LeadByKey = graphql(`
  query LeadByKey($key: LeadKey!) {
    leadBy(input: $key) {
      id
      fullName
    }
  }
`);

export const LeadPage = graphql(`
  query LeadPage($filter: LeadFilter, $first: Int!, $after: String) {
    leadsConnection(filter: $filter, orderBy: [{ field: LAST_NAME }], first: $first, after: $after) {
      nodes {
        id
        lastName
      }
      pageInfo {
        endCursor
        hasNextPage
      }
    }
  }
`);

export const CreateLead = graphql(`
  mutation CreateLead($input: CreateLeadInput!) {
    createLead(input: $input) {
      id
      version
      status
      budget
      owner {
        name
      }
    }
  }
`);

export const UpdateLead = graphql(`
  mutation UpdateLead($id: ID!, $input: UpdateLeadInput!) {
    updateLead(id: $id, input: $input) {
      version
      company
      location
    }
  }
`);

export const CreateLeads = graphql(`
  mutation CreateLeads($inputs: [CreateLeadInput!]!) {
    createLeads(inputs: $inputs) {
      index
      status
      lead {
        id
      }
      field
      message
      existingId
    }
  }
`);

export const DeleteLead = graphql(`
  mutation DeleteLead($id: ID!) {
    deleteLead(id: $id) {
      deletedAt
    }
  }
`);

export const CreateTask = graphql(`
  mutation CreateTask($input: CreateTaskInput!) {
    createTask(input: $input) {
      ...TaskRow
    }
  }
`);

export const CompleteTask = graphql(`
  mutation CompleteTask($id: ID!) {
    completeTask(id: $id) {
      completed
      completedAt
    }
  }
`);

export const SetTaskSource = graphql(`
  mutation SetTaskSource($id: ID!, $source: TaskSource!) {
    setTaskSource(id: $id, source: $source) {
      ...TaskRow
    }
  }
`);

export const TasksOfLead = graphql(`
  query TasksOfLead($leadId: ID!) {
    tasks(filter: { leadId: { eq: $leadId } }) {
      ...TaskRow
    }
  }
`);

export const LeadToFollow = graphql(`
  query LeadToFollow($id: ID!) {
    lead: leadBy(input: { id: $id }) {
      id
      version
    }
    changeStream {
      cursor
    }
  }
`);

export const LeadChanges = graphql(`
  subscription LeadChanges($leadId: ID!, $after: String) {
    changes(leadId: $leadId, after: $after) {
      cursor
      type
      actor {
        name
      }
      fields {
        name
        before
        after
      }
      task {
        ...TaskRow
      }
    }
  }
`);

export const AiTaskState = graphql(`
  fragment AiTaskState on AiTask {
    id
    taskType
    status
    priority
    progress
    version
    input
    result
    errorCode
    costUsd
    costSource
    scheduledFor
    isFinal
    canRetry
  }
`);

export const CreateAiTask = graphql(`
  mutation CreateAiTask($input: CreateAiTaskInput!) {
    createAiTask(input: $input) {
      ...AiTaskState
    }
  }
`);

export const AiTasks = graphql(`
  query AiTasks($filter: AiTaskFilter, $orderBy: [AiTaskOrder!], $limit: Int!) {
    aiTasks(filter: $filter, orderBy: $orderBy, limit: $limit) {
      ...AiTaskState
      attempts {
        number
        outcome
      }
    }
  }
`);

export const PrioritiseAiTask = graphql(`
  mutation PrioritiseAiTask($id: ID!, $priority: AiTaskPriority!) {
    updateAiTaskPriority(id: $id, priority: $priority) {
      ...AiTaskState
    }
  }
`);

export const CancelAiTask = graphql(`
  mutation CancelAiTask($id: ID!) {
    cancelAiTask(id: $id) {
      ...AiTaskState
    }
  }
`);

export const AiTaskUpdated = graphql(`
  subscription AiTaskUpdated($id: ID!) {
    aiTaskUpdated(id: $id) {
      ...AiTaskState
    }
  }
`);

/** The fragment makes the generator emit the types of an error's `extensions`. */
export const ErrorDetails = graphql(`
  fragment ErrorDetails on ErrorExtensions {
    code
    field
    problems {
      field
      reason
      limit
      message
    }
    conflict
    existingId
    currentVersion
    status
    retryAfterSeconds
    outcome
  }
`);
