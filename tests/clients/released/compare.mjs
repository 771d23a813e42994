// What of the schema breaks clients of a released one, by graphql-inspector, a line for each.
import { readFileSync } from "node:fs";

import { CriticalityLevel, diff } from "@graphql-inspector/core";
import { buildSchema } from "graphql";

const [before, now] = process.argv.slice(2).map((path) => buildSchema(readFileSync(path, "utf8")));
const changes = await diff(before, now);
const breaking = changes.filter(({ criticality }) => criticality.level === CriticalityLevel.Breaking);
console.log(JSON.stringify(breaking.map(({ message }) => message).sort()));
