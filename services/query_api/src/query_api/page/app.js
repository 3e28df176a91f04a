// The search page. Every search is an entry in the browser's history.

import { keepKey, searchByEmbedding, searchByPhotograph, searchSimilar, ServiceError, thumbnailUrl } from "./api.js";
import { CropPicker } from "./crop.js";
import { loadDeviceEncoder, runtimeIsThere } from "./device_encoder.js";
import { stringify } from "./exact_json.js";
import { addFilter, readFilters, showFilters, toServiceFilter } from "./filters.js";

const $ = (id) => document.getElementById(id);
const photographs = []; // of this visit; the history refers to them by index
const costs = new Map();
let current = null; // index of the photograph that is shown
let encoder = null; // a promise, once it was requested
let shownUrl = null;
let turn = 0; // number of the search whose hits may be shown

const crop = new CropPicker(() => search());

function takePhotograph(file) {
  if (!file) return;
  photographs.push(file);
  showPhotograph(photographs.length - 1, null);
  search();
}

function showPhotograph(place, region) {
  const changed = current !== place;
  current = place;
  for (const id of ["preview", "crop-panel"]) $(id).hidden = place === null;
  $("search").disabled = place === null;
  if (place === null || !changed) {
    crop.value = place === null ? null : region;
    return;
  }
  if (shownUrl) URL.revokeObjectURL(shownUrl);
  shownUrl = URL.createObjectURL(photographs[place]);
  crop.value = null;
  $("photograph").onload = () => { crop.value = region; };
  $("photograph").src = shownUrl;
}

const options = (state) => ({
  limit: state.limit,
  group_by: state.group || null,
  filter: toServiceFilter(state.filters),
});

function asked(what) {
  const limit = Number($("limit").value);
  return { ...what, limit: limit >= 1 ? Math.round(limit) : 24, group: $("group").value.trim(), filters: readFilters() };
}

function search() {
  if (current === null) return;
  go(asked({ photograph: current, crop: crop.value, device: $("device").checked }));
}

function go(state) {
  const address = state.similar === undefined ? location.pathname : `?similar=${encodeURIComponent(state.similar)}`;
  history.pushState(state, "", address);
  return run(state);
}

async function run(state) {
  const mine = ++turn;
  $("error").hidden = true;
  $("key-form").hidden = true;
  $("status").textContent = "Searching…";
  $("results").setAttribute("aria-busy", "true");
  try {
    const { hits, words } = await found(state);
    if (mine === turn) showHits(hits, words);
  } catch (error) {
    if (mine === turn) showError(error);
  } finally {
    if (mine === turn) $("results").removeAttribute("aria-busy");
  }
}

async function found(state) {
  if (state.similar !== undefined) {
    const answer = await searchSimilar(state.similar, options(state));
    return { hits: answer.hits, words: `like ${state.similar}` };
  }
  const began = performance.now();
  const answer = state.device ? await byDevice(state) : await byService(state);
  costs.set(answer.where, { ...answer.cost, total: performance.now() - began });
  showCosts();
  return { hits: answer.hits, words: "for your photograph" };
}

async function byService(state) {
  const photograph = photographs[state.photograph];
  const answer = await searchByPhotograph(photograph, { ...options(state), crop: state.crop?.join(",") });
  const { decode, encode } = answer.timings_ms;
  return { where: "by the service", hits: answer.hits, cost: { sent: photograph.size, encoding: decode + encode } };
}

async function byDevice(state) {
  if (encoder === null) {
    $("status").textContent = "Loading the encoder…";
    const mine = turn;
    encoder = loadDeviceEncoder((size) => {
      if (mine === turn) $("status").textContent = `Loading the encoder (${(size / 1e6).toFixed(1)} MB)…`;
    });
    encoder.catch(() => { encoder = null; });
  }
  const loaded = await encoder;
  const began = performance.now();
  const embedding = await loaded.embed(photographs[state.photograph], state.crop);
  const encoding = performance.now() - began;
  const body = stringify({
    embedding: base64(embedding), fingerprint: loaded.fingerprint, ...options(state),
  });
  try {
    const answer = await searchByEmbedding(body);
    return { where: `on this device (${loaded.backend})`, hits: answer.hits, cost: { sent: body.length, encoding } };
  } catch (error) {
    encoder = null; // the service's encoder may have changed
    throw error;
  }
}

