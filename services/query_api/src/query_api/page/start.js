// The start: an invitation to search, or to add photographs, and the latest ones.

import { listImages } from "./api.js";
import { isDeleted } from "./deletions.js";
import { button, el, filePicker, icon } from "./dom.js";
import { chosenPhotographs } from "./dropped_files.js";
import { tile } from "./hit_grid.js";
import { failure, kindOf, notice } from "./messages.js";
import { t } from "./texts.js";

const RECENT = 24;

export class Start {
  /**
   * @param app Has the page's `config`, `moreLike` an image, and `add` files.
   * @param take Called with a file to search with.
   */
  constructor(app, take) {
    this._app = app;
    this._take = take;
    this.element = this._build();
  }

  _build() {
    const choose = (files) => this._take(files[0]);
    this._recent = el("ul.grid");
    this._recentTitle = el("h2", { hidden: true }, t("recent"));
    this._invitation = el(
      "div.hero",
      {},
      el("h2.title", {}, t("search_title")),
      el("p.lead", {}, t("search_lead")),
      el(
        "div.drop-card",
        {},
        el("span.drop-mark", {}, icon("search")),
        el("p.wide-only", {}, t("drop_here")),
        el(
          "div.actions",
          {},
          filePicker("file", t("choose_photograph"), choose, { kind: "primary", accept: "image/*", id: "file" }),
          filePicker("camera", t("take_photograph"), choose, {
            accept: "image/*",
            capture: "environment",
            id: "camera",
          }),
        ),
      ),
    );
    this._startMessage = el("div");
    return el("div.start", {}, this._invitation, this._startMessage, this._recentTitle, this._recent);
  }

  /** Show the latest photographs; returns whether there are any. */
  async show() {
    const turn = (this._turn = {});
    try {
      const config = await this._app.config();
      const limit = Math.min(RECENT, config.max_limit);
      const { images, total } = await listImages({ limit, order: "newest" });
      if (turn !== this._turn) return false;
      const shown = images.filter(({ id }) => !isDeleted(id));
      this._recentTitle.hidden = shown.length === 0;
      this._recent.replaceChildren(
        ...shown.map((image) =>
          tile(image, config, { onOpen: () => this._app.moreLike(image.id), label: t("similar") }),
        ),
      );
      this._showEmpty(total === 0 ? config : null);
      return total > 0;
    } catch (error) {
      if (turn !== this._turn) return false;
      this._recentTitle.hidden = true;
      this._recent.replaceChildren();
      if (kindOf(error) === "empty") this._showEmpty(await this._app.config().catch(() => ({})));
      else this._startMessage.replaceChildren(failure(error, { retry: () => this.show() }));
      return false;
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
    this._startMessage.replaceChildren(
      el(
        "div.hero.empty",
        {},
        el("h2.title", {}, t("welcome_title")),
        el("p.lead", {}, t("welcome_lead")),
        el(
          "div.drop-card",
          {},
          el("span.drop-mark", {}, icon("folder")),
          el("p", {}, t(config.indexer ? "empty_begin" : "empty_begin_terminal")),
          config.indexer &&
            el(
              "div.actions",
              {},
              filePicker("folder", t("add_folder"), choose, { kind: "primary", webkitdirectory: true }),
              filePicker("file", t("add_files"), choose, { accept: "image/*", multiple: true }),
            ),
        ),
      ),
    );
  }
}

/** A message that the gallery is empty, with the next step. */
export function emptyGallery(config, app) {
  const add = button("folder", t("add_photographs"), () => app.go({ view: "add" }), { kind: "primary" });
  return notice(t("empty_gallery"), {
    tone: "plain",
    detail: t(config.indexer ? "empty_begin" : "empty_begin_terminal"),
    actions: config.indexer ? [add] : [],
  });
}
