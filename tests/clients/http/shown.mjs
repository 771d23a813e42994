// What Apollo Client, urql and graphql-request show their users of each kind of answer, a line of JSON for each.
import { ApolloClient, HttpLink, InMemoryCache, gql } from "@apollo/client/core";
import { Client, fetchExchange } from "@urql/core";
import { GraphQLClient } from "graphql-request";

const { CRM_URL: url, CRM_TOKEN: token } = process.env;
const MIXED = "mutation { a: deleteLead(id: 404) { id } }";
const KINDS = {
  ran: { query: "query Q { me { role } }", token },
  failed: { query: MIXED, token },
  invalid: { query: "query Q { nope }", token },
  unauthenticated: { query: "query Q { me { role } }", token: "nonsense" },
};

const clients = {
  async apollo({ query, token }) {
    const link = new HttpLink({ uri: url, headers: { authorization: `Bearer ${token}` } });
    const client = new ApolloClient({ cache: new InMemoryCache(), link });
    const options = { errorPolicy: "all", fetchPolicy: "no-cache" };
    const { data, error } = query.startsWith("mutation")
      ? await client.mutate({ mutation: gql(query), ...options })
      : await client.query({ query: gql(query), ...options });
    return { data, errors: error?.errors };
  },
  async urql({ query, token }) {
    const fetchOptions = { headers: { authorization: `Bearer ${token}` } };
    const client = new Client({ url, exchanges: [fetchExchange], fetchOptions, preferGetMethod: false });
    const { data, error } = await (query.startsWith("mutation") ? client.mutation(query, {}) : client.query(query, {}));
    return { data, errors: error?.graphQLErrors };
  },
  async graphqlRequest({ query, token }) {
    const client = new GraphQLClient(url, { errorPolicy: "all", headers: { authorization: `Bearer ${token}` } });
    try {
      return await client.rawRequest(query);
    } catch (error) {
      return { errors: error.response.errors };
    }
  },
};

for (const [client, ask] of Object.entries(clients)) {
  for (const [kind, request] of Object.entries(KINDS)) {
    const { data, errors } = await ask(request);
    const [error] = errors ?? [];
    console.log(JSON.stringify({ client, kind, data, message: error?.message, code: error?.extensions?.code }));
  }
}
