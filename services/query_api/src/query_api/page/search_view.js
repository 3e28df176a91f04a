// Searching: the photograph beside the hits.

import {
  listImages, originalUrl, searchByEmbedding, searchByPhotograph, searchSimilar, thumbnailUrl,
} from "./api.js";
import { chosenPhotographs } from "./dropped_files.js";
import { deletions, isDeleted } from "./deletions.js";
import { button, el, filePicker, icon, setVars } from "./dom.js";
import { stringify } from "./exact_json.js";
import { FilterChips, toFilter } from "./filter_chips.js";
import { hitCaption, tile } from "./hit_grid.js";
import { announce, failure, kindOf, notice } from "./messages.js";
import { RegionBox } from "./region_box.js";
import { keepPhotograph, read } from "./store.js";
import { t } from "./texts.js";

export const FIRST_HITS = 48;
const RECENT = 24;
const DEVICE = "aff_on_this_device";
const PLACEHOLDERS = [1.33, 0.75, 1.5, 1, 1.33, 0.66, 1.5, 1.33, 0.75, 1.4, 1, 1.33];
const RETRIES = 3;
const CHIPS_MS = 400; // hits wait this long for the chips above them

export class SearchView {
  /** @param app Has the page's `state` and `config`, `go` to another state, `show` an image, and `add` files. */
  constructor(app) {
    this._app = app;
    this._photographs = new Map(); // files by the keys in the history
    this._turn = 0; // number of the search whose hits may be shown
    this._encoder = null;
    this._hits = [];
    this.chips = new FilterChips((choice) => app.go({ ...choice, limit: FIRST_HITS }, { replace: true }), { withGroups: true });
    this.element = el("section.view.search", { "aria-labelledby": "search-title" },
      el("h1.hidden-visually", { id: "search-title" }, t("search")), this._start(), this._panel(), this._found());
    deletions.addEventListener("change", () => this._render());
  }

  /** Search with a file. */
  take(file) {
    const key = Date.now() + Math.random();
    this._photographs.set(key, file);
    keepPhotograph(key, file);
    this._app.go({ view: "search", query: { photo: key, name: file.name }, crop: null, open: null, limit: FIRST_HITS });
  }

  /** The hits, for the large view. */
  items() { return this._hits.filter(({ id }) => !isDeleted(id)); }

  /** The query for the large view: its picture and region. */
  shownQuery() {
    if (!this._app.state.query) return null;
    return { src: this._image.currentSrc || this._image.src, crop: this._region.value, alt: this._image.alt };
  }

  async show(state, before) {
    const empty = state.query === null;
    this.element.dataset.state = empty ? "start" : "results";
    if (empty) {
      this._turn++;
      this._shownQuery = null;
      this._hits = [];
      await this._showRecent();
      return;
    }
    const fresh = before?.view !== "search" || stringify(before.query) !== stringify(state.query);
    if (fresh) this._panelOpen(false);
    this.chips.show(state);
    if (fresh) {
      if (stringify(this._shownQuery ?? null) !== stringify(state.query)) this._skeleton();
      if (!(await this._showQuery(state))) return;
    } else {
      this._showRegion(state.crop);
    }
    await this._run(state);
  }

  /** Facets and hits may have changed: images were indexed, edited or deleted. */
  changed() { this._chipsLoaded = null; }

  // --- the start: an invitation, and the latest photographs

  _start() {
    const choose = (files) => this.take(files[0]);
    this._recent = el("ul.grid");
    this._recentTitle = el("h2", { hidden: true }, t("recent"));
    this._invitation = el("div.hero", {},
      el("h2.title", {}, t("search_title")),
      el("p.lead", {}, t("search_lead")),
      el("div.drop-card", {}, el("span.drop-mark", {}, icon("search")), el("p.wide-only", {}, t("drop_here")),
        el("div.actions", {},
          filePicker("file", t("choose_photograph"), choose, { kind: "primary", accept: "image/*", id: "file" }),
          filePicker("camera", t("take_photograph"), choose, { accept: "image/*", capture: "environment", id: "camera" }))));
    this._startMessage = el("div");
    return el("div.start", {}, this._invitation, this._startMessage, this._recentTitle, this._recent);
  }

