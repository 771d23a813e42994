import plugin from "@graphql-eslint/eslint-plugin";

// The schema is piped in (`npm run lint`), since ESLint does not look above its own folder.
export default [
  {
    files: ["**/*.graphql"],
    languageOptions: {
      parser: plugin.parser,
      parserOptions: { graphQLConfig: { schema: "../../../schema.graphql" } },
    },
    plugins: { "@graphql-eslint": plugin },
    rules: {
      ...plugin.configs["flat/schema-recommended"].rules,
      ...plugin.configs["flat/schema-relay"].rules,
      "@graphql-eslint/no-unused-fields": "off",
      // `Node.nodeId` is called so in every record: the name says what it is an id of.
      "@graphql-eslint/no-typename-prefix": "off",
      // Of an argument of its own, which GraphQL's @deprecated lacks: tests/test_schema.py looks for the date in the reason.
      "@graphql-eslint/require-deprecation-date": "off",
      "@graphql-eslint/require-nullable-fields-with-oneof": "error",
      "@graphql-eslint/no-scalar-result-type-on-mutation": "error",
      "@graphql-eslint/require-description": [
        "error",
        {
          types: true,
          rootField: true,
          DirectiveDefinition: true,
          EnumValueDefinition: true,
          FieldDefinition: true,
          InputValueDefinition: true,
        },
      ],
      "@graphql-eslint/strict-id-in-types": [
        "error",
        {
          acceptedIdNames: ["id"],
          acceptedIdTypes: ["ID"],
          // Answers to one request and parts of a record: nothing that a cache should keep under a name of its own.
          exceptions: { types: ["FieldChange", "ChangedField", "ChangeStream", "PageInfo"], suffixes: ["Connection", "Edge", "Result", "Stats", "Count", "Total", "Hit", "Usage", "Status", "Reason", "Factor", "Analytics", "Statistics", "Level", "Payload", "Problem", "Extensions", "Warning"] },
        },
      ],
      // `LeadConnection.edges` holds non-null edges: nobody has to check each row for null.
      "@graphql-eslint/relay-edge-types": ["error", { withEdgeSuffix: true, shouldImplementNode: false, listTypeCanWrapOnlyEdgeType: false }],
    },
  },
];
