// Adding photographs: folders and files, their progress, and a receipt for each.

import { checkIndexer } from "./api.js";
import { chosenPhotographs } from "./dropped_files.js";
import { button, el, filePicker, icon } from "./dom.js";
import { announce, failure, kindOf, note, notice, sentence } from "./messages.js";
import { t } from "./texts.js";
import { STATUSES } from "./upload_queue.js";

const FIRST_ROWS = 100;
const ALL = "all";
const GROUPS = [ALL, ...new Set(Object.values(STATUSES).flatMap(({ group }) => group ?? []))];
const isIn = (group, { status }) => group === ALL || STATUSES[status].group === group;

export class AddView {
  /** @param app Has the page's `queue` of uploads and `config`, and `go` to another state. */
  constructor(app) {
    this._app = app;
    this._group = ALL;
    this._rows = FIRST_ROWS;
    const choose = (files) => app.add(chosenPhotographs(files));
    this._message = el("div.message");
    this._card = el(
      "div.drop-card",
      {},
      el("span.drop-mark", {}, icon("folder")),
      el("p", {}, t("add_drop")),
      el(
        "div.actions",
        {},
        filePicker("folder", t("add_folder"), choose, { kind: "primary", webkitdirectory: true, id: "folder" }),
        filePicker("file", t("add_files"), choose, { accept: "image/*", multiple: true, id: "files" }),
      ),
      el("p.hint", {}, t("add_safe")),
    );
    this._progress = el("div.progress", { hidden: true });
    this._filters = el("div.chips", { role: "group", "aria-label": t("receipts"), hidden: true });
    this._list = el("ul.receipts", { "aria-label": t("receipts") });
    this._more = button(
      "down",
      t("show_more"),
      () => {
        this._rows += 500;
        this._draw();
      },
      { kind: "more", hidden: true },
    );
    this.element = el(
      "section.view.add",
      { "aria-labelledby": "add-title" },
      el("h1", { id: "add-title" }, t("add_title")),
      el("p.lead", {}, t("add_lead")),
      this._message,
      this._card,
      this._progress,
      this._filters,
      this._list,
      this._more,
    );
    app.queue.addEventListener("change", () => this._draw());
  }

  items() {
    return [];
  }

  shownQuery() {
    return null;
  }

  async show() {
    this._draw();
    await this._check();
  }

  /** Check that an indexer is there; without one, adding is impossible, and the page shows why. */
  async _check() {
    try {
      await checkIndexer();
      this._message.replaceChildren();
      this._card.hidden = false;
    } catch (error) {
      this._card.hidden = kindOf(error) === "no_indexer";
      this._message.replaceChildren(failure(error, { retry: () => this._check() }));
    }
  }

  _draw() {
    if (this._scheduled) return;
    this._scheduled = true;
    setTimeout(() => {
      this._scheduled = false;
      this._drawNow();
    }, 50);
  }

  _drawNow() {
    const { queue } = this._app,
      { counts } = queue,
      items = [...queue.items.values()];
    const count = (group) => items.filter((item) => isIn(group, item)).length;
    const pending = count("waiting"),
      added = count("added"),
      done = items.length - pending - counts.lost;
    this._announceEnd(pending, added);
    this._progress.hidden = this._filters.hidden = items.length === 0;
    this._card.classList.toggle("small", items.length > 0);
    this._drawProgress(items.length - counts.lost, done, pending, added);
    this._drawFilters(items);
    const shown = items.filter((item) => isIn(this._group, item));
    this._list.replaceChildren(...shown.slice(0, this._rows).map((item) => this._row(item)));
    this._more.hidden = shown.length <= this._rows;
  }

  _announceEnd(pending, added) {
    if (pending === 0 && this._wasPending > 0) {
      announce(t("add_done", { n: added }));
      this._app.changed();
      if (this._app.state.view !== "add")
        note(t("add_done", { n: added }), { label: t("gallery"), action: () => this._app.go({ view: "gallery" }) });
    }
    this._wasPending = pending;
  }

