import { Environment, Network, RecordSource, Store, type FetchFunction } from "relay-runtime";

/** A store that keeps each record under its `nodeId`: lead 1 and task 1 are two records. */
export function createEnvironment(url: string, token: string | undefined): Environment {
  const fetchAnswer: FetchFunction = async (operation, variables) => {
    const response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) },
      body: JSON.stringify({ query: operation.text, variables }),
    });
    return response.json();
  };
  return new Environment({
    network: Network.create(fetchAnswer),
    store: new Store(new RecordSource()),
    getDataID: (record) => record.nodeId,
  });
}
