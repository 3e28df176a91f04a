// Conditions on payloads, as rows of a form.

const rows = document.getElementById("filters");
const template = document.getElementById("filter-template");

/** Add a row, empty or as it was. */
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

/** The filter of the service that rows stand for; null where none has a key. */
export function toServiceFilter(filters) {
  const filter = { must: [], must_not: [] };
  for (const { key, test, value } of filters) {
    if (key === "") continue;
    if (test === "match") filter.must.push({ key, match: scalar(value) });
    else if (test === "not") filter.must_not.push({ key, match: scalar(value) });
    else filter.must.push({ key, range: { [test]: Number(value) } });
  }
  return filter.must.length + filter.must_not.length ? filter : null;
}

function scalar(text) {
  if (text === "true" || text === "false") return text === "true";
  return /^-?\d{1,15}$/.test(text) ? Number(text) : text;
}