  _drawProgress(total, done, pending, added) {
    const { queue } = this._app,
      { counts } = queue;
    const bar = (this._bar ??= el("progress", { "aria-label": t("add_progress") }));
    Object.assign(bar, { max: Math.max(1, total), value: done });
    const text =
      pending === 0
        ? t("add_done", { n: added })
        : t("add_of", { done: t("number", { n: done }), total: t("number", { n: total }) });
    const key = `${pending > 0} ${queue.paused} ${queue.problem?.code} ${counts.lost}`;
    this._text ??= el("p.progress-text");
    this._text.textContent = text;
    if (key === this._progressKey) return; // the buttons keep the focus
    this._progressKey = key;
    const actions =
      pending > 0
        ? [
            queue.paused
              ? button("play", t("go_on"), () => queue.go(), { kind: "primary" })
              : button("pause", t("pause"), () => queue.pause()),
            button("close", t("stop"), () => queue.clear({ all: true })),
          ]
        : [
            button("search", t("search_now"), () => this._app.go({ view: "search", query: null }), { kind: "primary" }),
            button("gallery", t("see_gallery"), () => this._app.go({ view: "gallery" })),
            button("close", t("clear_list"), () => queue.clear()),
          ];
    const lost = counts.lost > 0 && notice(t("add_lost", { n: counts.lost }), { tone: "plain" });
    const problem = queue.problem && pending > 0 && this._problem(queue);
    this._progress.replaceChildren(
      ...[el("div.progress-head", {}, this._text, el("div.actions", {}, actions)), bar, problem, lost].filter(Boolean),
    );
  }

  _problem(queue) {
    if (kindOf(queue.problem) === "key") return failure(queue.problem, { retry: () => queue.go() });
    return notice(sentence(queue.problem), {
      detail: queue.continues ? t("add_again") : "",
      actions: [button(null, t("try_again"), () => queue.go())],
    });
  }

  _drawFilters(items) {
    const focused = this._filters.contains(document.activeElement) ? document.activeElement.dataset.group : null;
    const chips = GROUPS.map((group) => [group, items.filter((item) => isIn(group, item)).length])
      .filter(([group, count]) => group === ALL || count > 0 || group === this._group)
      .map(([group, count]) => {
        const chosen = group === this._group;
        return button(
          null,
          `${t(`group_${group}`)} ${t("number", { n: count })}`,
          () => {
            this._group = group;
            this._rows = FIRST_ROWS;
            this._draw();
          },
          { kind: chosen ? "chip.active" : "chip", "aria-pressed": String(chosen), "data-group": group },
        );
      });
    this._filters.replaceChildren(...chips);
    if (focused) this._filters.querySelector(`[data-group="${focused}"]`)?.focus();
  }

  _row({ id, status, reason, size }) {
    const sign = STATUSES[status].mark,
      mark = sign ? icon(sign) : el("span.dot");
    const why = reason && el("span.why", {}, reasonText(reason, id));
    return el(
      `li.receipt.${status}`,
      {},
      mark,
      el("span.receipt-id", {}, id),
      why,
      el("span.receipt-status", {}, status === "waiting" ? t("megabytes", { n: size / 1e6 }) : t(`status_${status}`)),
    );
  }
}

/** Why a file was rejected, in a sentence. */
function reasonText({ code, title = "", detail = "" }, id) {
  const short = id.split("/").pop();
  const known = {
    image_unsupported: "unreadable",
    image_truncated: "damaged",
    image_empty: "damaged",
    image_too_small: "small",
    unreadable: "moved",
    image_too_many_pixels: "large",
    image_too_many_bytes: "large",
    body_too_large: "large",
  }[code];
  return known ? t(`rejected_${known}`, { name: short }) : [title, detail].filter(Boolean).join(": ");
}
