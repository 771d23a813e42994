// Bundles GraphiQL and what it needs from npm into dist/, so that the page works without internet.
//
// Why GraphiQL 5 bundled here, rather than copying the prebuilt 3.8 of the stock page: 3.8 is two major versions old
// (CodeMirror 5, React 18) and one 3.5 MB script; 5 is the current one, checks variables against the schema and loads
// its editor in parts. Bundled, it comes with one copy of React and of graphql, as files that a policy without
// 'unsafe-inline' and 'unsafe-eval' lets run: 7 MB, 2 MB of it over the wire. ruru, a third choice, is 11 MB.

import { build } from 'esbuild';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const here = fileURLToPath(new URL('.', import.meta.url));
const dist = join(here, 'dist');

const define = { 'process.env.NODE_ENV': '"production"', 'process.env.USE_IMPORT': '"true"' };

const bundle = async (entryPoint, options) => {
  const { metafile } = await build({
    absWorkingDir: here,
    entryPoints: [entryPoint],
    outdir: dist,
    entryNames: '[name]-[hash]', // the server tells browsers to keep these files for ever
    chunkNames: '[name]-[hash]',
    bundle: true,
    minify: true,
    metafile: true,
    target: 'es2022',
    legalComments: 'eof',
    define,
    logLevel: 'warning',
    ...options,
  });
  return basename(Object.keys(metafile.outputs).find(file => metafile.outputs[file].entryPoint?.endsWith(entryPoint)));
};

const worker = module => bundle(module, { format: 'iife' });

await rm(dist, { recursive: true, force: true });

const workers = {
  editor: await worker('monaco-editor/esm/vs/editor/editor.worker.js'),
  graphql: await worker('monaco-graphql/esm/graphql.worker.js'),
  json: await worker('monaco-editor/esm/vs/language/json/json.worker.js'),
};
const script = await bundle('src/main.jsx', {
  format: 'esm',
  splitting: true,
  jsx: 'automatic',
  define: { ...define, WORKERS: JSON.stringify(workers) },
  // GraphiQL imports Prettier's parsers by names that lead to CommonJS files, where a bundle finds no named exports.
  alias: { 'prettier/parser-babel': 'prettier/plugins/babel', 'prettier/parser-graphql': 'prettier/plugins/graphql' },
  loader: { '.css': 'empty' }, // Monaco imports its styles piece by piece; GraphiQL's style sheet has them all
});
const style = await bundle('src/page.css');
const icon = await bundle('src/icon.svg', { loader: { '.svg': 'copy' } });

for (const file of await readdir(dist)) {
  await writeFile(join(dist, `${file}.gz`), gzipSync(await readFile(join(dist, file)), { level: 9 }));
}

// Last: without it the server says that the page is not built.
await writeFile(join(dist, 'manifest.json'), JSON.stringify({ icon, script, style }));
