// Installs ONNX Runtime for the web next to the page: `npm ci --ignore-scripts && npm run build`.
// Plain WASM for most devices; the WebGPU build for those that support it. Only compressed files: a third of the size.

import { createReadStream, createWriteStream } from "node:fs";
import { copyFile, mkdir, rm } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { createGzip, constants } from "node:zlib";

const from = new URL("node_modules/onnxruntime-web/", import.meta.url);
const to = new URL("../src/query_api/page/ort/", import.meta.url);
const files = [
  "ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm",
  "ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm",
];

await rm(to, { recursive: true, force: true });
await mkdir(to, { recursive: true });
for (const file of files) {
  await pipeline(
    createReadStream(new URL(`dist/${file}`, from)),
    createGzip({ level: constants.Z_BEST_COMPRESSION }),
    createWriteStream(new URL(`${file}.gz`, to)),
  );
}
await copyFile(new URL("LICENSE.onnxruntime-web", import.meta.url), new URL("LICENSE", to));
