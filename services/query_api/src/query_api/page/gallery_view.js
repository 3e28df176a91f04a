// Everything in the gallery: newest first, without an end, with a selection that can be deleted.

import { changePayload, listImages } from "./api.js";
import { deleteLater, deletions, isDeleted } from "./deletions.js";
import { button, el } from "./dom.js";
import { stringify } from "./exact_json.js";
import { FilterChips, toFilter } from "./filter_chips.js";
import { tile } from "./hit_grid.js";
import { announce, failure, kindOf, note, notice, report } from "./messages.js";
import { emptyGallery } from "./start.js";
import { dayOf, t } from "./texts.js";

const PAGE = 60;

export class GalleryView {
  /** @param app Has the page's `state` and `config`, `go` to another state, and `show` an image. */
  constructor(app) {
    this._app = app;
    this._selected = new Set();
    this.chips = new FilterChips((choice) => app.go(choice, { replace: true }));
    this._count = el("span.count");
    this._order = el(
      "select",
      {},
      ["newest", "oldest"].map((order) => el("option", { value: order }, t(`order_${order}`))),
    );
    this._order.addEventListener("change", () => this._reload());
    this._bar = el("div.selection", { hidden: true, role: "group", "aria-label": t("selection") });
    this._days = el("div.days");
    this._message = el("div.message");
    this._end = el("div.sentinel");
    const head = el(
      "div.found-head",
      {},
      el("h1", { id: "gallery-title" }, t("gallery"), " ", this._count),
      el("label.order", {}, el("span.hidden-visually", {}, t("order")), this._order),
    );
    this.element = el(
      "section.view.gallery",
      { "aria-labelledby": "gallery-title" },
      head,
      this.chips.element,
      this._bar,
      this._message,
      this._days,
      this._end,
    );
    new IntersectionObserver(
      (seen) => {
        if (seen.some((one) => one.isIntersecting)) this._loadMore();
      },
      { rootMargin: "1200px" },
    ).observe(this._end);
    deletions.addEventListener("change", () => this._hideDeleted());
  }

  items() {
    return (this._images ?? []).filter(({ id }) => !isDeleted(id));
  }

  shownQuery() {
    return null;
  }

  async show(state) {
    const filters = stringify(state.filters);
    if (this._images && !this._stale && filters === this._filters) return;
    this._filters = filters;
    if (this._stale !== false) this.chips.load(state);
    else this.chips.show(state);
    await this._reload();
  }

  /** The gallery has changed: images were indexed or deleted. */
  changed() {
    this._stale = true;
  }

  async _reload() {
    this._stale = false;
    this._images = [];
    this._cursor = this._total = null;
    this._done = false;
    this._loading = null;
    this._lastDay = null;
    this._select([]);
    this._days.replaceChildren();
    this._message.replaceChildren();
    await this._loadMore();
  }

  async _loadMore() {
    if (this._loading || this._done || !this._images || this._app.state.view !== "gallery") return;
    const loading = (this._loading = {}); // another reload makes this one void
    try {
      const config = await this._app.config();
      const filter = toFilter(this._app.state.filters);
      const limit = Math.min(PAGE, config.max_limit);
      const answer = await listImages({ limit, cursor: this._cursor, order: this._order.value, filter });
      if (loading !== this._loading) return;
      this._message.replaceChildren();
      this._cursor = answer.next_cursor;
      this._done = this._cursor === null;
      this._total ??= answer.total; // of the first page: what is deleted since then is counted here
      this._append(answer.images, config);
      this._loading = null;
      this._app.shown();
      this._showCount(config);
    } catch (error) {
      if (loading !== this._loading) return;
      if (kindOf(error) === "empty") this._nothing(await this._app.config());
      else
        this._message.replaceChildren(
          failure(error, {
            retry: () => {
              this._loading = null;
              this._loadMore();
            },
          }),
        );
      return;
    }
    if (!this._done && this._end.getBoundingClientRect().top < innerHeight + 1200) this._loadMore();
  }

