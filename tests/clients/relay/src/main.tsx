// Renders the screen in a document without a browser, and uses it as a person would: against the server at CRM_URL.
import assert from "node:assert/strict";

import { Window } from "happy-dom";
import { act, Suspense } from "react";
import { createRoot } from "react-dom/client";
import { RelayEnvironmentProvider } from "react-relay";

import { form, headers, ok, recording, url } from "../../shared/flow";
import { connect } from "../../shared/socket";
import { createEnvironment } from "./environment";
import { Form } from "./Form";
import { Screen } from "./Screen";

const number = process.env.CRM_RECORD ?? "1";
const window = new Window();
Object.assign(globalThis, { window, document: window.document, IS_REACT_ACT_ENVIRONMENT: true });
const { sent, fetch } = recording();
const socket = connect(url, headers);
const environment = createEnvironment(url, headers, socket.client, fetch);
const root = createRoot(document.body);

function all(selector: string): string[] {
  return [...document.querySelectorAll(selector)].map((element) => element.textContent ?? "");
}

async function shown(condition: () => boolean): Promise<void> {
  const end = Date.now() + 20_000;
  while (!condition()) {
    assert(Date.now() < end, `still: ${document.body.innerHTML}`);
    await act(() => new Promise((resolve) => setTimeout(resolve, 10)));
  }
}

async function press(id: string): Promise<void> {
  const button = document.getElementById(id);
  assert(button);
  await act(async () => button.click());
}

/** What a colleague does meanwhile, by a document as a whole. */
async function colleague(field: string): Promise<void> {
  const body = JSON.stringify({ query: `mutation { ${field} { id } }` });
  const response = await globalThis.fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body,
  });
  const { errors } = await response.json();
  assert.equal(errors, undefined);
}

await act(async () =>
  root.render(
    <RelayEnvironmentProvider environment={environment}>
      <Suspense fallback="wait">
        <Screen leadId={number} taskId={number} />
        <Form input={form} />
      </Suspense>
    </RelayEnvironmentProvider>,
  ),
);
await shown(() => all("li").length === 2);
assert.deepEqual(all("h1"), ["Åsa Ångström"]);
assert.deepEqual(all("aside"), ["Call John of John Hill"]);
assert.deepEqual(all("li"), ["a", "b"]);
ok("twoRecordsOfOneNumber");

await press("more");
await shown(() => all("li").length === 4);
assert.deepEqual(all("li"), ["a", "b", "c", "d"]);
await press("more");
await shown(() => all("li").length === 5);
assert(document.getElementById("more")?.hasAttribute("disabled"));
ok("pages");

await press("turn");
await shown(() => all("li")[0] === "e");
assert.deepEqual(all("li"), ["e", "d", "c"]);
ok("refetch");

await press("rename");
await shown(() => all("h1")[0] === "Östen Ångström");
assert.deepEqual(all("aside"), ["Call John of John Hill"]);
ok("change");

await press("save");
await shown(() => all("em").length === 5);
const problems = [...document.querySelectorAll<HTMLElement>("em")].map(({ dataset }) => [dataset.field, dataset.reason]);
assert.deepEqual(problems, [
  ["firstName", "BLANK"],
  ["lastName", "TOO_LONG"],
  ["email", "TAKEN"],
  ["phone", "NOT_A_PHONE"],
  ["currency", "NOT_A_CURRENCY"],
]);
assert(all("em").every((message) => message.endsWith(".")));
ok("form");

await colleague(`updateLead(id: ${number}, input: { firstName: "Kalle" })`);
await press("rename");
await shown(() => all("[role=alert]")[0] === "CHANGED");
assert.deepEqual(all("h1"), ["Östen Ångström"]);
ok("conflict");

const add = (title: string) => colleague(`createTask(input: { leadId: ${number}, title: "${title}" })`);
await add("Before");
await shown(() => all("li").at(-1) === "Before");
socket.lose();
await add("Between 1");
await add("Between 2");
socket.find();
await shown(() => all("li").length === 6);
assert.deepEqual(all("li"), ["e", "d", "c", "Before", "Between 1", "Between 2"]);
ok("live");

assert(sent.length >= 6 && sent.every(({ query, documentId }) => query === undefined && documentId));
ok("persisted");

await act(async () => root.unmount());
await window.happyDOM.close();
process.exit(0); // React and fetch would keep the process alive for a while
