// Pillow's antialiased bilinear filter, with which the service resizes photographs. A browser's canvas resizes
// differently, so the embeddings would differ.

const PRECISION_BITS = 22;

/** For each of `out` pixels: its first source pixel, and the weights of the source pixels in fixed point. */
function coefficients(size, out) {
  const scale = size / out;
  const support = Math.max(scale, 1);
  return Array.from({ length: out }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(size, Math.trunc(centre + support + 0.5));
    const weights = [];
    for (let source = first; source < last; source++) {
      weights.push(Math.max(0, 1 - Math.abs((source - centre + 0.5) / support)));
    }
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: Int32Array.from(weights, (weight) => Math.round((weight / total) * 2 ** PRECISION_BITS)) };
  });
}

/**
 * Resize along one axis.
 *
 * @param source Uint8Array of lines of pixels.
 * @param lines Number of lines.
 * @param steps Bytes from one pixel of a line to the next, and from one line to the next, of source and result.
 */
function resizeAxis(source, result, lines, table, steps) {
  const half = 2 ** (PRECISION_BITS - 1);
  for (let line = 0; line < lines; line++) {
    for (let place = 0; place < table.length; place++) {
      const { first, weights } = table[place];
      let red = half,
        green = half,
        blue = half;
      let at = line * steps.sourceLine + first * steps.sourcePixel;
      for (let k = 0; k < weights.length; k++, at += steps.sourcePixel) {
        const weight = weights[k];
        red += source[at] * weight;
        green += source[at + 1] * weight;
        blue += source[at + 2] * weight;
      }
      const to = line * steps.resultLine + place * steps.resultPixel;
      result[to] = Math.floor(red / 2 ** PRECISION_BITS);
      result[to + 1] = Math.floor(green / 2 ** PRECISION_BITS);
      result[to + 2] = Math.floor(blue / 2 ** PRECISION_BITS);
    }
  }
}

/** Resize RGBA pixels (height x width x 4) to RGB pixels (size x size x 3), whatever the aspect ratio. */
export function stretch(rgba, width, height, size) {
  const across = new Uint8Array(height * size * 3);
  resizeAxis(rgba, across, height, coefficients(width, size), {
    sourcePixel: 4,
    sourceLine: 4 * width,
    resultPixel: 3,
    resultLine: 3 * size,
  });
  const result = new Uint8Array(size * size * 3);
  resizeAxis(across, result, size, coefficients(height, size), {
    sourcePixel: 3 * size,
    sourceLine: 3,
    resultPixel: 3 * size,
    resultLine: 3,
  });
  return result;
}
