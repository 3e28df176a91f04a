// Calls of the query service and of the indexer. Failures are ServiceErrors.

import { parse, stringify } from "./exact_json.js";

/** The query service's address, possibly below a path of a proxy: these files are below its `page`. */
const SERVICE = new URL("..", import.meta.url);
const INDEXER_KEY = "aff_indexer_key";
const NO_CONFIG = { indexer: null, originals: false, schema: {}, max_limit: 1000 };

/** URL of a path of the query service. */
export const serviceUrl = (path) => new URL(path.slice(1), SERVICE).href;

/**
 * A failed call.
 *
 * `code` is that of the problem that the service returned; `unreachable` without a response, `unexpected` for one that
 * is not from the service. `service` is "query" or "indexer".
 */
export class ServiceError extends Error {
  constructor(code, { status = 0, detail = "", title = "", retryAfter = null, service = "query" } = {}) {
    super(title ? `${title}: ${detail}` : detail || code);
    Object.assign(this, { code, status, detail, title, retryAfter, service });
  }
}

/**
 * Store a service's key: the query service's until the browser is closed, the indexer's until the tab is.
 *
 * Requests for images send that of the query service as well.
 */
export function keepKey(service, key) {
  if (service === "indexer") {
    sessionStorage.setItem(INDEXER_KEY, key);
    return;
  }
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `aff_key=${encodeURIComponent(key)}; Path=${SERVICE.pathname}; SameSite=Strict${secure}`;
}

async function send(service, url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("unreachable", { service });
  }
  if (response.ok) return response;
  const retryAfter = Number(response.headers.get("retry-after")) || null;
  let problem;
  try {
    problem = parse(await response.text());
  } catch {
    problem = { code: "unexpected", detail: String(response.status) };
  }
  throw new ServiceError(problem.code, { ...problem, status: response.status, retryAfter, service });
}

async function answer(response, service) {
  try {
    return parse(await response.text());
  } catch {
    throw new ServiceError("unexpected", { status: response.status, detail: String(response.status), service });
  }
}

const call = async (path, options) => answer(await send("query", serviceUrl(path), options), "query");

function query(options) {
  const given = new URLSearchParams();
  for (const [key, value] of Object.entries(options)) {
    if (value !== null && value !== undefined) given.set(key, key === "filter" ? stringify(value) : value);
  }
  return `?${given}`;
}

let config = null;

/** What this page may use: the indexer's address, whether originals are there, the payload's declared keys. */
export function pageConfig() {
  config ??= call("/page/config.json").then(
    (found) => ({ ...NO_CONFIG, ...found }),
    (error) => {
      config = null;
      if (error.status === 404) return NO_CONFIG;
      throw error;
    },
  );
  return config;
}

export const searchByPhotograph = (photograph, options) => {
  const type = photograph.type.startsWith("image/") ? photograph.type : "application/octet-stream";
  return call(`/search${query(options)}`, { method: "POST", headers: { "Content-Type": type }, body: photograph });
};

export const searchSimilar = (id, options) => call(`/search/similar${query({ id, ...options })}`, { method: "POST" });

export const searchByEmbedding = (body) =>
  call("/search/embedding", { method: "POST", headers: { "Content-Type": "application/json" }, body });

export const describeEncoder = () => call("/encoder");

export const listImages = (options) => call(`/images${query(options)}`);

export const findImage = (id) => call(`/images${query({ id })}`);

export const listFacets = () => call("/facets");

/** URL of a thumbnail; with the time of indexing, a browser does not show that of a replaced photograph. */
export const thumbnailUrl = (id, indexedAt = null) => serviceUrl(`/thumbnails${query({ id, v: indexedAt })}`);

export const originalUrl = (id, options = {}) => serviceUrl(`/originals${query({ id, ...options })}`);

/** Send a request to the indexer; raises ServiceError with the code `no_indexer` where the page has none. */
async function indexer(path, { headers = {}, ...options } = {}) {
  const { indexer: address } = await pageConfig();
  if (!address) throw new ServiceError("no_indexer", { service: "indexer" });
  const base = new URL(address.endsWith("/") ? address : `${address}/`, location.href);
  const key = sessionStorage.getItem(INDEXER_KEY);
  const authorized = key ? { ...headers, Authorization: `Bearer ${key}` } : headers;
  return send("indexer", new URL(path.slice(1), base), { ...options, headers: authorized });
}

const indexerJson = (path, method, body, type = "application/json") =>
  indexer(path, { method, headers: { "Content-Type": type }, body: stringify(body) });

/** Check that there is an indexer and that it runs. */
export const checkIndexer = () => indexer("/healthz");

/** Delete images; `keepalive` lets the request outlive the page. */
export const deleteImages = (ids, { keepalive = false } = {}) =>
  indexer("/images/delete", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: stringify({ ids }),
    keepalive,
  });

/** Merge changes into an image's payload; null removes a key. Returns the image. */
export const changePayload = async (id, changes) =>
  answer(await indexerJson(`/images${query({ id })}`, "PATCH", changes, "application/merge-patch+json"), "indexer");

/** Return which of `[{id, content_sha256}]` the gallery has already. */
export const lookUp = async (images) =>
  new Set((await answer(await indexerJson("/images/lookup", "POST", { images }), "indexer")).up_to_date);

/** Index files; calls `receive` with each line of the response as it arrives. */
export async function indexFiles(files, receive) {
  const form = new FormData();
  for (const { file } of files) form.append("images", file, file.name);
  form.append("items", JSON.stringify(files.map(({ id }) => ({ id }))));
  const headers = { Accept: "application/x-ndjson" };
  const response = await indexer("/index?details=true", { method: "POST", headers, body: form });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const lines = (rest + part.value).split("\n");
      rest = lines.pop();
      for (const line of lines) if (line) receive(parse(line));
    }
  } catch (error) {
    if (error instanceof TypeError) throw new ServiceError("unreachable", { service: "indexer" });
    throw error;
  }
}
