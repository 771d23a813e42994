// Bundles the app as a bundler of the field does: Babel turns graphql`…` into imports of what relay-compiler made.
import { transformAsync } from "@babel/core";
import { build } from "esbuild";

const relay = {
  name: "relay",
  setup({ onLoad }) {
    onLoad({ filter: /src\/[^/]+\.tsx?$/ }, async ({ path }) => {
      const { readFile } = await import("node:fs/promises");
      const { code } = await transformAsync(await readFile(path, "utf8"), {
        filename: path,
        configFile: false,
        babelrc: false,
        presets: [["@babel/preset-typescript", { onlyRemoveTypeImports: true }]],
        plugins: [["relay", { artifactDirectory: "src/__generated__", eagerEsModules: true }]],
        parserOpts: { plugins: ["jsx"] },
      });
      return { contents: code, loader: "jsx" };
    });
  },
};

await build({
  entryPoints: ["src/main.tsx"],
  outfile: "out/main.js",
  bundle: true,
  platform: "node",
  format: "esm",
  packages: "external",
  jsx: "automatic",
  logLevel: "warning",
  plugins: [relay],
});
