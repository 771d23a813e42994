import { createGraphiQLFetcher } from '@graphiql/toolkit';

const url = new URL(location.pathname, location.origin).href;

/** The whole `Authorization` in the text of the headers editor, if there is one. */
export function authorizationIn(headers) {
  try {
    const value = canonical(JSON.parse(headers)).Authorization;
    return /^(Bearer \S{16,})?$/.test(value) ? value : undefined; // not one that is still being typed
  } catch {
    return undefined;
  }
}

/**
 * Queries by POST, subscriptions by graphql-transport-ws with the headers as `connection_init`'s payload.
 * A tab's own headers come before `authorization`, the token that was given in another tab.
 */
export function createFetcher(authorization) {
  const fetcher = createGraphiQLFetcher({
    url,
    subscriptionUrl: url.replace(/^http/, 'ws'),
    enableIncrementalDelivery: false,
  });
  return (params, options) => fetcher(params, { ...options, headers: withToken(authorization, options?.headers) });
}

function withToken(authorization, headers) {
  const all = { Authorization: authorization, ...canonical(headers ?? {}) };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== ''));
}

function canonical(headers) {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [/^authorization$/i.test(name) ? 'Authorization' : name, value]),
  );
}