const base64 = (numbers) =>
  btoa(String.fromCharCode(...new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength)));

function showHits(hits, words) {
  $("status").textContent = hits.length === 1 ? `1 hit ${words}.` : `${hits.length} hits ${words}.`;
  $("hits").replaceChildren(...hits.map(hitElement));
}

function hitElement(hit) {
  const element = $("hit-template").content.firstElementChild.cloneNode(true);
  const image = element.querySelector("img");
  image.addEventListener("error", () => { image.parentElement.classList.add("none"); image.remove(); });
  image.src = thumbnailUrl(hit.id);
  element.querySelector(".score").textContent = hit.score.toFixed(3);
  element.querySelector(".id").textContent = hit.id;
  for (const [key, value] of Object.entries(hit.payload)) {
    const term = document.createElement("dt"), description = document.createElement("dd");
    term.textContent = key;
    description.textContent = typeof value === "string" ? value : stringify(value);
    element.querySelector(".payload").append(term, description);
  }
  const similar = element.querySelector(".similar");
  similar.setAttribute("aria-label", `More like ${hit.id}`);
  similar.addEventListener("click", async () => {
    await go(asked({ similar: hit.id }));
    $("results").focus();
  });
  return element;
}

function showError(error) {
  if (!(error instanceof ServiceError)) console.error(error);
  $("status").textContent = "";
  $("hits").replaceChildren();
  $("error").textContent = error instanceof ServiceError ? error.message : `This page failed: ${error.message}`;
  $("error").hidden = false;
  $("key-form").hidden = error.status !== 401;
}

function showCosts() {
  $("costs").hidden = false;
  $("costs-rows").replaceChildren(...[...costs].map(([where, cost]) => {
    const row = document.createElement("tr");
    for (const text of [where, bytes(cost.sent), `${cost.encoding.toFixed(1)} ms`, `${cost.total.toFixed(0)} ms`]) {
      const cell = document.createElement("td");
      cell.textContent = text;
      row.append(cell);
    }
    return row;
  }));
}

const bytes = (count) => (count < 10_000 ? `${count} B` : `${Math.round(count / 1000)} kB`);

function restore(state) {
  if (state === null) {
    turn++;
    showPhotograph(null, null);
    showHits([], "");
    $("error").hidden = true;
    $("status").textContent = "No search yet.";
    return;
  }
  $("limit").value = state.limit;
  $("group").value = state.group;
  showFilters(state.filters);
  if (state.similar === undefined) {
    if (!photographs[state.photograph]) { // from an earlier visit
      restore(null);
      return;
    }
    $("device").checked = state.device;
    showPhotograph(state.photograph, state.crop);
  }
  run(state);
}

for (const id of ["file", "camera"]) {
  $(id).addEventListener("change", (event) => {
    takePhotograph(event.target.files[0]);
    event.target.value = "";
  });
}
document.addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("over"); });
document.addEventListener("dragleave", () => $("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  takePhotograph(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
  if (file) { event.preventDefault(); takePhotograph(file); }
});
$("search").addEventListener("click", search);
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey($("key").value.trim());
  $("key").value = "";
  if (history.state !== null) run(history.state);
});
$("filter-add").addEventListener("click", () => addFilter().querySelector(".key").focus());
for (const id of ["limit", "group"]) {
  $(id).addEventListener("keydown", (event) => { if (event.key === "Enter") search(); });
}
window.addEventListener("popstate", (event) => restore(event.state));
runtimeIsThere().then((there) => { $("device-switch").hidden = !there; });

const similar = new URLSearchParams(location.search).get("similar");
if (similar !== null) {
  const state = asked({ similar });
  history.replaceState(state, "");
  run(state);
} else {
  history.replaceState(null, "");
}
