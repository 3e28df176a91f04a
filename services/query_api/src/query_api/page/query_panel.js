// The photograph of a search: its region, and the switch for searching on this device.

import { originalUrl, thumbnailUrl } from "./api.js";
import { button, el, icon, setVars } from "./dom.js";
import { RegionBox } from "./region_box.js";
import { keepPhotograph, read } from "./store.js";
import { t } from "./texts.js";

const DEVICE = "aff_on_this_device";

export class QueryPanel {
  /**
   * @param app Has the page's `state` and `config`.
   * @param listeners `onRegion` receives a changed region, `onDevice` is called when the switch has changed, `onEnd`
   *   when the search ends.
   */
  constructor(app, listeners) {
    this._app = app;
    this._photographs = new Map(); // files by the keys in the history
    this._encoder = null;
    this.element = this._build(listeners);
  }

  /** Keep a file to search with; return the query. */
  take(file) {
    const key = Date.now() + Math.random();
    this._photographs.set(key, file);
    keepPhotograph(key, file);
    return { photo: key, name: file.name };
  }

  /** The shown picture and its region. */
  get shown() {
    return { src: this._image.currentSrc || this._image.src, crop: this._region.value, alt: this._image.alt };
  }

  get onDevice() {
    return this._device.checked;
  }

  /** The photograph of a query. */
  file(query) {
    return this._photographs.get(query.photo);
  }

  /**
   * Compute the embedding of a query's photograph on this device.
   *
   * @param onLoad Called with the size of the encoder in bytes before it is downloaded.
   */
  async embed({ query, crop }, onLoad) {
    const encoder = await this._loadEncoder(onLoad);
    return { embedding: await encoder.embed(this.file(query), crop), fingerprint: encoder.fingerprint };
  }

  /** Forget the encoder: the service's may have changed. */
  forgetEncoder() {
    this._encoder = null;
  }

  _build({ onRegion, onDevice, onEnd }) {
    this._image = el("img", { alt: t("your_photograph") });
    this._stage = el("div.stage", {}, this._image, icon("gallery"));
    this._region = new RegionBox(this._image, onRegion);
    this._region.isEditable = () => this._mayHaveRegion && !this._isFolded();
    this._stage.addEventListener("click", () => {
      if (this._isFolded()) this.open(true);
    });
    this._queryName = el("p.query-name");
    this._hint = el("p.hint", { id: "region-help" }, t("region_hint"));
    this._part = button("crop", t("select_part"), () => {
      this.open(true);
      this._region.begin();
    });
    this._whole = button("whole", t("whole_photograph"), () => onRegion(null));
    this._fold = button("check", t("done"), () => this.open(false), { kind: "fold" });
    const other = button("close", t("new_search"), onEnd, { bare: true });
    return el(
      "aside.panel",
      { "aria-label": t("your_photograph") },
      this._stage,
      el(
        "div.panel-side",
        {},
        this._queryName,
        this._hint,
        el("div.actions", {}, this._part, this._whole, this._fold),
        this._deviceSwitch(onDevice),
      ),
      other,
    );
  }

  _deviceSwitch(onDevice) {
    this._device = el("input", {
      type: "checkbox",
      role: "switch",
      id: "device",
      checked: localStorage.getItem(DEVICE) === "yes",
    });
    this._device.addEventListener("change", () => {
      localStorage.setItem(DEVICE, this._device.checked ? "yes" : "no");
      onDevice();
    });
    const line = el(
      "label.switch",
      { hidden: true },
      this._device,
      el("span", {}, el("strong", {}, t("on_this_device")), el("small", {}, t("on_this_device_why"))),
    );
    import("./device_encoder.js").then(async ({ runtimeIsThere }) => {
      line.hidden = !(await runtimeIsThere());
    });
    return line;
  }

  /** Whether the panel is the strip of a small screen. */
  _isFolded() {
    const folds = getComputedStyle(this._fold).getPropertyValue("--folds").trim() === "yes";
    return folds && !this._stage.parentElement.classList.contains("opened");
  }

  /** Open or fold the strip of a small screen. */
  open(open) {
    this._stage.parentElement.classList.toggle("opened", open);
  }

  /** Show the region, and the buttons that are of use for it. */
  showRegion(crop) {
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
    this.showRegion(readable ? this._app.state.crop : null);
  }

  /** Show the photograph of a query; return whether it is there. */
  async show(query) {
    this._mayHaveRegion = query.photo !== undefined;
    this._device.closest("label").classList.toggle("unused", !this._mayHaveRegion);
    this.showRegion(null);
    this._stage.parentElement.classList.add("loading"); // until the photograph's proportions are known
    this._queryName.textContent = query.name ?? query.similar;
    this._queryName.title = query.name ?? query.similar;
    if (!this._mayHaveRegion) {
      this._showSimilar(query);
      return true;
    }
    const file = this._photographs.get(query.photo) ?? (await read("photographs", query.photo).catch(() => null));
    if (this._app.state.query?.photo !== query.photo) return true; // another search began meanwhile
    if (!file) return false; // from an earlier visit
    this._photographs.set(query.photo, file);
    if (this._shownUrl) URL.revokeObjectURL(this._shownUrl);
    this._shownUrl = URL.createObjectURL(file);
    this._image.onload = () => this._showReadable(true);
    this._image.onerror = () => this._showReadable(false);
    this._image.src = this._shownUrl;
    return true;
  }

  async _showSimilar(query) {
    this._image.onload = () => this._showReadable(true);
    this._image.onerror = () => {
      if (this._image.src.includes("/originals")) this._image.src = thumbnailUrl(query.similar);
      else this._showReadable(false);
    };
    const config = await this._app.config().catch(() => ({}));
    if (this._app.state.query?.similar !== query.similar) return;
    this._image.src = (config.originals ? originalUrl : thumbnailUrl)(query.similar);
  }

  async _loadEncoder(onLoad) {
    if (this._encoder === null) {
      const { loadDeviceEncoder } = await import("./device_encoder.js");
      this._encoder = loadDeviceEncoder(onLoad);
      this._encoder.catch(() => {
        this._encoder = null;
      });
    }
    return this._encoder;
  }
}
