import { createClient, type Client as Socket } from "graphql-ws";
import { WebSocket } from "ws"; // a browser has its own: leave this and `webSocketImpl` out

import { CrmError, type Problems } from "./client.js";
import type { TypedDocumentString } from "./gql/graphql.js";

export function connect(url: string, token: string): Socket {
  return createClient({
    url: url.replace(/^http/, "ws"),
    connectionParams: { authorization: `Bearer ${token}` },
    webSocketImpl: WebSocket,
  });
}

/** The answers of a subscription, one after another, until you `break`. */
export async function* follow<Data, Variables extends Record<string, unknown>>(
  socket: Socket,
  document: TypedDocumentString<Data, Variables>,
  variables: Variables,
): AsyncGenerator<Data, void> {
  try {
    for await (const { data } of socket.iterate<Data>({ query: document.toString(), variables })) {
      if (data) yield data;
    }
  } catch (error) {
    // graphql-ws throws the errors of a refused operation as an array, a closed socket as its close event.
    throw Array.isArray(error) ? new CrmError(error as unknown as Problems) : error;
  }
}
