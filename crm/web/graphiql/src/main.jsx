import { explorerPlugin } from '@graphiql/plugin-explorer';
import { HISTORY_PLUGIN } from '@graphiql/plugin-history';
import { GraphiQL } from 'graphiql';
import { useMemo, useState } from 'react';
import { createRoot } from 'react-dom/client';

import { authorizationIn, createFetcher } from './fetcher.js';
import { session } from './session.js';

globalThis.MonacoEnvironment = {
  getWorker: (_id, label) => new Worker(new URL(WORKERS[label] ?? WORKERS.editor, import.meta.url)),
};

const examples = JSON.parse(document.querySelector('#examples').textContent);
const plugins = [HISTORY_PLUGIN, explorerPlugin()];

function Page() {
  const [authorization, setAuthorization] = useState('');
  // A new fetcher makes GraphiQL ask for the schema again, which it may now be allowed to see.
  const fetcher = useMemo(() => createFetcher(authorization), [authorization]);
  const rememberToken = headers => setAuthorization(known => authorizationIn(headers) ?? known);

  return (
    <GraphiQL
      fetcher={fetcher}
      defaultTabs={examples}
      plugins={plugins}
      storage={session}
      shouldPersistHeaders={false}
      onEditHeaders={rememberToken}
      defaultEditorToolsVisibility="variables"
    >
      <GraphiQL.Logo>CRM · <a href="/console/ai-tasks">AI tasks</a></GraphiQL.Logo>
    </GraphiQL>
  );
}

createRoot(document.querySelector('#graphiql')).render(<Page />);
