// Conditions on payloads, as rows of a form.

import { toNumber } from "./exact_json.js";

const rows = document.getElementById("filters");
const template = document.getElementById("filter-template");

/** Add a row, empty or with a former content. */
export function addFilter(row = { key: "", test: "match", value: "" }) {
  const element = template.content.firstElementChild.cloneNode(true);
  for (const name of ["key", "test", "value"]) element.querySelector(`.${name}`).value = row[name];
  element.querySelector(".remove").addEventListener("click", () => {
    const next = element.nextElementSibling?.querySelector(".key") ?? document.getElementById("filter-add");
    element.remove();
    next.focus();
  });
  rows.append(element);
  return element;
}

export function readFilters() {
  return [...rows.children].map((element) => ({
    key: element.querySelector(".key").value.trim(),
    test: element.querySelector(".test").value,
    value: element.querySelector(".value").value.trim(),
  }));
}

export function showFilters(filters) {
  rows.replaceChildren();
  filters.forEach((row) => addFilter(row));
}

/** The rows as a filter of the service; null if no row has a key. */
export function toServiceFilter(filters) {
  const filter = { must: [], must_not: [] };
  for (const { key, test, value } of filters) {
    if (key === "") continue;
    if (test === "match") filter.must.push({ key, match: scalar(value) });
    else if (test === "not") filter.must_not.push({ key, match: scalar(value) });
    else filter.must.push({ key, range: { [test]: toNumber(value) } });
  }
  return filter.must.length + filter.must_not.length ? filter : null;
}

/** Parse a typed value: true, false, a 64-bit integer, otherwise a text; double quotes make any of them a text. */
function scalar(text) {
  if (text === "true" || text === "false") return text === "true";
  if (/^".*"$/.test(text)) return text.slice(1, -1);
  const isInteger = /^(-?[1-9]\d*|0)$/.test(text) && BigInt.asIntN(64, BigInt(text)) === BigInt(text);
  return isInteger ? toNumber(text) : text;
}
