// The page: its views, the history, and what happens anywhere (drop, paste, shared photographs).

import { findImage, pageConfig } from "./api.js";
import { AddView } from "./add_view.js";
import { finishDeletions, keep } from "./deletions.js";
import { el, icon, transition } from "./dom.js";
import { droppedPhotographs, singleFile } from "./dropped_files.js";
import { stringify } from "./exact_json.js";
import { GalleryView } from "./gallery_view.js";
import { Lightbox } from "./lightbox.js";
import { note, sentence } from "./messages.js";
import { FIRST_HITS, SearchView } from "./search_view.js";
import { read } from "./store.js";
import { language, t } from "./texts.js";
import { idsOf, UploadQueue } from "./upload_queue.js";

const VIEWS = ["search", "gallery", "add"];
const START = { view: "search", query: null, crop: null, filters: [], per: null, limit: FIRST_HITS, open: null };

class App {
  constructor() {
    this.state = START;
    this.queue = new UploadQueue();
    this._opened = 0; // history entries since a photograph was opened
    this._views = { search: new SearchView(this), gallery: new GalleryView(this), add: new AddView(this) };
    this._lightbox = new Lightbox(this);
  }

  config() {
    return pageConfig();
  }

  get _view() {
    return this._views[this.state.view];
  }

  start() {
    document.documentElement.lang = language;
    document.title = t("title");
    document.getElementById("skip").textContent = t("skip");
    document.getElementById("skip").addEventListener("click", (event) => {
      event.preventDefault();
      this._main.focus();
    });
    this._main = document.querySelector("main");
    this._main.append(...VIEWS.map((name) => this._views[name].element));
    document
      .querySelector("nav")
      .append(...VIEWS.map((name) => el("a", { href: `#${name}`, "data-view": name }, icon(name), t(name))));
    document.querySelector("nav").setAttribute("aria-label", t("views"));
    document.getElementById("notes").setAttribute("aria-label", t("notes"));
    document.querySelector(".brand").append(el("span", {}, t("title")));
    document.body.append(this._lightbox.element);
    document.querySelector("nav").addEventListener("click", (event) => this._navigate(event));
    document.querySelector(".brand").addEventListener("click", (event) => {
      event.preventDefault();
      this.go({ ...START });
    });
    window.addEventListener("popstate", (event) => this._render(event.state ?? this._fromAddress()));
    window.addEventListener("hashchange", () => {
      if (history.state === null) this._restart();
    });
    this._listen();
    const shared = new URLSearchParams(location.search).get("shared");
    this._restart();
    this.queue.restore();
    finishDeletions();
    receiveShared(this._views.search, shared);
  }

  /** Go to another state: `change` is merged into this one. */
  go(change, { replace = false } = {}) {
    const state = { ...this.state, ...change };
    if (replace) history.replaceState(state, "", address(state));
    else history.pushState(state, "", address(state));
    return this._render(state);
  }

  /** Show an image large, from a tile. */
  show(id, from) {
    this._from = from;
    this._opened = 1;
    return this.go({ open: id });
  }

  closePhoto() {
    if (this._opened > 0) history.back();
    else this.go({ open: null }, { replace: true });
  }

  /** Search with an image of the gallery; the way back leads to where it was found. */
  moreLike(id) {
    this._opened = 0;
    return this.go({
      view: "search",
      query: { similar: id },
      crop: null,
      filters: [],
      per: null,
      limit: FIRST_HITS,
      open: null,
    });
  }

  /** Add photographs to the gallery. */
  async add({ photographs, others }) {
    await this.go({ view: "add", open: null });
    if (others > 0) note(t("passed_over", { n: others }));
    keep(photographs.flatMap(({ id }) => idsOf(id)));
    await this.queue.add(photographs);
  }

  /** A view has new items: the photograph of the history may be among them. */
  shown() {
    if (this.state.open && !this._lightbox.isOpen) this._showOpen(this.state);
  }

  /** The gallery has changed. */
  changed() {
    Object.values(this._views).forEach((view) => view.changed?.());
  }

  edited() {
    this.changed();
  }

