import { createGraphiQLFetcher } from '@graphiql/toolkit';

import { allMessages } from './live.js';

const url = new URL(location.pathname, location.origin).href;
const SIGNED_OUT = {
  message: 'You are signed out: put a token into the field at the top. `crm token` on the server prints one.',
  extensions: { code: 'UNAUTHENTICATED' },
};

/** The whole `Authorization` in the text of the headers editor, if there is one. */
export function authorizationIn(headers) {
  try {
    const value = canonical(JSON.parse(headers)).Authorization;
    return /^(Bearer \S{16,})?$/.test(value) ? value : undefined; // not one that is still being typed
  } catch {
    return undefined;
  }
}

/** Who it is that `authorization` belongs to; null if the server refuses it. Throws if there is no answer. */
export async function whoIs(authorization) {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization },
    body: JSON.stringify({ query: '{ me { name role } }' }),
  });
  if (answer.status === 401) return null;
  const { data, errors } = await answer.json();
  if (!data?.me) throw new Error(errors?.[0]?.message ?? `The server answered with ${answer.status}.`);
  return data.me;
}

/**
 * Queries by POST, subscriptions by graphql-transport-ws with the headers as `connection_init`'s payload.
 * A tab's own headers come before `authorization`, the token that was given to the page. Without either nothing is sent
 * to a server that `needsToken`. `onRefused` is called when the server does not take `authorization` any more.
 */
export function createFetcher({ authorization, needsToken, onRefused }) {
  const send = createGraphiQLFetcher({
    url,
    subscriptionUrl: url.replace(/^http/, 'ws'),
    enableIncrementalDelivery: false,
  });
  return async (params, options) => {
    const headers = withToken(authorization, options?.headers);
    if (needsToken && !headers.Authorization) return { errors: [SIGNED_OUT] };
    const answer = await send(params, { ...options, headers });
    const refuse = () => headers.Authorization === authorization && onRefused();
    if (Symbol.asyncIterator in answer) return allMessages(answer, problem => isUnauthorized(problem) && refuse());
    if (isRefusal(answer)) refuse();
    return answer;
  };
}

function isRefusal(answer) {
  return answer.errors?.some(error => error.extensions?.code === 'UNAUTHENTICATED');
}

/** Whether a WebSocket was closed for want of a token that holds. */
function isUnauthorized(problem) {
  return /\b4401\b/.test(problem.message);
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
