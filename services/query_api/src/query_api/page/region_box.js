// A part of a photograph: drawn, moved and resized with a pointer, a finger or the keyboard.

import { el, setVars } from "./dom.js";
import { t } from "./texts.js";

const SMALLEST = 16; // pixels of the photograph
const TAP = 6; // pixels of the screen: a shorter drag is a tap
const EDGES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const KEYS_MS = 350; // a search begins this long after the last arrow

export class RegionBox {
  /**
   * @param image The photograph's <img>; the box is a child of its parent.
   * @param onChange Called with the region when the user has changed it.
   */
  constructor(image, onChange) {
    this._image = image;
    this._onChange = onChange;
    this._crop = null;
    this._timer = 0;
    this.isEditable = () => true;
    this.box = el(
      "div.region",
      { hidden: true, tabIndex: 0, role: "group", "aria-label": t("region"), "aria-describedby": "region-help" },
      EDGES.map((edge) => el(`span.handle.${edge}`, { "data-edge": edge })),
    );
    const stage = image.parentElement;
    stage.append(this.box);
    stage.addEventListener("pointerdown", (event) => this._begin(event, stage));
    image.addEventListener("dragstart", (event) => event.preventDefault());
    this.box.addEventListener("keydown", (event) => this._key(event));
  }

  /** [left, top, right, bottom] in pixels of the upright photograph, or null for all of it. */
  get value() {
    return this._crop;
  }

  set value(crop) {
    clearTimeout(this._timer); // arrow keys of another photograph
    this._crop = crop;
    this._show();
  }

  /** Select the middle of the photograph, ready to be moved with the arrows. */
  begin() {
    const { naturalWidth: width, naturalHeight: height } = this._image;
    this._change([width * 0.2, height * 0.2, width * 0.8, height * 0.8].map(Math.round));
    this.box.focus({ preventScroll: true });
  }

  _change(crop) {
    clearTimeout(this._timer);
    this.value = crop;
    this._onChange(crop);
  }

  _begin(event, stage) {
    if (event.button !== 0 || !this.isEditable()) return;
    event.preventDefault();
    const from = this._place(event),
      before = this._crop,
      at = [event.clientX, event.clientY];
    const edge = event.target.dataset.edge ?? (event.target === this.box ? "all" : null);
    const moved = (to) =>
      edge ? this._shifted(before, edge, to[0] - from[0], to[1] - from[1]) : this._between(from, to);
    const move = (now) => {
      this.value = moved(this._place(now));
    };
    const end = (ended) => {
      for (const [name, listener] of [
        ["pointermove", move],
        ["pointerup", end],
        ["pointercancel", cancel],
      ]) {
        stage.removeEventListener(name, listener);
      }
      const isTap = Math.hypot(ended.clientX - at[0], ended.clientY - at[1]) < TAP;
      if (isTap && (edge || before === null)) this.value = before;
      else this._change(isTap ? null : moved(this._place(ended)));
    };
    const cancel = () => {
      end({ clientX: at[0], clientY: at[1] });
    };
    try {
      stage.setPointerCapture(event.pointerId);
    } catch {
      /* the pointer was released already */
    }
    stage.addEventListener("pointermove", move);
    stage.addEventListener("pointerup", end);
    stage.addEventListener("pointercancel", cancel);
    if (edge) this.box.focus({ preventScroll: true });
  }

  _key(event) {
    if (event.key === "Escape" || event.key === "Delete") {
      event.preventDefault();
      event.stopPropagation();
      this._change(null);
    }
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    const step = Math.max(1, Math.round(Math.max(this._image.naturalWidth, this._image.naturalHeight) / 50));
    this.value = this._shifted(this._crop, event.shiftKey ? "se" : "all", arrow[0] * step, arrow[1] * step);
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this._change(this._crop), KEYS_MS);
  }

  /** The region with its edges, or all of it, shifted; it stays inside the photograph and is never too small. */
  _shifted([left, top, right, bottom], edge, across, down) {
    const { naturalWidth: width, naturalHeight: height } = this._image;
    const clamp = (value, least, most) => Math.round(Math.min(Math.max(value, least), most));
    if (edge === "all") {
      const x = clamp(across, -left, width - right),
        y = clamp(down, -top, height - bottom);
      return [left + x, top + y, right + x, bottom + y];
    }
    return [
      edge.includes("w") ? clamp(left + across, 0, right - SMALLEST) : left,
      edge.includes("n") ? clamp(top + down, 0, bottom - SMALLEST) : top,
      edge.includes("e") ? clamp(right + across, left + SMALLEST, width) : right,
      edge.includes("s") ? clamp(bottom + down, top + SMALLEST, height) : bottom,
    ];
  }

  _place(event) {
    const box = this._image.getBoundingClientRect();
    const part = (value) => Math.min(1, Math.max(0, value));
    return [
      part((event.clientX - box.left) / box.width) * this._image.naturalWidth,
      part((event.clientY - box.top) / box.height) * this._image.naturalHeight,
    ];
  }

  _between([x1, y1], [x2, y2]) {
    const crop = [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)].map(Math.round);
    return crop[2] - crop[0] >= SMALLEST && crop[3] - crop[1] >= SMALLEST ? crop : null;
  }

  _show() {
    this.box.hidden = this._crop === null;
    if (this._crop) placeRegion(this.box, this._crop, this._image.naturalWidth, this._image.naturalHeight);
  }
}

/** Lay an element over the region of a photograph of this size. */
export function placeRegion(element, [left, top, right, bottom], width, height) {
  setVars(element, {
    left: `${(left / width) * 100}%`,
    top: `${(top / height) * 100}%`,
    width: `${((right - left) / width) * 100}%`,
    height: `${((bottom - top) / height) * 100}%`,
  });
}