  async _render(state) {
    const before = this.state;
    this.state = state;
    if (state.view !== this._shownView) {
      this._shownView = state.view;
      await transition(() => this._switch(state.view));
    }
    const content = contentOf(state),
      last = this._last ?? null,
      same = content === this._content;
    if (!state.open || !same) this._closeLightbox(state);
    this._content = content;
    this._last = state;
    if (!same) await this._views[state.view].show(state, last);
    if (state.open && (before.open !== state.open || !this._lightbox.isOpen)) await this._showOpen(state);
  }

  _switch(view) {
    for (const name of VIEWS) this._views[name].element.hidden = name !== view;
    for (const link of document.querySelectorAll("nav a")) {
      if (link.dataset.view === view) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    document.title = view === "search" ? t("title") : `${t(view)} – ${t("title")}`;
    scrollTo(0, 0);
  }

  async _showOpen(state) {
    const view = this._views[state.view],
      items = view.items();
    let item = items.find(({ id }) => id === state.open);
    if (!item && items.length === 0) return; // `shown` calls again when the view has its items
    try {
      item ??= await findImage(state.open);
    } catch (error) {
      note(sentence(error, state.open));
      return;
    }
    if (this.state.open !== state.open) return;
    await this._lightbox.open(item, items, view.shownQuery(), this._from);
  }

  _closeLightbox({ open }) {
    if (!open) this._opened = 0;
    if (!this._lightbox.isOpen) return;
    this._lightbox.close();
    this._from?.querySelector("button")?.focus({ preventScroll: true });
  }

  _navigate(event) {
    const link = event.target.closest("a");
    if (!link) return;
    event.preventDefault();
    const { view } = link.dataset;
    if (view === this.state.view) {
      scrollTo({ top: 0 });
      if (view === "search") this.go({ ...START });
    } else {
      this.go({ view, open: null, filters: [], per: null, ...(view === "search" ? { query: null, crop: null } : {}) });
    }
  }

  _restart() {
    const state = history.state ?? this._fromAddress();
    history.replaceState(state, "", address(state));
    this._render(state);
  }

  _fromAddress() {
    const similar = new URLSearchParams(location.search).get("similar"),
      view = location.hash.slice(1);
    if (similar !== null) return { ...START, query: { similar } };
    return { ...START, view: VIEWS.includes(view) ? view : "search" };
  }

  _listen() {
    const overlay = document.getElementById("drop-overlay");
    let depth = 0;
    const isFiles = (event) => event.dataTransfer?.types.includes("Files");
    document.addEventListener("dragenter", (event) => {
      if (!isFiles(event)) return;
      depth++;
      overlay.textContent = t(this.state.view === "add" ? "drop_to_add" : "drop_to_search");
      overlay.hidden = false;
    });
    document.addEventListener("dragleave", () => {
      depth = Math.max(0, depth - 1);
      overlay.hidden = depth === 0;
    });
    document.addEventListener("dragover", (event) => {
      if (isFiles(event)) event.preventDefault();
    });
    document.addEventListener("drop", (event) => {
      depth = 0;
      overlay.hidden = true;
      if (!isFiles(event)) return;
      event.preventDefault();
      this._takeDrop(event.dataTransfer);
    });
    document.addEventListener("paste", (event) => {
      const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
      if (!file) return;
      event.preventDefault();
      this._views.search.take(file);
    });
  }

  async _takeDrop(transfer) {
    const single = singleFile(transfer);
    if (single && this.state.view !== "add") this._views.search.take(single);
    else await this.add(await droppedPhotographs(transfer));
  }
}

/** What a state shows, but for the large view, as a text to compare. */
const contentOf = ({ view, query, crop, filters, per, limit }) => stringify([view, query, crop, filters, per, limit]);

function address({ view, query }) {
  if (view !== "search") return `${location.pathname}#${view}`;
  return query?.similar === undefined
    ? location.pathname
    : `${location.pathname}?similar=${encodeURIComponent(query.similar)}`;
}

/** Search with a photograph that another app has shared with this page. */
async function receiveShared(search, key) {
  if ("serviceWorker" in navigator) {
    const worker = new URL("sw.js", import.meta.url),
      scope = new URL("..", import.meta.url).pathname;
    navigator.serviceWorker.register(worker, { type: "module", scope }).catch(() => {}); // without it, nothing can be shared
  }
  const file = key === null ? null : await read("photographs", Number(key)).catch(() => null);
  if (file) search.take(file);
}

new App().start();
