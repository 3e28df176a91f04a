// node generate.mjs DOCUMENT TYPES: writes the types of an OpenAPI document; binary strings are files.

import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const [document, types] = process.argv.slice(2);
const file = ts.factory.createTypeReferenceNode("Blob");
const ast = await openapiTS(JSON.parse(await readFile(document, "utf8")), {
  defaultNonNullable: false,
  transform: (schema) => (schema.format === "binary" ? file : undefined),
});
await writeFile(types, astToString(ast));