  async _showRecent() {
    const turn = this._turn;
    try {
      const [config, { images, total }] = await Promise.all([
        this._app.config(), listImages({ limit: RECENT, order: "newest" }),
      ]);
      if (turn !== this._turn) return;
      const shown = images.filter(({ id }) => !isDeleted(id));
      if (total > 0) this._loadChips(this._app.state);
      this._recentTitle.hidden = shown.length === 0;
      this._recent.replaceChildren(...shown.map((image) => tile(image, config, {
        onOpen: () => this._app.go({ query: { similar: image.id }, crop: null, limit: FIRST_HITS }), label: t("similar"),
      })));
      this._showEmpty(total === 0 ? config : null);
    } catch (error) {
      if (turn !== this._turn) return;
      this._recentTitle.hidden = true;
      this._recent.replaceChildren();
      if (kindOf(error) === "empty") this._showEmpty(await this._app.config().catch(() => ({})));
      else this._startMessage.replaceChildren(failure(error, { retry: () => this._showRecent() }));
    }
  }

  /** Invite to add photographs instead of searching, or, with null, to search. */
  _showEmpty(config) {
    this._invitation.hidden = config !== null;
    if (config === null) {
      this._startMessage.replaceChildren();
      return;
    }
    const choose = (files) => this._app.add(chosenPhotographs(files));
    this._startMessage.replaceChildren(el("div.hero.empty", {},
      el("h2.title", {}, t("welcome_title")), el("p.lead", {}, t("welcome_lead")),
      el("div.drop-card", {}, el("span.drop-mark", {}, icon("folder")),
        el("p", {}, t(config.indexer ? "empty_begin" : "empty_begin_terminal")),
        config.indexer && el("div.actions", {},
          filePicker("folder", t("add_folder"), choose, { kind: "primary", webkitdirectory: true }),
          filePicker("file", t("add_files"), choose, { accept: "image/*", multiple: true })))));
  }

  _emptyGallery(config) {
    const add = button("folder", t("add_photographs"), () => this._app.go({ view: "add" }), { kind: "primary" });
    return notice(t("empty_gallery"), {
      tone: "plain", detail: t(config.indexer ? "empty_begin" : "empty_begin_terminal"), actions: config.indexer ? [add] : [],
    });
  }

  // --- the panel: the photograph, its region, and the device switch

  _panel() {
    this._image = el("img", { alt: t("your_photograph") });
    this._stage = el("div.stage", {}, this._image, icon("gallery"));
    this._region = new RegionBox(this._image, (crop) => this._app.go({ crop, limit: FIRST_HITS }, { replace: true }));
    this._region.isEditable = () => this._mayHaveRegion && !this._isFolded();
    this._stage.addEventListener("click", () => { if (this._isFolded()) this._panelOpen(true); });
    this._queryName = el("p.query-name");
    this._hint = el("p.hint", { id: "region-help" }, t("region_hint"));
    this._part = button("crop", t("select_part"), () => { this._panelOpen(true); this._region.begin(); });
    this._whole = button("whole", t("whole_photograph"), () => this._app.go({ crop: null }, { replace: true }));
    this._fold = button("check", t("done"), () => this._panelOpen(false), { kind: "fold" });
    const other = button("close", t("new_search"), () => this._app.go({ query: null, crop: null, filters: [], per: null }), { bare: true });
    return el("aside.panel", { "aria-label": t("your_photograph") }, this._stage,
      el("div.panel-side", {}, this._queryName, this._hint, el("div.actions", {}, this._part, this._whole, this._fold), this._deviceSwitch()), other);
  }

  _deviceSwitch() {
    this._device = el("input", { type: "checkbox", role: "switch", id: "device", checked: localStorage.getItem(DEVICE) === "yes" });
    this._device.addEventListener("change", () => {
      localStorage.setItem(DEVICE, this._device.checked ? "yes" : "no");
      this._run(this._app.state);
    });
    const line = el("label.switch", { hidden: true }, this._device,
      el("span", {}, el("strong", {}, t("on_this_device")), el("small", {}, t("on_this_device_why"))));
    import("./device_encoder.js").then(async ({ runtimeIsThere }) => { line.hidden = !(await runtimeIsThere()); });
    return line;
  }

  /** Whether the panel is the strip of a small screen. */
  _isFolded() {
    const folds = getComputedStyle(this._fold).getPropertyValue("--folds").trim() === "yes";
    return folds && !this._stage.parentElement.classList.contains("opened");
  }

  _panelOpen(open) { this._stage.parentElement.classList.toggle("opened", open); }

