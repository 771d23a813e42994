// Apollo's link for persisted documents: it names a document by its hash, and goes on by itself if that is not known.
import { createHash } from "node:crypto";
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from "@apollo/client/core";
import { PersistedQueryLink } from "@apollo/client/link/persisted-queries";

const { CRM_URL: uri, CRM_TOKEN: token, CRM_QUERIES: queries } = process.env;
const sent = [];
const counted = async (address, options) => {
  const body = JSON.parse(options.body);
  const response = await fetch(address, options);
  sent.push({ whole: "query" in body, status: response.status });
  return response;
};
const sha256 = (text) => createHash("sha256").update(text).digest("hex");
const link = ApolloLink.from([
  new PersistedQueryLink({ sha256 }),
  new HttpLink({ uri, fetch: counted, headers: { authorization: `Bearer ${token}` } }),
]);
const client = new ApolloClient({ cache: new InMemoryCache({ addTypename: false }), link });
for (const query of JSON.parse(queries)) {
  sent.length = 0;
  const { data } = await client.query({ query: gql(query), fetchPolicy: "no-cache" });
  console.log(JSON.stringify({ data, sent }));
}