  _append(images, config) {
    for (const image of images) {
      this._images.push(image);
      const day = dayOf(image.indexed_at);
      if (day !== this._lastDay) {
        this._lastDay = day;
        this._days.append(el("h2.day", {}, t("added_day", { day })), el("ul.grid"));
      }
      this._days.lastElementChild.append(
        tile(image, config, {
          onOpen: (from) => this._app.show(image.id, from),
          onSelect: (event, byBox) => this._toggle(event, image.id, byBox),
        }),
      );
    }
    this._hideTiles();
  }

  _showCount(config) {
    const gone = this._images.length - this.items().length;
    const total = Math.max(0, this._total - gone);
    this._count.textContent = t("photographs", { n: total });
    if (total === 0) this._nothing(config);
  }

  _nothing(config) {
    this._count.textContent = "";
    const { filters } = this._app.state;
    const clear = button("close", t("clear_filters"), () => this._app.go({ filters: [] }, { replace: true }));
    this._message.replaceChildren(
      filters.length
        ? notice(t("nothing_filtered"), { tone: "plain", actions: [clear] })
        : emptyGallery(config, this._app),
    );
  }

  // --- the selection

  /** Select or deselect; returns whether the event was about the selection. */
  _toggle(event, id, byBox) {
    if (!byBox && this._selected.size === 0) return false;
    const ids = this.items().map((image) => image.id);
    const [from, to] = [ids.indexOf(this._lastChosen), ids.indexOf(id)].sort((a, b) => a - b);
    const range = event.shiftKey && from >= 0 ? ids.slice(from, to + 1) : [id];
    const select = !this._selected.has(id);
    for (const one of range) select ? this._selected.add(one) : this._selected.delete(one);
    this._lastChosen = id;
    this._select([...this._selected]);
    return true;
  }

  _select(ids) {
    this._selected = new Set(ids);
    for (const element of this._days.querySelectorAll(".tile")) {
      const selected = this._selected.has(element.dataset.id);
      element.classList.toggle("selected", selected);
      element.querySelector("input").checked = selected;
    }
    this.element.classList.toggle("selecting", ids.length > 0);
    const wasHidden = this._bar.hidden;
    this._bar.hidden = ids.length === 0;
    if (ids.length === 0) {
      this._bar.replaceChildren();
      return;
    }
    if (wasHidden) {
      this._selectedCount = el("strong");
      this._bar.replaceChildren(
        button("close", t("clear_selection"), () => this._select([]), { bare: true }),
        this._selectedCount,
        button("edit", t("add_detail"), () => this._editSelected()),
        button("remove", t("delete"), () => this._deleteSelected()),
      );
    }
    this._selectedCount.textContent = t("selected", { n: ids.length });
    announce(t("selected", { n: ids.length }));
  }

  async _deleteSelected() {
    const ids = [...this._selected];
    if (!(await this._app.config()).indexer) {
      note(t("error_no_indexer"));
      return;
    }
    this._select([]);
    deleteLater(ids);
  }

  async _editSelected() {
    if (!(await this._app.config()).indexer) {
      note(t("error_no_indexer"));
      return;
    }
    const key = el("input", { type: "text", required: true, autocapitalize: "off" }),
      value = el("input", { type: "text", required: true });
    const form = el(
      "form.edit-selected",
      {},
      el("label", {}, t("detail_name"), key),
      el("label", {}, t("detail_value"), value),
      el("button.primary", {}, t("save")),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this._saveSelected([...this._selected], { [key.value.trim()]: value.value });
    });
    this._bar.querySelector("form")?.remove();
    this._bar.append(form);
    key.focus();
  }

  async _saveSelected(ids, change) {
    try {
      for (const id of ids) await changePayload(id, change);
    } catch (error) {
      report(error, () => this._saveSelected(ids, change));
      return;
    }
    this._select([]);
    this._app.changed();
    note(t("saved"));
    this.show(this._app.state);
  }

  _hideTiles() {
    for (const element of this._days.querySelectorAll(".tile")) element.hidden = isDeleted(element.dataset.id);
    for (const grid of this._days.querySelectorAll(".grid")) {
      grid.previousElementSibling.hidden = [...grid.children].every((element) => element.hidden);
    }
  }

  async _hideDeleted() {
    this._hideTiles();
    if (this._total === null || !this._images) return;
    this._message.replaceChildren();
    this._showCount(await this._app.config());
  }
}
