// Files that wait to be indexed. They are kept in this browser, so that a page continues when it is opened again.

import { indexFiles, lookUp, ServiceError } from "./api.js";
import { kindOf } from "./messages.js";
import * as store from "./store.js";

const BATCH_FILES = 12,
  BATCH_BYTES = 24 * 2 ** 20;
const PARALLEL = 2;
const KEPT_BYTES = 2 * 2 ** 30; // of files in this browser's storage; beyond them, only names are kept
const SLOWEST_S = 30;
const TEMPORARY = new Set(["offline", "unreachable", "busy", "not_ready"]);

/** What each status of an item means: those of receipts, and `lost`: the file was not kept when the page was closed. */
export const STATUSES = {
  waiting: { group: "waiting" },
  sending: { group: "waiting" },
  indexed: { group: "added", mark: "check" },
  updated: { group: "added", mark: "check" },
  duplicate: { group: "duplicate", mark: "check" },
  rejected: { group: "rejected", mark: "warning" },
  lost: {},
};

/**
 * The queue. Dispatches `change`.
 *
 * An item is `{id, path, name, size, file, isKept, status, reason}`. Its id is its path, with a number where that is
 * taken. Its status is one of `STATUSES`.
 */
export class UploadQueue extends EventTarget {
  constructor() {
    super();
    this.items = new Map();
    this.paused = false;
    this.problem = null; // why nothing is sent at the moment
    this._running = 0;
    this._wait_s = 1;
    window.addEventListener("online", () => {
      if (!this.paused) this.go();
    });
  }

  /** Take the items that were left when the page was closed: in one tab at a time, so that they are sent once. */
  async restore() {
    if (!navigator.locks) return this._restore(); // a page without TLS
    const untilClosed = new Promise(() => {});
    await navigator.locks.request("aff-uploads", () => this._restore().then(() => untilClosed));
  }

  async _restore() {
    const left = await store.readAll("uploads").catch(() => []);
    for (const { file = null, ...item } of left) {
      if (!this.items.has(item.id)) {
        this.items.set(item.id, { path: item.id, ...item, file, status: file ? "waiting" : "lost", isKept: file !== null });
      }
    }
    if (left.length) this.go();
  }

  /** Add `[{id, file}]`; a file that is added again is sent again. */
  async add(files) {
    const named = [],
      kept = [];
    let bytes = 0;
    for (const { size, file, isKept } of this.items.values()) if (file && isKept) bytes += size;
    for (const { id: path, file } of files) {
      const id = this._freeId(path, file);
      if (id === null) continue;
      const item = { id, path, name: file.name, size: file.size };
      const isKept = bytes + file.size <= KEPT_BYTES;
      this.items.set(id, { ...item, file, isKept, status: "waiting" });
      if (isKept) bytes += file.size;
      named.push([id, item]);
      kept.push([id, isKept ? { ...item, file } : item]);
    }
    this._changed();
    // Without room for the files, their names are kept; without storage, the queue lasts as long as the page.
    await store.write("uploads", kept).catch(() => store.write("uploads", named).catch(() => {}));
    this.go();
  }

  /** The id of a new item: with a number if another file of this id waits; null if this file waits already. */
  _freeId(path, file) {
    for (let number = 1; ; number++) {
      const id = numbered(path, number);
      const there = this.items.get(id);
      if (!isPending(there)) return id;
      if (there.size === file.size && there.file?.lastModified === file.lastModified) return null;
    }
  }

  get counts() {
    const counts = Object.fromEntries(Object.keys(STATUSES).map((status) => [status, 0]));
    for (const { status } of this.items.values()) counts[status]++;
    return counts;
  }

  /** Whether sending continues without a person's help. */
  get continues() {
    return TEMPORARY.has(kindOf(this.problem));
  }

  get isBusy() {
    return this._running > 0;
  }

  pause() {
    this.paused = true;
    this._changed();
  }

  go() {
    clearTimeout(this._timer);
    this.paused = false;
    this.problem = null;
    while (this._running < PARALLEL && this._next().length) this._send();
    this._changed();
  }

  /** Forget what is done, or everything. */
  async clear({ all = false } = {}) {
    const gone = [...this.items.values()]
      .filter(({ status }) => all || !["waiting", "sending"].includes(status))
      .map(({ id }) => id);
    gone.forEach((id) => this.items.delete(id));
    await store.remove("uploads", gone).catch(() => {});
    this._changed();
  }

  _next() {
    if (this.paused || this.problem) return [];
    const batch = [];
    let bytes = 0;
    for (const item of this.items.values()) {
      if (item.status !== "waiting") continue;
      if (batch.length && (bytes + item.size > BATCH_BYTES || item.alone)) break;
      batch.push(item);
      bytes += item.size;
      if (batch.length === BATCH_FILES || item.alone) break;
    }
    return batch;
  }

