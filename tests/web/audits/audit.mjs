// Runs the GraphQL over HTTP audits of `graphql-http` against CRM_URL and prints each result as a line of JSON.
import { serverAudits } from "graphql-http";

const { CRM_URL: url, CRM_TOKEN: token } = process.env;
const fetchFn = (address, init = {}) => {
  const headers = new Headers(init.headers);
  headers.set("authorization", `Bearer ${token}`);
  return fetch(address, { ...init, headers });
};

for (const audit of serverAudits({ url, fetchFn })) {
  const { id, name, status, reason, response } = await audit.fn();
  const body = status === "ok" ? undefined : await response?.text().catch(() => undefined);
  console.log(JSON.stringify({ id, name, status, reason, code: response?.status, body }));
}
