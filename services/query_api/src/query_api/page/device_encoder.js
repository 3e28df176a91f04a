// The service's query encoder, run in this browser by ONNX Runtime.

import { describeEncoder, ServiceError, serviceUrl } from "./api.js";
import { stretch } from "./resample.js";

const RUNTIME = new URL("ort/", import.meta.url).href;
const MOST_PIXELS = 16_000_000; // limit of a canvas on the smallest phones

/** Whether the service has the runtime, which is included if npm was available at build time. */
export async function runtimeIsThere() {
  try {
    return (await fetch(`${RUNTIME}ort.wasm.min.mjs`, { method: "HEAD" })).ok;
  } catch {
    return false;
  }
}

async function gpuIsThere() {
  try {
    return Boolean(await navigator.gpu?.requestAdapter());
  } catch {
    return false;
  }
}

/**
 * Load runtime and graph; `backend` names the execution provider.
 *
 * @param onStart Called with the size of the graph in bytes before the download, which can take a while.
 */
export async function loadDeviceEncoder(onStart) {
  const described = await describeEncoder();
  if (described.preprocessing.resize !== "stretch") throw new ServiceError("unsupported_here", { detail: "resizing" });
  const gpu = await gpuIsThere();
  const ort = await import(`${RUNTIME}${gpu ? "ort.webgpu.min.mjs" : "ort.wasm.min.mjs"}`);
  ort.env.wasm.wasmPaths = RUNTIME;
  ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
  const wanted = gpu ? "fp32" : described.serving;
  const graph = described.files.find((file) => file.precision === wanted) ?? described.files[0];
  onStart(graph.size_bytes);
  const response = await fetch(serviceUrl(graph.url));
  if (!response.ok) throw new ServiceError("unreachable");
  const session = await ort.InferenceSession.create(await response.arrayBuffer(), {
    executionProviders: gpu ? ["webgpu", "wasm"] : ["wasm"],
  });
  return new DeviceEncoder(ort, session, described, gpu ? "WebGPU" : `WASM, threads: ${ort.env.wasm.numThreads}`);
}

class DeviceEncoder {
  constructor(ort, session, described, backend) {
    this.fingerprint = described.fingerprint;
    this.backend = backend;
    this._ort = ort;
    this._session = session;
    this._size = described.preprocessing.size;
  }

  /** Embed a photograph, or its region [left, top, right, bottom]; return a Float32Array of unit length. */
  async embed(photograph, crop = null) {
    const { rgba, width, height } = await pixels(photograph, crop);
    const image = stretch(rgba, width, height, this._size);
    const input = new this._ort.Tensor("uint8", image, [1, this._size, this._size, 3]);
    return (await this._session.run({ image: input })).embedding.data;
  }
}

/** Decode a photograph like the service: upright, on white, without colour conversion. */
async function pixels(photograph, crop) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(photograph, { colorSpaceConversion: "none", imageOrientation: "from-image" });
  } catch {
    throw new ServiceError("unsupported_here");
  }
  let [left, top, right, bottom] = crop ?? [0, 0, bitmap.width, bitmap.height];
  left = Math.floor(left);
  top = Math.floor(top);
  right = Math.ceil(right);
  bottom = Math.ceil(bottom);
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / ((right - left) * (bottom - top))));
  const width = Math.max(1, Math.round((right - left) * scale)),
    height = Math.max(1, Math.round((bottom - top) * scale));
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, left, top, right - left, bottom - top, 0, 0, width, height);
  bitmap.close();
  return { rgba: context.getImageData(0, 0, width, height).data, width, height };
}
