// Deleting with undo: images disappear at once, and are deleted some seconds later or when the page is left.

import { deleteImages, findImage } from "./api.js";
import { kindOf, note, report } from "./messages.js";
import { t } from "./texts.js";

const UNDO_MS = 8000;
const BATCH = 500; // ids of a request, which is small enough to outlive the page
const NO_IMAGE = "no image has this id";
const KEPT = "aff_deletions"; // in this browser, until they are carried out: a closing page cannot wait for an answer

/** Dispatches `change` when images disappear or return. */
export const deletions = new EventTarget();
const hidden = new Set();
const waiting = new Map(); // sets of ids to `{at, timer, end}`; without a timer, it is not certain yet

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
  waiting.set(batch, { at: Date.now(), timer, end });
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
  clearTimeout(waiting.get(batch)?.timer);
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
  try {
    await send(batch);
    waiting.delete(batch);
    remember();
  } catch (error) {
    waiting.delete(batch);
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
  const left = [...waiting].map(([batch, { at }]) => ({ ids: [...batch], at })).filter(({ ids }) => ids.length);
  try {
    if (left.length) localStorage.setItem(KEPT, JSON.stringify(left));
    else localStorage.removeItem(KEPT);
  } catch {
    // no room: the request of the closing page is all there is
  }
}

function remembered() {
  try {
    return JSON.parse(localStorage.getItem(KEPT) ?? "[]");
  } catch {
    return [];
  }
}

window.addEventListener("pagehide", () => {
  for (const [batch, { timer, end }] of waiting) {
    if (!timer) continue;
    clearTimeout(timer);
    end(); // it can no longer be undone, also if the browser shows this page again
    send(batch, { keepalive: true }).catch(() => {}); // the next visit finishes it
  }
});
window.addEventListener("pageshow", ({ persisted }) => {
  if (persisted) for (const [batch, { timer }] of waiting) if (timer) finish(batch);
});

/** Carry out deletions that an earlier visit could not finish; images that were added since then stay. */
export async function finishDeletions() {
  const left = remembered();
  if (left.some(({ at }) => Date.now() - at < UNDO_MS)) {
    setTimeout(finishDeletions, UNDO_MS); // another tab may still undo it
    return;
  }
  for (const { ids, at } of left) {
    const batch = new Set(ids);
    waiting.set(batch, { at });
    if (!(await checked(batch, at))) continue; // at the next visit
    batch.forEach((id) => hidden.add(id));
    changed();
    await finish(batch);
  }
}

/** Leave only images in a batch that are there since before `at`; returns false if the service cannot be reached. */
async function checked(batch, at) {
  for (const id of [...batch]) {
    try {
      const { indexed_at: indexedAt } = await findImage(id);
      if (Date.parse(indexedAt) >= at) batch.delete(id);
    } catch (error) {
      if (kindOf(error) !== "gone") return false;
      batch.delete(id);
    }
  }
  return true;
}
