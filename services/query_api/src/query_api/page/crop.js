// A region of the photograph: dragged with a pointer or typed as numbers, in sync.

const SMALLEST = 8; // in pixels of the photograph

export class CropPicker {
  /** @param onChange Called when the user changed the region. */
  constructor(onChange) {
    this._onChange = onChange;
    this._image = document.getElementById("photograph");
    this._region = document.getElementById("region");
    this._inputs = ["left", "top", "right", "bottom"].map((edge) => document.getElementById(`crop-${edge}`));
    this._crop = null;
    const stage = this._image.parentElement;
    stage.addEventListener("pointerdown", (event) => this._begin(event, stage));
    this._image.addEventListener("dragstart", (event) => event.preventDefault());
    for (const input of this._inputs) input.addEventListener("change", () => this._typed());
    document.getElementById("crop-clear").addEventListener("click", () => this._change(null));
    window.addEventListener("resize", () => this._show());
  }

  /** [left, top, right, bottom] in pixels of the upright photograph, or null for all of it. */
  get value() { return this._crop; }

  set value(crop) {
    this._crop = crop;
    this._show();
  }

  _change(crop) {
    this.value = crop;
    this._onChange();
  }

  _begin(event, stage) {
    if (event.button !== 0) return;
    event.preventDefault();
    const from = this._place(event);
    const move = (moved) => { this.value = this._between(from, this._place(moved)); };
    const end = (ended) => {
      stage.removeEventListener("pointermove", move);
      stage.removeEventListener("pointerup", end);
      stage.removeEventListener("pointercancel", end);
      const crop = this._between(from, this._place(ended));
      this._change(crop && crop[2] - crop[0] >= SMALLEST && crop[3] - crop[1] >= SMALLEST ? crop : null);
    };
    try { stage.setPointerCapture(event.pointerId); } catch { /* the pointer was released already */ }
    stage.addEventListener("pointermove", move);
    stage.addEventListener("pointerup", end);
    stage.addEventListener("pointercancel", end);
  }

  _place(event) {
    const box = this._image.getBoundingClientRect();
    const clamp = (value) => Math.min(1, Math.max(0, value));
    return [
      clamp((event.clientX - box.left) / box.width) * this._image.naturalWidth,
      clamp((event.clientY - box.top) / box.height) * this._image.naturalHeight,
    ];
  }

  _between([x1, y1], [x2, y2]) {
    const crop = [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)].map(Math.round);
    return crop[2] > crop[0] && crop[3] > crop[1] ? crop : null;
  }

  _typed() {
    const numbers = this._inputs.map((input) => (input.value === "" ? NaN : Number(input.value)));
    if (numbers.some(Number.isNaN)) return;
    const [left, top, right, bottom] = numbers;
    const { naturalWidth, naturalHeight } = this._image;
    const fits = left >= 0 && top >= 0 && right <= naturalWidth && bottom <= naturalHeight;
    const valid = fits && right - left >= 1 && bottom - top >= 1;
    for (const input of this._inputs) input.setCustomValidity(valid ? "" : "not inside the photograph");
    if (valid) this._change(numbers);
    else this._inputs[0].reportValidity();
  }

  _show() {
    this._region.hidden = this._crop === null;
    this._inputs.forEach((input, edge) => {
      input.value = this._crop ? this._crop[edge] : "";
      input.setCustomValidity("");
    });
    if (!this._crop) return;
    const [left, top, right, bottom] = this._crop;
    const across = 100 / this._image.naturalWidth, down = 100 / this._image.naturalHeight;
    Object.assign(this._region.style, {
      left: `${left * across}%`, top: `${top * down}%`,
      width: `${(right - left) * across}%`, height: `${(bottom - top) * down}%`,
    });
  }
}
