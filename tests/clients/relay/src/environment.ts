import type { Client } from "graphql-ws";
import {
  Environment,
  Network,
  Observable,
  RecordSource,
  Store,
  graphql,
  type FetchFunction,
  type SubscribeFunction,
} from "relay-runtime";

import type { environment_details$data } from "./__generated__/environment_details.graphql";

// No operation has it: it is here for its type.
graphql`
  fragment environment_details on ErrorExtensions {
    code
    conflict
    problems {
      field
      reason
      message
    }
  }
`;

/** What an operation without data failed with: `onError` of `useMutation` is called with it. */
export class Refused extends Error {
  readonly details: environment_details$data;

  constructor([first]: { message: string; extensions: environment_details$data }[]) {
    super(first?.message);
    this.details = first?.extensions ?? ({} as environment_details$data);
  }
}

/** A store that keeps each record under its `nodeId`: lead 1 and task 1 are two records. Documents are sent by their ids. */
export function createEnvironment(
  url: string,
  headers: Record<string, string>,
  socket: Client,
  send = fetch,
): Environment {
  const fetchAnswer: FetchFunction = async ({ id }, variables) => {
    const response = await send(url, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body: JSON.stringify({ documentId: id, variables }),
    });
    const answer = await response.json();
    if (!answer.data) throw new Refused(answer.errors);
    return answer;
  };
  const subscribe: SubscribeFunction = ({ id }, variables) =>
    Observable.create((sink) => {
      const request = { query: "", documentId: id, variables }; // graphql-ws refuses to send one without `query`
      return socket.subscribe(request, sink as never);
    });
  return new Environment({
    network: Network.create(fetchAnswer, subscribe),
    store: new Store(new RecordSource()),
    getDataID: (record) => record.nodeId,
  });
}
