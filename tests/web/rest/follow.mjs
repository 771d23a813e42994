// npm ci && node follow.mjs http://127.0.0.1:8000 [seconds]
// Creates an echo task and follows it to its end, as a frontend would: with `graphql-ws`, and at /ws/ai-tasks with the
// WebSocket that browsers have. Prints a line of JSON for each thing that happened. CRM_TOKEN is the token; on `crm dev`
// you need none.

import { createClient } from 'graphql-ws';
import { WebSocket } from 'ws';

const [address = '', seconds = '1'] = process.argv.slice(2);
const server = address.replace(/\/+$/, '');
if (!/^https?:\/\//.test(server) || !(Number(seconds) >= 0)) {
  console.error('usage: node follow.mjs http://127.0.0.1:8000 [seconds]   (the token in CRM_TOKEN; none on `crm dev`)');
  process.exit(2);
}
process.on('unhandledRejection', ({ code, reason, message }) => {
  console.error(message || reason || `lost the connection (${code})`); // an error, or how a socket was closed
  process.exit(1);
});
const token = process.env.CRM_TOKEN;
const authorization = token && { authorization: `Bearer ${token}` };
const socketServer = server.replace(/^http/, 'ws');
const print = (who, what) => console.log(JSON.stringify({ who, ...what }));

const client = createClient({
  url: `${socketServer}/graphql`,
  connectionParams: { ...authorization },
  webSocketImpl: WebSocket,
  retryAttempts: 0,
});
const updates = client.iterate({
  query: 'subscription { aiTaskUpdated { id status progress result version } }',
});

const live = new WebSocket(`${socketServer}/ws/ai-tasks`, ['crm.ai-tasks', ...(token ? [`bearer.${token}`] : [])]);
const subscribed = new Promise((resolve, reject) => {
  live.on('error', reject);
  live.on('open', () => live.send(JSON.stringify({ type: 'subscribe', channel: 'all' })));
  live.on('message', data => JSON.parse(data).type === 'subscribed' && resolve());
});

const byGraphQL = (async () => {
  for await (const { data, errors } of updates) {
    if (errors) throw new Error(JSON.stringify(errors));
    print('graphql-ws', data.aiTaskUpdated);
    if (data.aiTaskUpdated.status === 'COMPLETED') break;
  }
})();
const byMessages = new Promise(resolve => {
  live.on('message', data => {
    const { type, task } = JSON.parse(data);
    if (type !== 'task.updated') return;
    const { id, status, progress, result, version } = task;
    print('ws', { id, status, progress, result, version });
    if (status === 'COMPLETED') resolve();
  });
});

await subscribed;
await new Promise(resolve => setTimeout(resolve, 500)); // graphql-transport-ws does not say when it has subscribed
const created = await fetch(`${server}/api/ai/tasks`, {
  method: 'POST',
  headers: { ...authorization, 'content-type': 'application/json' },
  body: JSON.stringify({ taskType: 'echo', input: { message: 'Hej', seconds: Number(seconds) } }),
});
const task = await created.json();
if (!created.ok) throw new Error(`${task.code}: ${task.detail}`); // a problem document (RFC 9457)
print('rest', { status: created.status, id: task.id });
await Promise.all([byGraphQL, byMessages]);
await client.dispose();
live.close();
