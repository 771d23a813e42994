"""The operations that are measured: what a frontend sends all day, and what it costs at scale."""

TASK_FIELDS = "id title source aiReasoning completed"
LEAD_FIELDS = "id firstName lastName email company status activityScore"

ONE = f"query One($id: Int!) {{ lead(id: $id) {{ {LEAD_FIELDS} tasks {{ {TASK_FIELDS} }} }} }}"
LIST50 = (
    f"query List($n: Int!) {{ leads(limit: $n, orderBy: [{{field: ID, direction: DESC}}]) {{ {LEAD_FIELDS} "
    f"tasks {{ {TASK_FIELDS} }} interactions {{ id type notes occurredAt }} }} }}"
)
WIDE200 = f"query Wide($n: Int!) {{ leads(limit: $n, orderBy: [{{field: ID, direction: DESC}}]) {{ {LEAD_FIELDS} }} }}"
CREATE = (
    'mutation Create($id: Int!) { createTask(input: {leadId: $id, title: "Call back"}) { id title source leadId } }'
)
PAGE = (
    "query Page($after: String, $order: [LeadOrder!]) { leadsConnection(first: 50, after: $after, orderBy: $order) "
    "{ nodes { id fullName company status } pageInfo { hasNextPage endCursor } } }"
)
SEARCH = (
    "query Search($text: String!) { search(text: $text, limit: 20) { kind score snippet lead { fullName company } } }"
)
STATS = "query Stats { leadStats(groupBy: [STATUS]) { status count averageScore conversion budgets { currency sum } } }"
STATS_FILTERED = (
    "query StatsOfOneMonth { leadStats(groupBy: [STATUS], filter: {createdAt: {gte: $from}}) { status count } }"
).replace("StatsOfOneMonth", "StatsOfOneMonth($from: DateTime!)")
UNINDEXED = "query Unindexed { leadsConnection(first: 50, orderBy: [{field: LOCATION}]) { nodes { id location } } }"
CONTAINS = 'query Contains { leads(limit: 50, filter: {company: {contains: "verkstad"}}) { id company } }'
COUNT = "query Count { leadsConnection(first: 1) { totalCount } }"
TIMELINE = "query Timeline($id: Int!) { lead(id: $id) { timeline(limit: 20) { id type occurredAt fields { name } } } }"
ACTIVITIES = (
    "query Activities($id: Int!, $after: String) { lead(id: $id) { activities(first: 20, after: $after) "
    "{ nodes { id kind occurredAt title text statusBefore statusAfter user { name } } pageInfo { endCursor } } } }"
)
UPDATE = 'mutation Update($id: Int!) { updateLead(id: $id, input: {company: "Company"}) { id version } }'
LOG = "mutation Log($id: Int!) { logInteraction(input: {leadId: $id, type: CALL}) { id } }"
