// Searching: the photograph next to the hits.

import { searchByEmbedding, searchByPhotograph, searchSimilar } from "./api.js";
import { deletions, isDeleted } from "./deletions.js";
import { button, el, filePicker, icon } from "./dom.js";
import { stringify } from "./exact_json.js";
import { FilterChips, toFilter } from "./filter_chips.js";
import { hitCaption, tile } from "./hit_grid.js";
import { announce, failure, kindOf, notice } from "./messages.js";
import { QueryPanel } from "./query_panel.js";
import { emptyGallery, Start } from "./start.js";
import { t } from "./texts.js";

export const FIRST_HITS = 48;
const NO_QUERY = { query: null, crop: null, filters: [], per: null, open: null };
const PLACEHOLDERS = [1.33, 0.75, 1.5, 1, 1.33, 0.66, 1.5, 1.33, 0.75, 1.4, 1, 1.33];
const RETRIES = 3;
const FEW_HITS = 4; // with fewer strong hits, the weak ones are shown too
const CHIPS_MS = 400; // hits wait this long for the chips above them

export class SearchView {
  /** @param app Has the page's `state` and `config`, `go` to another state, `show` an image, and `add` files. */
  constructor(app) {
    this._app = app;
    this._turn = 0; // number of the search whose hits may be shown
    this._hits = [];
    this.chips = new FilterChips((choice) => app.go({ ...choice, limit: FIRST_HITS }, { replace: true }), {
      withGroups: true,
    });
    this._start = new Start(app, (file) => this.take(file));
    this._panel = new QueryPanel(app, {
      onRegion: (crop) => app.go({ crop, limit: FIRST_HITS }, { replace: true }),
      onDevice: () => this._run(app.state),
      onEnd: () => app.go(NO_QUERY),
    });
    this.element = el(
      "section.view.search",
      { "aria-labelledby": "search-title" },
      el("h1.hidden-visually", { id: "search-title" }, t("search")),
      this._start.element,
      this._panel.element,
      this._found(),
    );
    deletions.addEventListener("change", () => this._render());
  }

  /** Search with a file. */
  take(file) {
    const query = this._panel.take(file);
    this._app.go({ view: "search", query, crop: null, open: null, limit: FIRST_HITS });
  }

  /** The hits, for the large view. */
  items() {
    return this._hits.filter(({ id }) => !isDeleted(id));
  }

  /** The query for the large view: its picture and region. */
  shownQuery() {
    return this._app.state.query ? this._panel.shown : null;
  }

  async show(state, before) {
    clearTimeout(this._again);
    const empty = state.query === null;
    this.element.dataset.state = empty ? "start" : "results";
    if (empty) {
      this._turn++;
      this._shownQuery = null;
      this._hits = [];
      if (await this._start.show()) this._loadChips(state);
      return;
    }
    this.chips.show(state);
    if (before?.view !== "search" || stringify(before.query) !== stringify(state.query)) {
      this._panel.open(false);
      if (stringify(this._shownQuery ?? null) !== stringify(state.query)) this._skeleton();
      this._shownQuery = state.query;
      if (!(await this._panel.show(state.query))) {
        this._app.go(NO_QUERY, { replace: true });
        return;
      }
      if (stringify(this._app.state.query) !== stringify(state.query)) return; // another search began meanwhile
    } else {
      this._panel.showRegion(state.crop);
    }
    await this._run(state);
  }

  /** Facets and hits may have changed: images were indexed, edited or deleted. */
  changed() {
    this._chipsLoaded = null;
  }

  _found() {
    this._status = el("h2.status", { tabIndex: -1, id: "results" });
    this._message = el("div.message");
    this._list = el("ol.grid.hits");
    this._weakList = el("ol.grid.hits");
    this._weakTitle = el("span");
    this._weak = el("details.less", { hidden: true }, el("summary", {}, icon("next"), this._weakTitle), this._weakList);
    this._more = button(
      "down",
      t("show_more"),
      () => this._app.go({ limit: this._app.state.limit * 2 }, { replace: true }),
      { hidden: true, kind: "more" },
    );
    return el(
      "div.found",
      {},
      el("div.found-head", {}, this._status, this.chips.element),
      this._message,
      this._list,
      this._weak,
      this._more,
    );
  }

