import { useGraphiQL } from '@graphiql/react';
import { useEffect } from 'react';

import { NARROW } from './narrow.js';

/** Long lines go on in the next one, and on a telephone the text is smaller and has no line numbers. */
export function FittingEditors() {
  const query = useGraphiQL(state => state.queryEditor);
  const variables = useGraphiQL(state => state.variableEditor);
  const headers = useGraphiQL(state => state.headerEditor);
  const response = useGraphiQL(state => state.responseEditor);

  useEffect(() => {
    const editors = [query, variables, headers, response].filter(Boolean);
    const fit = () => {
      const narrow = NARROW.matches;
      for (const editor of editors) editor.updateOptions({ wordWrap: 'on', fontSize: narrow ? 13 : 15, folding: !narrow });
      query?.updateOptions({ lineNumbers: narrow ? 'off' : 'on' });
    };
    fit();
    NARROW.addEventListener('change', fit);
    return () => NARROW.removeEventListener('change', fit);
  }, [query, variables, headers, response]);

  return null;
}
