// npm's graphql-sse, in distinct connections: a query, an invalid one, and a subscription through a lost connection.
import { createClient } from "graphql-sse";

const { CRM_URL: url, CRM_TOKEN: token, CRM_LEAD: lead } = process.env;
const client = createClient({ url, headers: { authorization: `Bearer ${token}` }, retryAttempts: 300, retry: () => new Promise((again) => setTimeout(again, 100)) });
const say = (line) => console.log(JSON.stringify(line));

for await (const answer of client.iterate({ query: "{ me { role } }" })) say({ query: answer });
for await (const answer of client.iterate({ query: "{ nope }" })) say({ invalid: answer.errors[0].extensions.code });

const query = "subscription($lead: ID, $after: String) { changes(leadId: $lead, after: $after) { cursor type task { title } } }";
const variables = { lead, after: undefined };
let seen = 0;
// The variables are read anew when it connects again, so that it goes on where it was.
for await (const { data, errors } of client.iterate({ query, variables })) {
  if (errors) throw new Error(JSON.stringify(errors));
  variables.after = data.changes.cursor;
  say({ title: data.changes.task.title });
  if (++seen === 3) break;
}
client.dispose();