  /** Show the buttons that are of use for the photograph and its region. */
  _showRegion(crop) {
    this._region.value = crop;
    const may = this._mayHaveRegion && !this._stage.classList.contains("unreadable");
    this._hint.hidden = !may;
    this._part.hidden = !may || crop !== null;
    this._whole.hidden = !may || crop === null;
  }

  _showReadable(readable) {
    this._stage.parentElement.classList.remove("loading");
    this._stage.classList.toggle("unreadable", !readable);
    if (readable) setVars(this._stage, { ratio: this._image.naturalWidth / this._image.naturalHeight });
    this._showRegion(readable ? this._app.state.crop : null);
  }

  async _showQuery(state) {
    const { query } = state;
    this._mayHaveRegion = query.photo !== undefined;
    this._device.closest("label").classList.toggle("unused", !this._mayHaveRegion);
    this._showRegion(null);
    this._stage.parentElement.classList.add("loading"); // until the photograph's proportions are known
    this._queryName.textContent = query.name ?? query.similar;
    this._queryName.title = query.name ?? query.similar;
    if (!this._mayHaveRegion) return this._showSimilar(query, state);
    const file = this._photographs.get(query.photo) ?? (await read("photographs", query.photo).catch(() => null));
    if (!file) { // from an earlier visit
      this._app.go({ query: null, crop: null, open: null }, { replace: true });
      return false;
    }
    this._photographs.set(query.photo, file);
    this._shownQuery = query;
    if (this._shownUrl) URL.revokeObjectURL(this._shownUrl);
    this._shownUrl = URL.createObjectURL(file);
    this._image.onload = () => this._showReadable(true);
    this._image.onerror = () => this._showReadable(false);
    this._image.src = this._shownUrl;
    return true;
  }

  async _showSimilar(query, state) {
    this._shownQuery = query;
    this._image.onload = () => this._showReadable(true);
    this._image.onerror = () => {
      if (this._image.src.includes("/originals")) this._image.src = thumbnailUrl(query.similar);
      else this._showReadable(false);
    };
    const config = await this._app.config().catch(() => ({}));
    if (this._app.state.query !== state.query) return false;
    this._image.src = (config.originals ? originalUrl : thumbnailUrl)(query.similar);
    return true;
  }

  // --- the hits

  _found() {
    this._status = el("h2.status", { tabIndex: -1, id: "results" });
    this._message = el("div.message");
    this._list = el("ol.grid.hits");
    this._weakList = el("ol.grid.hits");
    this._weakTitle = el("span");
    this._weak = el("details.less", { hidden: true }, el("summary", {}, icon("next"), this._weakTitle), this._weakList);
    this._more = button("down", t("show_more"), () => this._app.go({ limit: this._app.state.limit * 2 }, { replace: true }), { hidden: true, kind: "more" });
    return el("div.found", {}, el("div.found-head", {}, this._status, this.chips.element), this._message, this._list, this._weak, this._more);
  }

  _skeleton() {
    this._hits = [];
    this._list.replaceChildren(...PLACEHOLDERS.map((ratio) => el("li.tile.placeholder", { vars: { ratio }, "aria-hidden": "true" }, el("span.open"), el("p.caption"))));
    this._message.replaceChildren();
    this._weak.hidden = this._more.hidden = true;
  }

  async _run(state, attempt = 0) {
    const mine = ++this._turn;
    clearTimeout(this._again);
    this._message.replaceChildren();
    this._showStatus(t("searching"));
    this.element.setAttribute("aria-busy", "true");
    try {
      this._config = await this._app.config();
      const [{ hits }] = await Promise.all([this._search(state, mine), Promise.race([this._loadChips(state), delay(CHIPS_MS)])]);
      if (mine !== this._turn) return;
      this._hits = hits;
      this._message.replaceChildren();
      this._render();
      announce(this._status.textContent);
      this._app.shown();
    } catch (error) {
      if (mine === this._turn) this._fail(error, state, attempt);
    } finally {
      if (mine === this._turn) this.element.removeAttribute("aria-busy");
    }
  }

  /** Load the chips once, before hits are shown, so that these stay where they are. */
  _loadChips(state) {
    this._chipsLoaded ??= this.chips.load(state).then((done) => { if (!done) this._chipsLoaded = null; });
    return this._chipsLoaded;
  }

