// Renders the screen in a document without a browser, and uses it as a person would: against the server at CRM_URL.
import assert from "node:assert/strict";

import { Window } from "happy-dom";
import { act, Suspense } from "react";
import { createRoot } from "react-dom/client";
import { RelayEnvironmentProvider } from "react-relay";

import { createEnvironment } from "./environment";
import { Screen } from "./Screen";

const number = process.env.CRM_RECORD ?? "1";
const window = new Window();
Object.assign(globalThis, { window, document: window.document, IS_REACT_ACT_ENVIRONMENT: true });
const environment = createEnvironment(process.env.CRM_URL ?? "http://127.0.0.1:8000/graphql", process.env.CRM_TOKEN);
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

await act(async () =>
  root.render(
    <RelayEnvironmentProvider environment={environment}>
      <Suspense fallback="wait">
        <Screen leadId={number} taskId={number} />
      </Suspense>
    </RelayEnvironmentProvider>,
  ),
);
await shown(() => all("li").length === 2);
assert.deepEqual(all("h1"), ["Åsa Ångström"]);
assert.deepEqual(all("aside"), ["Call John of John Hill"]);
assert.deepEqual(all("li"), ["a", "b"]);
console.log("ok twoRecordsOfOneNumber");

await press("more");
await shown(() => all("li").length === 4);
assert.deepEqual(all("li"), ["a", "b", "c", "d"]);
await press("more");
await shown(() => all("li").length === 5);
assert(document.getElementById("more")?.hasAttribute("disabled"));
console.log("ok pages");

await press("turn");
await shown(() => all("li")[0] === "e");
assert.deepEqual(all("li"), ["e", "d", "c"]);
console.log("ok refetch");

await press("rename");
await shown(() => all("h1")[0] === "Östen Ångström");
assert.deepEqual(all("aside"), ["Call John of John Hill"]);
console.log("ok change");

await act(async () => root.unmount());
await window.happyDOM.close();
process.exit(0); // React and fetch would keep the process alive for a while
