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
  for (;;) {
    try {
      const answers = socket.iterate<LeadChangesSubscription>({
        query: LeadChanges.toString(),
        variables: { leadId, after },
      });
      for await (const { data } of answers) {
        if (!data) continue;
        after = data.changes.cursor;
        yield data.changes;
      }
      return;
    } catch (error) {
      await comeBack(error);
    }
  }
}

/** Wait a little after a lost connection; throw what will not get better by itself. */
async function comeBack(error: unknown): Promise<void> {
  // graphql-ws throws a refused operation as an array of errors, and a lost connection as its close event.
  if (Array.isArray(error)) throw new CrmError(error as unknown as Problems);
  if (!isClosed(error)) throw error;
  await sleep(1000);
}

/** Lost for now; a code of 4400 to 4498 means that the server refuses, and would again. */
function isClosed(error: unknown): boolean {
  const code = error instanceof Object && "code" in error ? error.code : undefined;
  return typeof code === "number" && !(code >= 4400 && code < 4499);
}

/** An AI task: as it is now, and as it is after each change, until it has ended, whatever happens to the connection. */
export async function* statesOf(socket: Socket, id: string): AsyncGenerator<AiTaskStateFragment, void> {
  let seen = 0;
  for (;;) {
    try {
      const answers = socket.iterate<AiTaskUpdatedSubscription>({
        query: AiTaskUpdated.toString(),
        variables: { id },
      });
      for await (const { data } of answers) {
        const task = getFragmentData(AiTaskState, data?.aiTaskUpdated);
        if (!task || task.version <= seen) continue; // the same state may come twice
        seen = task.version;
        yield task;
        if (task.isFinal) return;
      }
      return;
    } catch (error) {
      await comeBack(error); // the subscription begins with the present state, so nothing has to be read
    }
  }
}
