import { useEffect, useRef, useState } from 'react';

import { whoIs } from './fetcher.js';

const WRONG = 'This token is wrong, or it has expired.';
const NO_TOKEN = 'A token has no blanks in it: it begins with “ey”, and `crm token` prints nothing else.';

/**
 * Who uses the page: their `Authorization`, once the server has taken it, and what is to be said about it.
 * It stays in memory; a reload forgets it.
 */
export function useSignIn() {
  const [state, setState] = useState({ authorization: '', user: null, problem: '', isBusy: false });
  const attempts = useRef(0);

  async function signIn(authorization) {
    const attempt = ++attempts.current;
    setState(known => ({ ...known, isBusy: true, problem: '' }));
    const outcome = await tried(authorization);
    if (attempt === attempts.current) setState({ authorization: '', user: null, problem: '', isBusy: false, ...outcome });
  }

  function signOut(problem = '') {
    attempts.current += 1;
    setState({ authorization: '', user: null, problem, isBusy: false });
  }

  return { ...state, signIn, signOut, refuse: () => signOut(WRONG) };
}

async function tried(authorization) {
  try {
    const user = await whoIs(authorization);
    return user ? { authorization, user } : { problem: WRONG };
  } catch (error) {
    return { problem: error.message };
  }
}

/** The line at the top of the page of a server that needs a token: a field for it, or who is signed in. */
export function SignIn({ user, problem, isBusy, signIn, signOut }) {
  if (user) {
    const role = user.role.toLowerCase();
    return (
      <header className="sign-in">
        <p>
          Signed in as <strong>{user.name}</strong>{!user.name.includes(role) && <span className="soft"> ({role})</span>}
        </p>
        <button type="button" className="quiet" onClick={() => signOut()}>Sign out</button>
      </header>
    );
  }
  return <TokenForm {...{ problem, isBusy, signIn, signOut }} />;
}

function TokenForm({ problem, isBusy, signIn, signOut }) {
  const field = useRef(null);
  useEffect(() => field.current.focus(), []);

  function submit(event) {
    event.preventDefault();
    const token = field.current.value.trim().replace(/^bearer\s+/i, '');
    if (/^[\x21-\x7e]+$/.test(token)) signIn(`Bearer ${token}`);
    else signOut(NO_TOKEN);
  }

  return (
    <form className="sign-in" onSubmit={submit}>
      <label htmlFor="token">Token</label>
      <input
        id="token"
        ref={field}
        type="password"
        autoComplete="off"
        spellCheck="false"
        required
        placeholder="Paste it here"
        aria-describedby="token-problem token-hint"
        aria-invalid={Boolean(problem)}
      />
      <button type="submit" disabled={isBusy}>{isBusy ? 'Signing in …' : 'Sign in'}</button>
      <p id="token-hint" className="soft">
        You are signed out, and this server answers nobody without a token. On the server, <code>crm token</code> prints
        one. It stays in this tab’s memory: a reload asks again.
      </p>
      <p id="token-problem" className="error" role="alert">{problem}</p>
    </form>
  );
}
