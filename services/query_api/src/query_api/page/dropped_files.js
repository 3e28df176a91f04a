// Files of a drop or of a file dialog, with their ids: their paths, as of the files that `aff index` sends.

const SUFFIXES = /\.(jpe?g|jpe|jfif|jif|mpo|a?png|webp|avif|gif|bmp|tiff?|heic|heif|hif)$/i;
const SYSTEM = /(^|\/)(\.|@eaDir\/|__MACOSX\/|Thumbs\.db$)/;

const isPhotograph = ({ id, file }) => SUFFIXES.test(id) && !SYSTEM.test(id) && file.size > 0;

/** Whether a drop consists of one file, with which to search. */
export function singleFile(transfer) {
  const items = [...transfer.items].filter(({ kind }) => kind === "file");
  const isFolder = items[0]?.webkitGetAsEntry?.()?.isDirectory;
  return transfer.files.length === 1 && !isFolder ? transfer.files[0] : null;
}

/** Separate photographs from other files, which are counted. */
function sorted(found) {
  const photographs = found.filter(isPhotograph);
  return { photographs, others: found.length - photographs.length };
}

/** The photographs among chosen files, or those of a chosen folder. */
export const chosenPhotographs = (files) =>
  sorted(files.map((file) => ({ id: idOf(file.webkitRelativePath || file.name), file })));

/** The photographs of a drop, also those in its folders. */
export async function droppedPhotographs(transfer) {
  // The list of items is only there until the event ends.
  const entries = [...transfer.items]
    .filter(({ kind }) => kind === "file")
    .map((item) => item.webkitGetAsEntry?.())
    .filter(Boolean);
  if (entries.length === 0) return chosenPhotographs([...transfer.files]);
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return sorted(found);
}

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve) => entry.file(resolve, () => resolve(null)));
    if (file) found.push({ id: idOf(entry.fullPath), file });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // each call returns a part
    const part = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (part.length === 0) return;
    for (const inner of part) await walk(inner, found);
  }
}

const idOf = (path) => path.replace(/^\/+/, "").normalize("NFC");
