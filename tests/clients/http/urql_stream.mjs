// urql 5 without a WebSocket: with `fetchSubscriptions` it asks for events by POST.
import { Client, fetchExchange } from "@urql/core";

const { CRM_URL: url, CRM_TOKEN: token, CRM_LEAD: lead } = process.env;
const client = new Client({
  url,
  exchanges: [fetchExchange],
  fetchSubscriptions: true,
  fetchOptions: { headers: { authorization: `Bearer ${token}` } },
  preferGetMethod: false,
});
const query = "subscription($lead: ID) { changes(leadId: $lead) { task { title } } }";
const create = 'mutation($lead: ID!) { createTask(input: { leadId: $lead, title: "Ring" }) { id } }';
const variables = { lead };
client.subscription(query, variables).subscribe(({ data, error }) => {
  console.log(JSON.stringify({ title: data?.changes.task.title, error: error?.message }));
  process.exit();
});
setTimeout(() => client.mutation(create, variables).toPromise(), 1000);
