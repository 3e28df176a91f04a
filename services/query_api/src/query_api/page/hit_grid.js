// Photographs in rows; each keeps its proportions.

import { originalUrl, thumbnailUrl } from "./api.js";
import { el, icon } from "./dom.js";
import { t } from "./texts.js";

const NARROWEST = 0.5,
  WIDEST = 2.6; // proportions of a tile; a photograph beyond them is cut
const SMALL_PIXELS = 1_500_000; // an original of at most this many is an alternative to the thumbnail
const THUMBNAIL_SIDE = 320;

/** The last part of an id that is a path, or the file name of the details. */
export const nameOf = (item) => item.payload.file_name ?? item.id.split("/").pop();

/**
 * A photograph as an element of a grid.
 *
 * @param item A hit or an image of the gallery.
 * @param config The page's configuration.
 * @param options `onOpen` is called with the tile; `caption` is shown below; `label` is added to its name for screen
 *   readers; `onSelect` makes it selectable and is called with the event.
 */
export function tile(item, config, { onOpen, caption = null, label = "", onSelect = null }) {
  const ratio = item.width && item.height ? item.width / item.height : 1;
  const open = el(
    "button.open",
    { type: "button", "aria-label": [item.id, label].filter(Boolean).join(", ") },
    thumbnail(item, config),
  );
  const element = el(
    "li.tile",
    {
      vars: { ratio: Math.min(WIDEST, Math.max(NARROWEST, ratio)).toFixed(4) },
      "data-id": item.id,
    },
    open,
    onSelect && selector(item, onSelect),
    caption,
  );
  open.addEventListener("click", (event) => (onSelect?.(event, false) ? null : onOpen(element)));
  return element;
}

function thumbnail(item, config) {
  const image = el("img", { alt: "", loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(el("span.missing", {}, icon("gallery"), t("no_thumbnail"))), {
    once: true,
  });
  const pixels = (item.width ?? 0) * (item.height ?? 0);
  if (config.originals && pixels > 0 && pixels <= SMALL_PIXELS) {
    const width = Math.round(Math.min(1, THUMBNAIL_SIDE / Math.max(item.width, item.height)) * item.width);
    image.sizes = "auto, 15rem";
    image.srcset = `${thumbnailUrl(item.id, item.indexed_at)} ${width}w, ${originalUrl(item.id)} ${item.width}w`;
  }
  image.src = thumbnailUrl(item.id, item.indexed_at);
  return image;
}

function selector(item, onSelect) {
  const box = el("input", { type: "checkbox", "aria-label": t("select_one", { name: item.id }) });
  box.addEventListener("click", (event) => onSelect(event, true));
  return el("span.selector", {}, box);
}

/** Caption of a hit: a bar for its score, its strength in words where the model has levels, and its name. */
export function hitCaption(hit) {
  const bar = el(`span.bar.${hit.strength ?? "plain"}`, {
    vars: { score: Math.max(0.02, Math.min(1, hit.score)).toFixed(3) },
  });
  const word = hit.strength && el(`span.word.${hit.strength}`, {}, t(`strength_${hit.strength}`));
  return el("p.caption", {}, bar, el("span.line", {}, word, el("span.name", { title: hit.id }, nameOf(hit))));
}