  async _send() {
    const batch = this._next();
    if (batch.length === 0) return;
    this._running++;
    batch.forEach((item) => {
      item.status = "sending";
    });
    this._changed();
    try {
      const unknown = await this._unknown(batch);
      if (unknown.length) await indexFiles(unknown, (line) => this._receive(unknown, line));
      if (unknown.some(({ status }) => status === "sending")) {
        throw new ServiceError("unreachable", { service: "indexer" }); // the response ended too early
      }
      this._wait_s = 1;
    } catch (error) {
      this._fail(batch, error);
    }
    this._running--;
    batch
      .filter(({ status }) => status === "sending")
      .forEach((item) => {
        item.status = "waiting";
      });
    while (this._running < PARALLEL && this._next().length) this._send();
    this._changed();
  }

  /** Those of a batch that the gallery has not; it may have them under their path within the added folder. */
  async _unknown(batch) {
    const lookups = [];
    for (const item of batch) {
      try {
        item.digest = await digest(item.file);
        for (const id of idsOf(item.id)) lookups.push({ item, id });
      } catch {
        this._done(item, "rejected", { code: "unreadable" }); // it was moved or deleted meanwhile
      }
    }
    await this._leaveOutKnown(lookups);
    await this._numberSingle(batch.filter(({ id }) => !id.includes("/")));
    return batch.filter(({ status }) => status === "sending");
  }

  async _leaveOutKnown(lookups) {
    const digested = lookups.filter(({ item }) => item.digest);
    if (digested.length === 0) return;
    const known = await lookUp(digested.map(({ item, id }) => ({ id, content_sha256: item.digest })));
    for (const { item, id } of digested) if (known.has(id) && item.status === "sending") this._done(item, "duplicate");
  }

  /**
   * Number single files whose name another photograph of the gallery has: cameras and clipboards repeat names. A file of
   * an added folder replaces the image of its path.
   */
  async _numberSingle(items) {
    for (let number = 2, left = items; ; number++) {
      left = left.filter(({ status }) => status === "sending");
      if (left.length === 0) return;
      const taken = await lookUp(left.map(({ id }) => ({ id })));
      left = left.filter(({ id }) => taken.has(id));
      for (const item of left) this._rename(item, numbered(item.path, number));
      await this._leaveOutKnown(left.map((item) => ({ item, id: item.id })));
    }
  }

  _rename(item, id) {
    if (isPending(this.items.get(id))) return;
    const { path, name, size, isKept, file } = item;
    if (this.items.get(item.id) === item) this.items.delete(item.id);
    store.remove("uploads", [item.id]).catch(() => {});
    store.write("uploads", [[id, { id, path, name, size, ...(isKept && { file }) }]]).catch(() => {});
    item.id = id;
    this.items.set(id, item);
  }

  _receive(batch, { receipt, problem }) {
    if (problem) throw Object.assign(new Error(problem.title), { problem });
    if (receipt) this._done(batch[receipt.index], receipt.status, receipt.error);
  }

  _done(item, status, reason = null) {
    Object.assign(item, { status, reason, file: null });
    const isReplaced = this.items.has(item.id) && this.items.get(item.id) !== item; // stopped, and added again
    if (!isReplaced) store.remove("uploads", [item.id]).catch(() => {});
    this._changed();
  }

  _fail(batch, error) {
    const kind = error.problem ? "not_ready" : kindOf(error);
    const sending = batch.filter(({ status }) => status === "sending");
    if (["key", "no_indexer", "no_encoder"].includes(kind)) {
      this.problem = error;
    } else if (TEMPORARY.has(kind)) {
      this.problem = error;
      const wait_s = error.retryAfter ?? this._wait_s;
      this._wait_s = Math.min(SLOWEST_S, this._wait_s * 2);
      clearTimeout(this._timer);
      this._timer = setTimeout(() => {
        if (!this.paused) this.go();
      }, wait_s * 1000);
    } else if (sending.length > 1) {
      sending.forEach((item) => {
        item.alone = true; // one file's failure is not that of the others
      });
    } else {
      sending.forEach((item) =>
        this._done(item, "rejected", { code: error.code, title: error.title, detail: error.detail ?? error.message }),
      );
    }
  }

  _changed() {
    this.dispatchEvent(new Event("change"));
  }
}

const isPending = (item) => item?.status === "waiting" || item?.status === "sending";

/** A path, from the second on with a number: `image (2).jpg`. */
function numbered(path, number) {
  const [, stem, suffix = ""] = /^(.*?)(\.[^./]*)?$/s.exec(path);
  return number === 1 ? path : `${stem} (${number})${suffix}`;
}

/** The ids under which the gallery may have a file: its path with and without the added folder. */
export const idsOf = (id) => [...new Set([id, id.replace(/^[^/]*\//, "")])];

/** SHA-256 of a file as hex digits; null where the browser does not compute it: on a page without TLS. */
async function digest(file) {
  if (!globalThis.crypto?.subtle) {
    await file.slice(0, 1).arrayBuffer();
    return null;
  }
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