  _skeleton() {
    this._hits = [];
    this._list.replaceChildren(
      ...PLACEHOLDERS.map((ratio) =>
        el("li.tile.placeholder", { vars: { ratio }, "aria-hidden": "true" }, el("span.open"), el("p.caption")),
      ),
    );
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
      const [{ hits }] = await Promise.all([
        this._search(state, mine),
        Promise.race([this._loadChips(state), delay(CHIPS_MS)]),
      ]);
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
    this._chipsLoaded ??= this.chips.load(state).then((done) => {
      if (!done) this._chipsLoaded = null;
    });
    return this._chipsLoaded;
  }

  async _search(state, mine) {
    const limit = Math.min(state.limit, this._config.max_limit);
    const options = { limit, group_by: state.per, filter: toFilter(state.filters) };
    if (state.query.similar !== undefined) return searchSimilar(state.query.similar, options);
    if (!this._panel.onDevice) {
      return searchByPhotograph(this._panel.file(state.query), { ...options, crop: state.crop?.join(",") });
    }
    const { embedding, fingerprint } = await this._panel.embed(state, (size) => {
      if (mine === this._turn) this._showStatus(t("loading_encoder", { size: t("megabytes", { n: size / 1e6 }) }));
    });
    try {
      return await searchByEmbedding(stringify({ embedding: base64(embedding), fingerprint, ...options }));
    } catch (error) {
      this._panel.forgetEncoder();
      throw error;
    }
  }

  _render() {
    if (!this._config || this._app.state.query === null) return;
    const hits = this.items();
    const weak = hits.filter(({ strength }) => strength === "weak"),
      strong = hits.filter(({ strength }) => strength !== "weak");
    this._fill(this._list, strong);
    this._fill(this._weakList, weak);
    this._weak.hidden = weak.length === 0;
    this._weak.open = strong.length < FEW_HITS || this._weak.open;
    this._weakTitle.textContent = t("less_alike", { n: weak.length });
    this._more.hidden = this._hits.length < this._app.state.limit || this._app.state.limit * 2 > this._config.max_limit;
    this._showStatus(
      hits.length > 0 && strong.length === 0 ? t("found_weak") : hits.length > 0 ? summary(hits, strong) : "",
    );
    if (hits.length === 0) this._nothing();
  }

  _showStatus(text) {
    this._status.textContent = text;
    this._status.hidden = text === "";
  }

  /** Show hits in a list; tiles that are there already stay. */
  _fill(list, hits) {
    const there = new Map([...list.children].map((element) => [element.dataset.key, element]));
    list.replaceChildren(
      ...hits.map((hit) => {
        const key = `${hit.id} ${hit.score} ${hit.strength}`;
        const element =
          there.get(key) ??
          tile(hit, this._config, {
            onOpen: (from) => this._app.show(hit.id, from),
            caption: hitCaption(hit),
            label: hit.strength ? t(`strength_${hit.strength}`) : t("score", { n: hit.score }),
          });
        element.dataset.key = key;
        return element;
      }),
    );
  }

  async _nothing() {
    const { filters, per } = this._app.state;
    const clear = button("close", t("clear_filters"), () =>
      this._app.go({ filters: [], per: null }, { replace: true }),
    );
    if (filters.length || per)
      this._message.replaceChildren(notice(t("nothing_filtered"), { tone: "plain", actions: [clear] }));
    else this._message.replaceChildren(emptyGallery(this._config, this._app));
  }

  _fail(error, state, attempt) {
    this._hits = [];
    this._list.replaceChildren();
    this._weak.hidden = this._more.hidden = true;
    this._showStatus("");
    const kind = kindOf(error),
      retry = () => this._run(state);
    if (kind === "empty") {
      this._message.replaceChildren(emptyGallery(this._config ?? {}, this._app));
      return;
    }
    const other = filePicker("file", t("choose_another"), (files) => this.take(files[0]), { accept: "image/*" });
    const again = button("search", t("new_search"), () => this._app.go(NO_QUERY));
    const actions = ["unreadable", "too_large", "unsupported_here"].includes(kind)
      ? [other]
      : kind === "gone"
        ? [again]
        : [];
    const name = state.query.name ?? state.query.similar;
    this._message.replaceChildren(failure(error, { name, retry, actions }));
    if (kind === "busy" && attempt < RETRIES) {
      this._again = setTimeout(() => this._run(state, attempt + 1), (error.retryAfter ?? 1) * 1000);
    }
  }
}

const delay = (ms) =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

function summary(hits, strong) {
  const found = t("found", { n: hits.length });
  const same = strong.filter(({ strength }) => strength === "same").length;
  return same > 0 ? `${found}, ${t("found_same", { n: same })}` : found;
}

const base64 = (numbers) =>
  btoa(String.fromCharCode(...new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength)));
