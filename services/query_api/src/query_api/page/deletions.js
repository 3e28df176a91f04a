// Deleting with undo: images disappear at once, and are deleted some seconds later or when the page is left.

import { deleteImages, findImage } from "./api.js";
import { note, report } from "./messages.js";
import { t } from "./texts.js";

const UNDO_MS = 8000;
const BATCH = 500; // ids of a request, which is small enough to outlive the page
const NO_IMAGE = "no image has this id";
const KEPT = "aff_deletions"; // in this browser, until they are carried out: a closing page cannot wait for an answer

/** Dispatches `change` when images disappear or return. */
export const deletions = new EventTarget();
const hidden = new Set();
const waiting = new Map(); // sets of ids to their timers

export const isDeleted = (id) => hidden.has(id);

const changed = () => deletions.dispatchEvent(new Event("change"));

/** Delete images after a while in which it can be undone. */
export function deleteLater(ids) {
  const batch = new Set(ids);
  batch.forEach((id) => hidden.add(id));
  const end = note(t("deleted", { n: batch.size }), {
    label: t("undo"),
    action: () => undo(batch),
    ms: UNDO_MS + 1000,
  });
  const timer = setTimeout(() => {
    end();
    finish(batch);
  }, UNDO_MS);
  waiting.set(batch, timer);
  remember();
  changed();
  // Checks at once that deleting is possible. It also leaves out the preflight of the request of a closing page.
  deleteImages([NO_IMAGE]).catch((error) => {
    if (!waiting.has(batch)) return;
    end();
    undo(batch);
    report(error, () => deleteLater(batch));
  });
}

function undo(batch) {
  clearTimeout(waiting.get(batch));
  waiting.delete(batch);
  restore(batch);
}

function restore(batch) {
  batch.forEach((id) => hidden.delete(id));
  remember();
  changed();
}

/** Images are added (again): do not hide or delete them. */
export function keep(ids) {
  for (const id of ids) {
    hidden.delete(id);
    for (const batch of waiting.keys()) batch.delete(id);
  }
  remember();
}

async function finish(batch) {
  waiting.delete(batch);
  try {
    await send(batch);
    remember();
  } catch (error) {
    restore(batch);
    report(error, () => deleteLater(batch));
  }
}

async function send(batch, options) {
  const ids = [...batch],
    requests = [];
  for (let start = 0; start < ids.length; start += BATCH) {
    requests.push(deleteImages(ids.slice(start, start + BATCH), options));
  }
  await Promise.all(requests);
}

function remember() {
  const ids = [...waiting.keys()].flatMap((batch) => [...batch]);
  if (ids.length) localStorage.setItem(KEPT, JSON.stringify({ ids, at: Date.now() }));
  else localStorage.removeItem(KEPT);
}

window.addEventListener("pagehide", () => {
  for (const [batch, timer] of waiting) {
    clearTimeout(timer);
    send(batch, { keepalive: true }).catch(() => {}); // the next visit finishes it
  }
});

/** Carry out deletions that an earlier visit could not finish; images that were added since then stay. */
export async function finishDeletions() {
  const { ids = [], at = 0 } = JSON.parse(localStorage.getItem(KEPT) ?? "{}");
  if (Date.now() - at < UNDO_MS) {
    if (ids.length) setTimeout(finishDeletions, UNDO_MS); // another tab may still undo it
    return;
  }
  localStorage.removeItem(KEPT);
  const left = new Set();
  for (const id of ids) {
    const image = await findImage(id).catch(() => null);
    if (image && Date.parse(image.indexed_at) < at) left.add(id);
  }
  if (left.size === 0) return;
  left.forEach((id) => hidden.add(id));
  changed();
  await finish(left);
}
