// A photograph, large: next to the query, with its details and actions.

import { changePayload, originalUrl, thumbnailUrl } from "./api.js";
import { deleteLater } from "./deletions.js";
import { button, el, icon, transition } from "./dom.js";
import { field, newField } from "./detail_fields.js";
import { stringify } from "./exact_json.js";
import { nameOf } from "./hit_grid.js";
import { announce, failure, notice } from "./messages.js";
import { placeRegion } from "./region_box.js";
import { dateTimeOf, keyName, t } from "./texts.js";

const FIRST_KEYS = ["folder", "taken_at", "camera", "location"];

export class Lightbox {
  /** @param app Has the page's `config` and `state`, and `go` to another state. */
  constructor(app) {
    this._app = app;
    this._picture = el("div.picture");
    this._query = el("figure.query", { hidden: true });
    this._hitCaption = el("figcaption");
    this._details = el("aside.details", { "aria-label": t("details"), tabIndex: 0 });
    this._title = el("h2", { id: "photo-title" });
    this._previous = button("back", t("previous"), () => this._step(-1), { bare: true, kind: "previous" });
    this._next = button("next", t("next"), () => this._step(1), { bare: true, kind: "following" });
    this._actions = el("div.photo-actions");
    this.element = el(
      "dialog.lightbox",
      { "aria-labelledby": "photo-title" },
      el(
        "header",
        {},
        button("back", t("close"), () => this._close(), { bare: true, kind: "leave" }),
        this._title,
        this._actions,
      ),
      el(
        "div.pictures",
        {},
        this._query,
        el("figure.hit-picture", {}, this._picture, this._hitCaption),
        this._previous,
        this._next,
      ),
      this._details,
    );
    this.element.addEventListener("cancel", (event) => {
      event.preventDefault();
      this._close();
    });
    this.element.addEventListener("close", () => {
      if (!this.element.open) document.body.append(...reports());
    });
    this.element.addEventListener("keydown", (event) => this._key(event));
  }

  get isOpen() {
    return this.element.open;
  }

  /**
   * @param items Images that the arrows go through; the shown one may be missing in them.
   * @param query `{src, crop, alt}` of the query, or null.
   * @param from The tile that it grows from, if any.
   */
  async open(item, items, query, from) {
    this._item = item;
    this._items = items;
    this._config = await this._app.config().catch(() => ({}));
    this._title.textContent = nameOf(item);
    this._showPicture();
    this._showQuery(query);
    this._showActions();
    this._showDetails();
    const place = items.findIndex(({ id }) => id === item.id);
    this._previous.disabled = place <= 0;
    this._next.disabled = place < 0 || place >= items.length - 1;
    if (!this.element.open) await this._grow(from?.querySelector("img"));
    announce(t("photo_of", { name: nameOf(item), n: place + 1, total: items.length }));
  }

  async _grow(thumbnail) {
    if (thumbnail) thumbnail.style.viewTransitionName = "photo";
    await transition(() => {
      if (thumbnail) thumbnail.style.viewTransitionName = "";
      this._picture.style.viewTransitionName = thumbnail ? "photo" : "";
      if (!this.element.open) this.element.showModal();
      this.element.append(...reports()); // outside an open dialog, they are neither seen nor announced
      this.element.querySelector(".leave").focus();
    });
  }

  close() {
    if (this.element.open) this.element.close();
  }

  _close() {
    this._app.closePhoto();
  }

  _step(by) {
    const place = this._items.findIndex(({ id }) => id === this._item.id) + by;
    if (this._items[place]) this._app.go({ open: this._items[place].id }, { replace: true });
  }

  _key(event) {
    if (event.target.matches("input, textarea, select")) return;
    if (event.key === "ArrowLeft") this._step(-1);
    if (event.key === "ArrowRight") this._step(1);
  }

  /** Show the thumbnail at once, and the original as soon as it is loaded, if the service has it. */
  _showPicture() {
    const { id, width, height } = this._item;
    const image = el("img", { alt: t("photo_alt", { name: nameOf(this._item) }), src: thumbnailUrl(id, this._item.indexed_at) });
    image.addEventListener("error", () =>
      image.replaceWith(el("span.missing", {}, icon("gallery"), t("no_thumbnail"))),
    );
    if (width && height) this._picture.style.setProperty("--ratio", width / height);
    this._picture.replaceChildren(image);
    if (!this._config.originals) return;
    const large = el("img.original", { alt: "", src: originalUrl(id) });
    large.addEventListener("load", () => {
      if (this._item.id === id) image.src = large.src;
    });
    large.addEventListener("error", async () => {
      // of a format that browsers do not show, or it is not there
      const isThere = (await fetch(large.src, { method: "HEAD" }).catch(() => ({ ok: false }))).ok;
      if (!isThere && this._item.id === id) this._withoutOriginal();
    });
  }

