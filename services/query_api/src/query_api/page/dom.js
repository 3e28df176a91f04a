// Elements and icons.

const SVG = "http://www.w3.org/2000/svg";

// Outlines in a square of 24.
const ICONS = {
  search: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13Zm4.7 11.2L20 20",
  gallery: "M4 5h16v14H4Zm0 11 5-5 4 4 3-3 4 4M15.5 9.5h.01",
  add: "M12 5v14M5 12h14",
  camera: "M4 8h3.5L9 5.5h6L16.5 8H20v11H4Zm8 1.8a3.7 3.7 0 1 0 0 7.4 3.7 3.7 0 0 0 0-7.4Z",
  file: "M4 15v4h16v-4M12 15V4m-4.5 4.5L12 4l4.5 4.5",
  folder: "M3.5 6h6l2 2.5h9V18h-17Z",
  close: "m6 6 12 12M18 6 6 18",
  back: "M15 5l-7 7 7 7",
  next: "m9 5 7 7-7 7",
  down: "m7 10 5 5 5-5",
  download: "M12 4v11m-4.5-4L12 15.5l4.5-4.5M5 19.5h14",
  similar: "M4 4h9v9H4ZM17 8h3v12H8v-3",
  edit: "m5 19 1-4L16 5l3 3L9 18Zm9-12 3 3",
  remove: "M5 7h14M9.5 7V4.5h5V7M7 7l1 13h8l1-13M10.5 11v5.5M13.5 11v5.5",
  check: "m5 12.5 4.5 4.5L19 7.5",
  crop: "M7 3v14h14M3 7h14v14",
  whole: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  pause: "M9 6v12M15 6v12",
  play: "M8 5.5v13l10-6.5Z",
  info: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16Zm0 7v5M12 8h.01",
  warning: "M12 4 3.5 19h17ZM12 10v4M12 16.5h.01",
  device: "M8 3.5h8v17H8ZM11 18h2",
};

/**
 * Make an element.
 *
 * @param tag Its name, followed by its classes: `button.chip.active`.
 * @param props Properties, attributes, `onclick` and other listeners, and `vars` for custom properties of CSS.
 * @param children Elements and texts; null and false are left out.
 */
export function el(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "vars") setVars(element, value);
    else if (key in element && !key.includes("-")) element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Set custom properties of CSS; the content security policy forbids attributes with styles. */
export function setVars(element, values) {
  for (const [name, value] of Object.entries(values)) element.style.setProperty(`--${name}`, value);
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button with an icon and a text; with `bare`, the text is its name and tooltip only. */
export function button(name, text, onclick, { bare = false, kind = "", ...props } = {}) {
  const look = [bare ? "button.bare" : "button", kind].filter(Boolean).join(".");
  const labels = bare ? { "aria-label": text, title: text } : {};
  return el(
    look,
    { type: "button", onclick, ...labels, ...props },
    name && icon(name),
    bare ? null : el("span.label", {}, text),
  );
}

/** A button that opens the browser's dialog for files; `choose` receives them. */
export function filePicker(name, text, choose, { kind = "", ...props } = {}) {
  const input = el("input.hidden-visually", { type: "file", tabIndex: -1, "aria-hidden": "true", ...props });
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = "";
    if (files.length) choose(files);
  });
  return el(
    "span.picker",
    {},
    input,
    button(name, text, () => input.click(), { kind }),
  );
}

/** Change the page, with a transition where the browser has them and motion is welcome. */
export function transition(change) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (still || document.hidden || !document.startViewTransition) return change();
  const running = document.startViewTransition(change);
  for (const phase of [running.ready, running.finished]) phase.catch(() => {}); // it was skipped
  return running.updateCallbackDone;
}
