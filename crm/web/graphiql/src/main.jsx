import { explorerPlugin } from '@graphiql/plugin-explorer';
import { HISTORY_PLUGIN } from '@graphiql/plugin-history';
import { GraphiQL } from 'graphiql';
import { useMemo } from 'react';
import { createRoot } from 'react-dom/client';

import { FittingEditors } from './editors.jsx';
import { authorizationIn, createFetcher } from './fetcher.js';
import { NARROW } from './narrow.js';
import { session } from './session.js';
import { SignIn, useSignIn } from './sign_in.jsx';

globalThis.MonacoEnvironment = {
  getWorker: (_id, label) => new Worker(new URL(WORKERS[label] ?? WORKERS.editor, import.meta.url)),
};

const root = document.querySelector('#graphiql');
const needsToken = root.dataset.token === 'needed';
const examples = JSON.parse(document.querySelector('#examples').textContent);
const plugins = [HISTORY_PLUGIN, explorerPlugin()];

function Page() {
  const person = useSignIn();
  const { authorization } = person;
  // A new fetcher makes GraphiQL ask for the schema again, which it may now be allowed to see.
  const fetcher = useMemo(
    () => createFetcher({ authorization, needsToken, onRefused: person.refuse }),
    [authorization],
  );
  // A token among a tab's headers serves the others, too.
  const takeToken = headers => {
    const found = authorizationIn(headers);
    if (found) person.signIn(found);
    else if (found === '') person.signOut();
  };

  return (
    <>
      {(needsToken || person.user) && <SignIn {...person} />}
      <GraphiQL
        fetcher={fetcher}
        defaultTabs={examples}
        plugins={plugins}
        storage={session}
        shouldPersistHeaders={false}
        onEditHeaders={takeToken}
        defaultEditorToolsVisibility={NARROW.matches ? false : 'variables'}
      >
        <GraphiQL.Logo>CRM · <a href="/console/ai-tasks">AI tasks</a></GraphiQL.Logo>
        <FittingEditors />
      </GraphiQL>
    </>
  );
}

createRoot(root).render(<Page />);