  _withoutOriginal() {
    this._actions.querySelector("a").href = thumbnailUrl(this._item.id);
    if (!this._details.querySelector(".hint")) this._details.append(el("p.hint", {}, t("no_original")));
  }

  _showQuery(query) {
    this._query.hidden = query === null;
    this.element.classList.toggle("beside", query !== null);
    const { strength, score } = this._item;
    this._hitCaption.textContent =
      query === null ? "" : strength ? t(`strength_${strength}_long`) : t("score", { n: score });
    if (query === null) {
      this._query.replaceChildren();
      return;
    }
    const image = el("img", { alt: query.alt, src: query.src }),
      frame = el("span.part", { hidden: true });
    image.addEventListener("load", () => {
      image.parentElement.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
      frame.hidden = query.crop === null;
      if (query.crop) placeRegion(frame, query.crop, image.naturalWidth, image.naturalHeight);
    });
    this._query.replaceChildren(el("div.picture", {}, image, frame), el("figcaption", {}, t("your_photograph")));
  }

  _showActions() {
    const { id } = this._item;
    const source = this._config.originals ? originalUrl(id, { download: 1 }) : thumbnailUrl(id);
    const download = el(
      "a.button",
      { href: source, download: nameOf(this._item) },
      icon("download"),
      el("span.label", {}, t("download")),
    );
    this._actions.replaceChildren(
      button("similar", t("more_like_this"), () => this._app.moreLike(id)),
      download,
      button("edit", t("edit"), () => this._edit()),
      button("remove", t("delete"), () => this._delete(), { kind: "delete" }),
    );
  }

  _delete() {
    if (!this._config.indexer) {
      this._explain();
      return;
    }
    this._app.closePhoto();
    deleteLater([this._item.id]);
  }

  /** Show why nothing can be changed here. */
  _explain() {
    this._showDetails();
    this._details.prepend(notice(t("error_no_indexer"), { tone: "plain" }));
  }

  _showDetails() {
    const { id, payload, width, height, indexed_at: indexedAt } = this._item;
    const rest = Object.keys(payload).filter((key) => !FIRST_KEYS.includes(key) && key !== "file_name");
    const rows = [
      ...FIRST_KEYS.filter((key) => payload[key] !== undefined && payload[key] !== null && payload[key] !== ""),
      ...rest,
    ].map((key) => [keyName(key), shown(key, payload[key])]);
    if (width)
      rows.push([t("size"), t("pixels", { width: t("number", { n: width }), height: t("number", { n: height }) })]);
    if (indexedAt) rows.push([t("added_on"), dateTimeOf(indexedAt)]);
    rows.push([t("id"), id]);
    const list = el(
      "dl",
      {},
      rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
    );
    this._details.replaceChildren(el("h3", {}, t("details")), list);
    if (!this._config.originals) this._details.append(el("p.hint", {}, t("no_original")));
  }

  // --- editing the details

  _edit() {
    if (!this._config.indexer) {
      this._explain();
      return;
    }
    const fields = el(
      "div.edit-fields",
      {},
      Object.entries(this._item.payload).map(([key, value]) => field(key, value)),
    );
    const more = button("add", t("add_detail"), () => {
      fields.append(newField());
      fields.lastElementChild.querySelector("input").focus();
    });
    const message = el("div");
    const form = el(
      "form.edit-form",
      {},
      el("h3", {}, t("edit")),
      message,
      fields,
      more,
      el(
        "div.actions",
        {},
        el("button.primary", {}, t("save")),
        button(null, t("cancel"), () => this._showDetails()),
      ),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this._save(fields, message);
    });
    this._details.replaceChildren(form);
    this._details.scrollIntoView({ block: "start" });
    (form.querySelector("input") ?? more).focus({ preventScroll: true });
  }

  async _save(fields, message) {
    const changes = {};
    try {
      for (const line of fields.children) Object.assign(changes, line.read(this._item.payload));
    } catch (error) {
      message.replaceChildren(notice(error.message));
      return;
    }
    try {
      const changed = Object.keys(changes).length ? await changePayload(this._item.id, changes) : this._item;
      this._item.payload = changed.payload;
      this._showDetails();
      announce(t("saved"));
      this._app.edited(this._item);
    } catch (error) {
      message.replaceChildren(failure(error, { name: nameOf(this._item), retry: () => this._save(fields, message) }));
    }
  }
}

const reports = () => document.querySelectorAll("#notes, #announcements");

function shown(key, value) {
  if (key === "taken_at" && typeof value === "string") return dateTimeOf(value, { offset: true });
  if (key === "location" && typeof value?.lat === "number") return `${value.lat.toFixed(4)}, ${value.lon.toFixed(4)}`;
  return typeof value === "string" ? value : stringify(value);
}
