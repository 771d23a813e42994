// A socket of graphql-ws that follows changes through lost connections.
import { createClient, type Client } from "graphql-ws";
import { WebSocket } from "ws"; // a browser has its own: leave this and `webSocketImpl` out

type Subscribe = Client["subscribe"];

/** graphql-ws connects again by itself, and sends the variables anew: `after` is then the last change that came. */
export function resuming(client: Client): Client {
  const subscribe: Subscribe = (payload, sink) => {
    const variables: Record<string, unknown> = { ...payload.variables };
    return client.subscribe<{ changes?: { cursor?: string } }>(
      { ...payload, variables },
      {
        ...(sink as object as Parameters<Subscribe>[1]),
        next(answer) {
          if (answer.data?.changes?.cursor) variables.after = answer.data.changes.cursor;
          (sink as Parameters<Subscribe>[1]).next(answer as never);
        },
      },
    );
  };
  return { ...client, subscribe };
}

/** A connection that can be lost as a train loses it: without a goodbye, until `found` is called. */
export function connect(url: string, headers: Record<string, string>) {
  let current: WebSocket | undefined;
  let waiting = Promise.resolve();
  let found = () => {};
  const client = createClient({
    url: url.replace(/^http/, "ws"),
    connectionParams: headers,
    webSocketImpl: WebSocket,
    retryAttempts: 10,
    shouldRetry: () => true, // also when the server is away, and takes no connection
    retryWait: () => waiting,
    on: { connected: (socket) => void (current = socket as WebSocket) },
  });
  const lose = () => {
    waiting = new Promise((resolve) => (found = resolve));
    current?.terminate();
  };
  return { client: resuming(client), lose, find: () => found() };
}
