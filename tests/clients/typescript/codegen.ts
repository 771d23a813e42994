import type { CodegenConfig } from "@graphql-codegen/cli";

const config: CodegenConfig = {
  schema: "../../../schema.graphql",
  documents: ["src/**/*.ts", "!src/gql/**"],
  generates: {
    "src/gql/": {
      preset: "client",
      presetConfig: {
        fragmentMasking: { unmaskFunctionName: "getFragmentData" },
        persistedDocuments: { hashAlgorithm: "sha256" }, // src/gql/persisted-documents.json: give it to the server
      },
      config: {
        scalars: {
          ID: { input: "string | number", output: "string" }, // a lead's number, or its text: both are taken
          Date: "string", // a day, 2026-01-31: no time zone to lose it in
          DateTime: "string", // RFC 3339, UTC: new Date(lead.createdAt)
          Decimal: "string", // exact: a number would lose öre
          JSON: "unknown",
        },
        strictScalars: true, // a scalar that is not listed here is an error, not `any`
        enumType: "string-literal",
        documentMode: "string", // plain fetch needs the text alone, so nothing of graphql-js is in your bundle
        arrayInputCoercion: false,
        useTypeImports: true,
        importExtension: ".js",
      },
    },
  },
};

export default config;
