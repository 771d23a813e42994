import type { CodegenConfig } from "@graphql-codegen/cli";
import { addTypenameSelectionDocumentTransform } from "@graphql-codegen/client-preset";

const config = {
  scalars: { ID: "string", Date: "string", DateTime: "string", Decimal: "string", JSON: "unknown" },
  strictScalars: true,
  enumType: "string-literal",
  useTypeImports: true,
} as const;
const preset = { preset: "client", presetConfig: { fragmentMasking: false, persistedDocuments: { hashAlgorithm: "sha256" } } } as const;

export default {
  schema: "../../schema.graphql",
  documents: "shared/documents.graphql",
  generates: {
    "tanstack/src/gql/": { ...preset, config },
    "apollo/src/gql/": {
      ...preset,
      config,
      documentTransforms: [addTypenameSelectionDocumentTransform], // Apollo's cache adds them to what it sends
    },
  },
} satisfies CodegenConfig;
