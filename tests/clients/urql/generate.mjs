// What `gql.tada generate-output` and `generate-persisted` make. Those read tsconfig.json by TypeScript's JavaScript
// API, which TypeScript 7 does not have.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";

import { minifyIntrospection, outputIntrospectionFile } from "@gql.tada/internal";
import { buildSchema, introspectionFromSchema } from "graphql";

const schema = buildSchema(readFileSync("../../../schema.graphql", "utf8"));
const introspection = minifyIntrospection(introspectionFromSchema(schema));
writeFileSync("src/graphql-env.d.ts", outputIntrospectionFile(introspection, { fileType: ".d.ts", shouldPreprocess: true }));

const text = /persisted = `(.+?)`/s.exec(readFileSync("src/documents.ts", "utf8"))[1];
const id = `sha256:${createHash("sha256").update(text).digest("hex")}`;
writeFileSync("src/persisted-documents.json", JSON.stringify({ [id]: text }));
