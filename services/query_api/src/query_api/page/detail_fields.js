// Fields with which details of a photograph are edited; `read` of each returns its change.

import { el } from "./dom.js";
import { parse, stringify, toNumber } from "./exact_json.js";
import { keyName, t } from "./texts.js";

/** A field for a key; `read` returns the change to it. An empty field removes the key. */
export function field(key, value) {
  const isText = typeof value === "string";
  const input = el("input", { type: "text", value: isText ? value : stringify(value), autocapitalize: "off" });
  const line = el("label", {}, keyName(key), input);
  line.read = () => {
    if (input.value === input.defaultValue) return {};
    return { [key]: input.value === "" ? null : isText ? input.value : parsed(input.value, keyName(key)) };
  };
  input.defaultValue = input.value;
  return line;
}

function parsed(text, name) {
  try {
    return parse(text);
  } catch {
    throw new Error(t("not_a_value", { name }));
  }
}

/** Fields for another key and its value. */
export function newField() {
  const key = el("input", { type: "text", autocapitalize: "off", spellcheck: false, required: true });
  const value = el("input", { type: "text" });
  const line = el(
    "div.new-field",
    {},
    el("label", {}, t("detail_name"), key),
    el("label", {}, t("detail_value"), value),
  );
  line.read = () => (key.value.trim() === "" || value.value === "" ? {} : { [key.value.trim()]: scalar(value.value) });
  return line;
}

/** A typed value: true, false or a whole number of 64 bits, otherwise a text. */
function scalar(text) {
  if (text === "true" || text === "false") return text === "true";
  const isInteger = /^(-?[1-9]\d{0,18}|0)$/.test(text) && BigInt.asIntN(64, BigInt(text)) === BigInt(text);
  return isInteger ? toNumber(text) : text;
}
