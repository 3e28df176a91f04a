// Deleting with undo: images disappear at once, and are deleted some seconds later or when the page is left.

import { deleteImages } from "./api.js";
import { note, report } from "./messages.js";
import { t } from "./texts.js";

const UNDO_MS = 8000;
const BATCH = 500; // ids of a request, which is small enough to outlive the page

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
  waiting.set(
    batch,
    setTimeout(() => {
      end();
      finish(batch);
    }, UNDO_MS),
  );
  changed();
}

function undo(batch) {
  clearTimeout(waiting.get(batch));
  waiting.delete(batch);
  restore(batch);
}

function restore(batch) {
  batch.forEach((id) => hidden.delete(id));
  changed();
}

/** Images are added (again): do not hide or delete them. */
export function keep(ids) {
  for (const id of ids) {
    hidden.delete(id);
    for (const batch of waiting.keys()) batch.delete(id);
  }
}

async function finish(batch, options) {
  waiting.delete(batch);
  if (batch.size === 0) return;
  try {
    const ids = [...batch],
      requests = [];
    for (let start = 0; start < ids.length; start += BATCH)
      requests.push(deleteImages(ids.slice(start, start + BATCH), options));
    await Promise.all(requests);
  } catch (error) {
    restore(batch);
    report(error, () => deleteLater(batch));
  }
}

window.addEventListener("pagehide", () => {
  for (const [batch, timer] of waiting) {
    clearTimeout(timer);
    finish(batch, { keepalive: true });
  }
});
