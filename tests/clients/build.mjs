// Bundles the programs that are named, as a bundler of the field does; packages stay where they are.
import { build } from "esbuild";

await build({
  entryPoints: process.argv.slice(2).map((client) => ({ in: `${client}/src/main.ts`, out: `${client}/out/main` })),
  outdir: ".",
  bundle: true,
  platform: "node",
  format: "esm",
  packages: "external",
  logLevel: "warning",
});
