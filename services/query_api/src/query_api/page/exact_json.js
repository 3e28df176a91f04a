// JSON with exact 64-bit integers: one that a double cannot represent is a BigInt.

const TOKENS = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const MARK = "\u{e000}integer:"; // prefix of strings that contain the digits of such a number
const MARKED = new RegExp(`^${MARK}(-?\\d+)$`);
const MARKED_IN_JSON = new RegExp(`"${MARK}(-?\\d+)"`, "g");

const isBeyondDoubles = (token) => /^-?\d+$/.test(token) && !Number.isSafeInteger(Number(token));

export function parse(text) {
  const marked = text.replace(TOKENS, (token) => (isBeyondDoubles(token) ? `"${MARK}${token}"` : token));
  return JSON.parse(marked, (_, value) => {
    const digits = typeof value === "string" ? MARKED.exec(value) : null;
    return digits ? BigInt(digits[1]) : value;
  });
}

export const stringify = (value) =>
  JSON.stringify(value, (_, one) => (typeof one === "bigint" ? `${MARK}${one}` : one)).replace(MARKED_IN_JSON, "$1");

/** Parse a number; integers are exact, NaN if the text is not a number. */
export function toNumber(text) {
  const number = Number(text);
  return /^-?\d+$/.test(text) && !Number.isSafeInteger(number) ? BigInt(text) : number;
}
