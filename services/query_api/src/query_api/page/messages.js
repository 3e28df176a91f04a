// What the page reports: failures with the next step, prompts for keys, notes that disappear, announcements.

import { keepKey, ServiceError } from "./api.js";
import { button, el, icon } from "./dom.js";
import { t } from "./texts.js";

const NOTE_MS = 8000;
const UNREADABLE = new Set([
  "image_unsupported",
  "image_invalid",
  "image_empty",
  "image_truncated",
  "image_too_small",
  "decoder_failed",
]);
const TOO_LARGE = new Set(["image_too_many_pixels", "image_too_many_bytes", "body_too_large"]);
const BUSY = new Set(["service_overloaded", "rate_limited", "connection_limit", "store_throttled"]);
const GATEWAY = new Set([502, 503, 504]); // of a proxy, before a service that does not answer
const EMPTY = new Set(["gallery_missing"]);
const NOT_READY = new Set(["store_unavailable", "service_not_ready", "embedding_space_mismatch", "bundle_invalid"]);

/**
 * Classify a failure: `key`, `busy`, `offline`, `unreachable`, `unreadable`, `too_large`, `empty`, `gone`,
 * `not_ready`, `no_encoder`, `no_indexer`, `unsupported_here`, or `other`.
 */
export function kindOf(error) {
  if (!(error instanceof ServiceError)) return "other";
  if (error.status === 401 || error.code === "scope_missing") return "key";
  if (error.code === "unreachable" || (error.code === "unexpected" && GATEWAY.has(error.status)))
    return navigator.onLine ? "unreachable" : "offline";
  if (BUSY.has(error.code) || error.status === 429) return "busy";
  if (UNREADABLE.has(error.code)) return "unreadable";
  if (TOO_LARGE.has(error.code) || error.status === 413) return "too_large";
  if (EMPTY.has(error.code)) return "empty";
  if (error.code === "image_not_found") return "gone";
  if (NOT_READY.has(error.code) || error.code === "store_failed") return "not_ready";
  if (error.code === "encoder_missing") return "no_encoder";
  if (["no_indexer", "unsupported_here"].includes(error.code)) return error.code;
  return "other";
}

/** The sentence for a failure: what happened and what to do next. `name` is the file's. */
export function sentence(error, name = "") {
  const kind = kindOf(error);
  const file = name || t("your_photograph_short");
  const service = t(`service_${error.service ?? "query"}`);
  if (kind === "other")
    return t("error_other", { detail: error.title ? `${error.title}. ${error.detail}` : error.message });
  if (kind === "key") return t(error.code === "key_missing" ? `error_key_${error.service}` : "error_key_wrong");
  if (kind === "no_encoder") return t(`error_no_encoder_${error.service ?? "query"}`);
  return t(`error_${kind}`, { file, service, seconds: error.retryAfter ?? 1, detail: error.detail ?? "" });
}

/** A message in the page; `actions` are buttons. */
export function notice(text, { tone = "bad", detail = "", actions = [] } = {}) {
  const mark = { bad: "warning", good: "check", plain: "info" }[tone];
  const body = el(
    "div",
    {},
    el("p", {}, text),
    detail && el("p.detail", {}, detail),
    actions.length > 0 && el("div.actions", {}, actions),
  );
  return el(`div.notice.${tone}`, { role: tone === "bad" ? "alert" : null }, icon(mark), body);
}

/**
 * A message about a failure, with what helps: a prompt for the key where one is missing, and a button that tries again.
 *
 * @param retry Called to try again.
 */
export function failure(error, { name = "", retry, actions = [] } = {}) {
  if (!(error instanceof ServiceError)) console.error(error);
  const kind = kindOf(error);
  if (kind === "key" && retry) return keyPrompt(error, retry);
  const again = retry && ["busy", "offline", "unreachable", "not_ready", "other"].includes(kind);
  const buttons = again ? [button(null, t("try_again"), retry), ...actions] : actions;
  return notice(sentence(error, name), { tone: ["no_indexer", "no_encoder"].includes(kind) ? "plain" : "bad", actions: buttons });
}

function keyPrompt(error, retry) {
  const input = el("input", { type: "password", autocomplete: "current-password", required: true });
  const label = t(error.service === "indexer" ? "key_indexer" : "key_query");
  const form = el("form.key-form", {}, el("label", {}, label, input), el("button.primary", {}, t("use_key")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    keepKey(error.service, input.value.trim());
    retry();
  });
  const message = notice(sentence(error), { tone: error.code === "key_missing" ? "plain" : "bad" });
  message.lastElementChild.append(form);
  queueMicrotask(() => input.focus({ preventScroll: true }));
  return message;
}

let region = null;

/** Announce a text to screen readers. */
export function announce(text) {
  region ??= document.getElementById("announcements");
  region.textContent = text;
}

/** Report a failure of something that is no longer in view; prompts for the key where one is missing. */
export function report(error, retry) {
  if (kindOf(error) !== "key") return note(sentence(error), { label: t("try_again"), action: retry });
  const card = el(
    "div.note-card",
    {},
    failure(error, {
      retry: () => {
        card.remove();
        retry();
      },
    }),
    button("close", t("dismiss"), () => card.remove(), { bare: true }),
  );
  document.getElementById("notes").append(card);
  return () => card.remove();
}

/** Show a note for some seconds, with an optional action; return a function that removes it. */
export function note(text, { label = null, action = null, ms = NOTE_MS } = {}) {
  const element = el("div.note", {}, el("p", {}, text));
  const end = () => {
    clearTimeout(timer);
    element.remove();
  };
  if (action)
    element.append(
      button(null, label, () => {
        end();
        action();
      }),
    );
  element.append(button("close", t("dismiss"), end, { bare: true }));
  document.getElementById("notes").append(element);
  const timer = setTimeout(end, ms);
  announce(text);
  return end;
}
