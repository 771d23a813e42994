// What every client is to show, whoever it is.
import assert from "node:assert/strict";

export const url = process.env.CRM_URL ?? "http://127.0.0.1:8000/graphql";
const token = process.env.CRM_TOKEN; // `crm dev` needs none
export const headers: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {};

/** A form with five mistakes; the address is another lead's. */
export const form = {
  firstName: " ",
  lastName: "x".repeat(201),
  email: "ASA@example.com",
  phone: "by mail",
  currency: "kr",
};

interface Extensions {
  code?: string;
  conflict?: string;
  currentVersion?: number;
  problems?: { field: string; reason: string; message: string }[];
}

/** The five are told apart by field and reason, and each has words for its place in the form. */
export function assertFiveMistakes(extensions: Extensions | undefined): void {
  const problems = extensions?.problems ?? [];
  assert.deepEqual(Object.fromEntries(problems.map(({ field, reason }) => [field, reason])), {
    firstName: "BLANK",
    lastName: "TOO_LONG",
    email: "TAKEN",
    phone: "NOT_A_PHONE",
    currency: "NOT_A_CURRENCY",
  });
  assert(problems.every(({ message }) => message.endsWith(".")));
  ok("form");
}

/** Somebody else was faster: the answer says so, and which version there is now. */
export function assertConflict(extensions: Extensions | undefined, currentVersion: number): void {
  assert.deepEqual(
    [extensions?.code, extensions?.conflict, extensions?.currentVersion],
    ["CONFLICT", "CHANGED", currentVersion],
  );
  ok("conflict");
}

export function ok(flow: string): void {
  console.log(`ok ${flow}`);
}

/** `fetch`, and what was sent by it. */
export function recording() {
  const sent: { query?: string; documentId?: string; extensions?: { persistedQuery?: object } }[] = [];
  const recorded: typeof fetch = (address, options) => {
    sent.push(JSON.parse(String(options?.body)));
    return fetch(address, options);
  };
  return { sent, fetch: recorded };
}

/** Titles of tasks as they come, to be waited for. */
export class Titles {
  readonly seen: string[] = [];
  private wake = () => {};

  add(title: string | undefined): void {
    this.seen.push(title ?? "?");
    this.wake();
  }

  async until(...titles: string[]): Promise<void> {
    const late = AbortSignal.timeout(20_000);
    late.onabort = () => this.wake();
    while (this.seen.length < titles.length && !late.aborted) await new Promise<void>((wake) => (this.wake = wake));
    assert.deepEqual(this.seen, titles);
  }

  /** Each comes once, in order, though the socket is lost meanwhile. */
  async comeOnce(add: (title: string) => Promise<unknown>, socket: { lose(): void; find(): void }): Promise<void> {
    await add("Before");
    await this.until("Before");
    socket.lose();
    await add("Between 1");
    await add("Between 2");
    socket.find();
    await this.until("Before", "Between 1", "Between 2");
    await add("After");
    await this.until("Before", "Between 1", "Between 2", "After");
    ok("live");
  }
}
