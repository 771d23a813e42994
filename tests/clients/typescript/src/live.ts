import { setTimeout as sleep } from "node:timers/promises";

import { createClient, type Client as Socket } from "graphql-ws";
import { WebSocket } from "ws"; // a browser has its own: leave this and `webSocketImpl` out

import { CrmError, type Problems } from "./client.js";
import { AiTaskState, AiTaskUpdated, LeadChanges } from "./documents.js";
import type { AiTaskStateFragment, AiTaskUpdatedSubscription, LeadChangesSubscription } from "./gql/graphql.js";
import { getFragmentData } from "./gql/index.js";

type LeadChange = LeadChangesSubscription["changes"];

export function connect(url: string, token?: string): Socket {
  return createClient({
    url: url.replace(/^http/, "ws"),
    ...(token && { connectionParams: { authorization: `Bearer ${token}` } }),
    webSocketImpl: WebSocket,
    retryAttempts: 0, // it would start again from the first `after`; changesOf knows a later one
  });
}

/** A lead's changes after this cursor, each once, whatever happens to the connection, until you `break`. */
export async function* changesOf(
  socket: Socket,
  leadId: string,
  after: string | null,
): AsyncGenerator<LeadChange, void> {
  for (let lost = 0; ; lost++) {
    try {
      const answers = socket.iterate<LeadChangesSubscription>({
        query: LeadChanges.toString(),
        variables: { leadId, after },
      });
      for await (const { data } of answers) {
        if (!data) continue;
        lost = 0;
        after = data.changes.cursor;
        yield data.changes;
      }
      return;
    } catch (error) {
      await comeBack(error, lost);
    }
  }
}

/** Wait after a lost connection, each time longer up to half a minute; throw what would fail again. */
async function comeBack(error: unknown, times: number): Promise<void> {
  // graphql-ws throws a refused operation as an array of errors, a closed connection as its close event, and one that
  // could not be opened, since the server is away, as an event without a code.
  if (Array.isArray(error)) throw new CrmError(error as unknown as Problems);
  const code = error instanceof Object && "code" in error ? error.code : undefined;
  const isLost = typeof code === "number" ? code < 4400 || code > 4498 : !(error instanceof Error);
  if (!isLost) throw error; // by a code of 4400 to 4498 the server refuses, and would again
  await sleep(Math.min(500 * 2 ** times, 30_000) * (0.5 + Math.random() / 2)); // not all clients at the same moment
}

/** An AI task: as it is now, and as it is after each change, until it has ended, whatever happens to the connection. */
export async function* statesOf(socket: Socket, id: string): AsyncGenerator<AiTaskStateFragment, void> {
  let seen = 0;
  for (let lost = 0; ; lost++) {
    try {
      const answers = socket.iterate<AiTaskUpdatedSubscription>({
        query: AiTaskUpdated.toString(),
        variables: { id },
      });
      for await (const { data } of answers) {
        lost = 0;
        const task = getFragmentData(AiTaskState, data?.aiTaskUpdated);
        if (!task || task.version <= seen) continue; // the same state may come twice
        seen = task.version;
        yield task;
        if (task.isFinal) return;
      }
      return;
    } catch (error) {
      await comeBack(error, lost); // the subscription begins with the present state, so nothing has to be read
    }
  }
}