  async _search(state, mine) {
    const options = { limit: state.limit, group_by: state.per, filter: toFilter(state.filters) };
    if (state.query.similar !== undefined) return searchSimilar(state.query.similar, options);
    const file = this._photographs.get(state.query.photo);
    if (!this._device.checked) return searchByPhotograph(file, { ...options, crop: state.crop?.join(",") });
    const encoder = await this._loadEncoder(mine);
    const embedding = await encoder.embed(file, state.crop);
    try {
      return await searchByEmbedding(stringify({ embedding: base64(embedding), fingerprint: encoder.fingerprint, ...options }));
    } catch (error) {
      this._encoder = null; // the service's encoder may have changed
      throw error;
    }
  }

  async _loadEncoder(mine) {
    if (this._encoder === null) {
      const { loadDeviceEncoder } = await import("./device_encoder.js");
      this._encoder = loadDeviceEncoder((size) => {
        if (mine === this._turn) this._status.textContent = t("loading_encoder", { size: t("megabytes", { n: size / 1e6 }) });
      });
      this._encoder.catch(() => { this._encoder = null; });
    }
    return this._encoder;
  }

  _render() {
    if (!this._config || this._app.state.query === null) return;
    const hits = this.items();
    const weak = hits.filter(({ strength }) => strength === "weak"), strong = hits.filter(({ strength }) => strength !== "weak");
    this._fill(this._list, strong);
    this._fill(this._weakList, weak);
    this._weak.hidden = weak.length === 0;
    this._weak.open = strong.length === 0 || this._weak.open;
    this._weakTitle.textContent = t("less_alike", { n: weak.length });
    this._more.hidden = this._hits.length < this._app.state.limit || this._app.state.limit * 2 > this._config.max_limit;
    this._showStatus(hits.length > 0 && strong.length === 0 ? t("found_weak") : hits.length > 0 ? summary(hits, strong) : "");
    if (hits.length === 0) this._nothing();
  }

  _showStatus(text) {
    this._status.textContent = text;
    this._status.hidden = text === "";
  }

  /** Show hits in a list; tiles that are there already stay. */
  _fill(list, hits) {
    const there = new Map([...list.children].map((element) => [element.dataset.key, element]));
    list.replaceChildren(...hits.map((hit) => {
      const key = `${hit.id} ${hit.score} ${hit.strength}`;
      const element = there.get(key) ?? tile(hit, this._config, {
        onOpen: (from) => this._app.show(hit.id, from), caption: hitCaption(hit),
        label: hit.strength ? t(`strength_${hit.strength}`) : t("score", { n: hit.score }),
      });
      element.dataset.key = key;
      return element;
    }));
  }

  async _nothing() {
    const { filters, per } = this._app.state;
    const clear = button("close", t("clear_filters"), () => this._app.go({ filters: [], per: null }, { replace: true }));
    if (filters.length || per) this._message.replaceChildren(notice(t("nothing_filtered"), { tone: "plain", actions: [clear] }));
    else this._message.replaceChildren(this._emptyGallery(this._config));
  }

  _fail(error, state, attempt) {
    this._hits = [];
    this._list.replaceChildren();
    this._weak.hidden = this._more.hidden = true;
    this._showStatus("");
    const kind = kindOf(error), retry = () => this._run(state);
    if (kind === "empty") {
      this._message.replaceChildren(this._emptyGallery(this._config ?? {}));
      return;
    }
    const other = filePicker("file", t("choose_another"), (files) => this.take(files[0]), { accept: "image/*" });
    const again = button("search", t("new_search"), () => this._app.go({ query: null, crop: null, filters: [], per: null }));
    const actions = ["unreadable", "too_large", "unsupported_here"].includes(kind) ? [other] : kind === "gone" ? [again] : [];
    const name = state.query.name ?? state.query.similar;
    this._message.replaceChildren(failure(error, { name, retry, actions }));
    if (kind === "busy" && attempt < RETRIES) {
      this._again = setTimeout(() => this._run(state, attempt + 1), (error.retryAfter ?? 1) * 1000);
    }
  }
}

const delay = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

function summary(hits, strong) {
  const found = t("found", { n: hits.length });
  const same = strong.filter(({ strength }) => strength === "same").length;
  return same > 0 ? `${found}, ${t("found_same", { n: same })}` : found;
}

const base64 = (numbers) =>
  btoa(String.fromCharCode(...new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength)));
