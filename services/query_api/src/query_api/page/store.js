// What this browser keeps: photographs of searches, and files that wait to be indexed (IndexedDB).

const NAME = "aff",
  VERSION = 1;
const STORES = ["photographs", "uploads"];

let opened = null;

function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, VERSION);
    request.onupgradeneeded = () => STORES.forEach((store) => request.result.createObjectStore(store));
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/** Run `work` on an object store; resolves with its request's result once everything is written. */
async function within(store, mode, work) {
  const transaction = (await database()).transaction(store, mode);
  const request = work(transaction.objectStore(store));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onabort = transaction.onerror = () => reject(transaction.error);
  });
}

export const read = (store, key) => within(store, "readonly", (objects) => objects.get(key));

export const readAll = (store) => within(store, "readonly", (objects) => objects.getAll());

export const write = (store, entries) =>
  within(store, "readwrite", (objects) => {
    for (const [key, value] of entries) objects.put(value, key);
  });

export const remove = (store, keys) =>
  within(store, "readwrite", (objects) => {
    for (const key of keys) objects.delete(key);
  });

export const clear = (store) => within(store, "readwrite", (objects) => objects.clear());

const MOST_PHOTOGRAPHS = 12;

/** Keep the photograph of a search under a number, so that the history finds it again; return whether that worked. */
export async function keepPhotograph(key, file) {
  try {
    await write("photographs", [[key, file]]);
    const keys = await within("photographs", "readonly", (objects) => objects.getAllKeys());
    if (keys.length > MOST_PHOTOGRAPHS) await remove("photographs", keys.slice(0, keys.length - MOST_PHOTOGRAPHS));
    return true;
  } catch {
    return false; // a private window, or no room
  }
}
