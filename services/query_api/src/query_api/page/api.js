// Calls of the query service. Failures are Errors with a message for the user.

import { parse, stringify } from "./exact_json.js";

/** The service's address, possibly below a path of a proxy: these files are below its `page`. */
const SERVICE = new URL("..", import.meta.url);

/** URL of a path of the service. */
export const serviceUrl = (path) => new URL(path.slice(1), SERVICE).href;

export class ServiceError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

/** Store the service's key until the browser is closed; requests for images send it as well. */
export function keepKey(key) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `aff_key=${encodeURIComponent(key)}; Path=${SERVICE.pathname}; SameSite=Strict${secure}`;
}

/** Send a request; return the parsed response. */
async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(serviceUrl(path), options);
  } catch {
    throw new ServiceError("The service cannot be reached. Is it running, and are you online?");
  }
  let answer;
  try {
    answer = parse(await response.text());
  } catch {
    throw new ServiceError(`The service answers ${response.status}, not as expected.`);
  }
  if (response.ok) return answer;
  const wait = response.headers.get("retry-after");
  const item = answer.item ? `${answer.item}: ` : "";
  throw new ServiceError(`${answer.title}. ${item}${answer.detail}${wait ? ` Try again in ${wait} s.` : ""}`, response.status);
}

function query(options) {
  const given = new URLSearchParams();
  for (const [key, value] of Object.entries(options)) {
    if (value !== null && value !== undefined) given.set(key, key === "filter" ? stringify(value) : value);
  }
  return `?${given}`;
}

export const searchByPhotograph = (photograph, options) => {
  const type = photograph.type.startsWith("image/") ? photograph.type : "application/octet-stream";
  return call(`/search${query(options)}`, { method: "POST", headers: { "Content-Type": type }, body: photograph });
};

export const searchSimilar = (id, options) =>
  call(`/search/similar${query({ id, ...options })}`, { method: "POST" });

export const searchByEmbedding = (body) =>
  call("/search/embedding", { method: "POST", headers: { "Content-Type": "application/json" }, body });

export const describeEncoder = () => call("/encoder");

export const thumbnailUrl = (id) => serviceUrl(`/thumbnails${query({ id })}`);
