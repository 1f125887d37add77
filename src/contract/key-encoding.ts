/**
 * Keys in URLs. A key is bytes, not text: %FF is one byte, and `URLSearchParams` would make a replacement
 * character of it.
 */
import { ShoalError } from "../base/shoal-error.ts";

const BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const PLAIN = /^[A-Za-z0-9._~-]$/;

/** Every byte that is not plain becomes %XX. */
export function percentEncodeBytes(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) {
    const char = String.fromCharCode(byte);
    text += PLAIN.test(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return text;
}

/**
 * The other way round; what is not encoded stands for its UTF-8 bytes. @throws ShoalError INVALID_ARGUMENT
 */
export function percentDecodeBytes(text: string): Uint8Array {
  const bytes: number[] = [];
  const encoder = new TextEncoder();
  for (const [part] of text.matchAll(/%[0-9a-f]{2}|[^%]+|%/gi)) {
    if (part === "%")
      throw new ShoalError("INVALID_ARGUMENT", `Cannot decode key ${text}: % without two hex digits`);
    if (part.startsWith("%")) bytes.push(Number.parseInt(part.slice(1), 16));
    else bytes.push(...encoder.encode(part));
  }
  return Uint8Array.from(bytes);
}

/** RFC 4648 section 5, without padding. */
export function encodeBase64Url(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const left = bytes.length - i;
    const three = (bytes[i] << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    for (let digit = 0; digit < Math.min(left, 3) + 1; digit++) {
      text += BASE64URL[(three >> (18 - 6 * digit)) & 63];
    }
  }
  return text;
}

/** RFC 4648 section 5, padding optional. @throws ShoalError INVALID_ARGUMENT */
export function decodeBase64Url(text: string): Uint8Array {
  const bytes: number[] = [];
  let bits = 0;
  let value = 0;
  for (const char of text.replace(/=+$/, "")) {
    const digit = BASE64URL.indexOf(char);
    if (digit < 0)
      throw new ShoalError("INVALID_ARGUMENT", `Cannot decode key ${text}: ${char} is not base64url`);
    value = ((value << 6) | digit) & 0xffff;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push((value >> bits) & 0xff);
  }
  return Uint8Array.from(bytes);
}

/** The raw text of query parameter `name` of `url`, not decoded; null when it is not there. */
export function rawQueryParameter(url: string, name: string): string | null {
  const query = url.split("#")[0].split("?").slice(1).join("?");
  for (const pair of query.split("&")) {
    const equals = pair.indexOf("=");
    if (equals >= 0 && pair.slice(0, equals) === name) return pair.slice(equals + 1);
  }
  return null;
}
