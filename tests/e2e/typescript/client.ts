// node client.js INDEXER QUERY RED GREEN: uses every kind of route with the generated types; a wrong answer ends it.

import createClient from "openapi-fetch";
import type { paths as IndexerPaths } from "./gallery_indexer.js";
import type { paths as QueryPaths } from "./query_api.js";

declare const process: { argv: string[] };

const [indexerUrl, queryUrl, red, green] = process.argv.slice(2) as [string, string, string, string];
type Json = "application/json" | "application/problem+json";
const indexer = createClient<IndexerPaths, Json>({ baseUrl: indexerUrl });
const query = createClient<QueryPaths, Json>({ baseUrl: queryUrl });

function require(condition: boolean, expected: string, found: unknown): void {
  if (!condition) throw new Error(`${expected}, not ${JSON.stringify(found)}`);
}

function photograph(base64: string): Blob {
  return new Blob([Uint8Array.from(atob(base64), (digit) => digit.charCodeAt(0))], { type: "image/png" });
}

function form(fields: object): FormData {
  const made = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    for (const part of name === "items" ? [JSON.stringify(value)] : [value].flat()) {
      made.append(name, part instanceof Blob ? part : String(part));
    }
  }
  return made;
}

const mine = { must: [{ key: "made_by", match: "typescript" }] };
const payload = (colour: string) => ({ made_by: "typescript", colour });
const items = [{ id: "ts/red", payload: payload("red") }, { id: "ts/green", payload: payload("green") }];
const indexed = await indexer.POST("/index", {
  body: { images: [photograph(red), photograph(green)], items },
  bodySerializer: form,
});
require(indexed.data?.indexed === 2, "two images are indexed", indexed);

const lines = await createClient<IndexerPaths>({ baseUrl: indexerUrl }).POST("/index", {
  body: { images: [{ ...items[0], image: red }] },
  headers: { Accept: "application/x-ndjson" },
  parseAs: "stream",
});
const text = await new Response(lines.data).text();
require(JSON.parse(text.split("\n")[0]!).receipt.status === "duplicate", "the first line is a receipt", text);

const found = await query.POST("/search", {
  body: { image: [photograph(red)], limit: 1, with_embedding: true, filter: JSON.stringify(mine) },
  bodySerializer: form,
});
require(found.data?.hits[0]?.id === "ts/red", "the photograph finds itself", found);

const raw = await query.POST("/search", {
  params: { query: { limit: 2, filter: JSON.stringify({ must: [{ key: "colour", match: "green" }] }) } },
  body: photograph(red),
  headers: { "Content-Type": "application/octet-stream" },
  bodySerializer: (body) => body,
});
require(raw.data?.hits.map((hit) => hit.id).join() === "ts/green", "the filter holds", raw);

const fingerprint = (await query.GET("/encoder")).data!.fingerprint;
const embedding = found.data!.embedding!;
const embedded = await query.POST("/search/embedding", { body: { embedding, fingerprint, limit: 2, filter: mine } });
require(embedded.data?.hits[0]?.payload["colour"] === "red", "an embedding finds", embedded);

const similar = await query.POST("/search/similar", {
  params: { query: { id: "ts/red", filter: JSON.stringify(mine) } },
});
require(similar.data?.hits[0]?.id === "ts/green", "an image finds the other one", similar);

const greenOne = { params: { query: { id: "ts/green" } } };
const patched = await indexer.PATCH("/images", { ...greenOne, body: payload("lime") });
require(patched.data?.payload["colour"] === "lime", "a payload is replaced", patched);
const image = await indexer.GET("/images", greenOne);
require(image.data?.payload["colour"] === "lime", "it stays so", image);
const deleted = await indexer.DELETE("/images", greenOne);
require(deleted.data?.deleted === true, "an image is deleted", deleted);
const emptied = await indexer.POST("/images/delete", { body: { filter: mine } });
require(emptied.data?.deleted === 1, "the other one is deleted by a filter", emptied);

const gallery = await indexer.GET("/gallery");
require(gallery.data?.collections[0]?.live === true, "a collection is live", gallery);

const missing = await indexer.GET("/images", greenOne);
require(missing.response.status === 404 && missing.error?.code === "image_not_found", "a problem", missing);
const refused = await query.POST("/search", { body: { image: [new Blob(["no image"])] }, bodySerializer: form });
require(refused.error?.code === "image_unsupported", "a problem of an upload", refused);
