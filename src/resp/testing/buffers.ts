/** Buffers for codec tests: rubbish where nobody may look, and a count of who looks where. */
import type { Bytes } from "../../base/bytes.ts";
import { SLACK_BYTES } from "../../env/net.ts";

/** Bytes that a scanner which reads too far would take for the rest of a header. */
const RUBBISH = "7\r\n$1\r\n";

/** `text` (Latin-1) at `start`, rubbish before it and in the slack behind it. */
export function hostileBuffer(text: string, start: number): Bytes {
  const bytes = new Uint8Array(start + text.length + SLACK_BYTES);
  for (let i = 0; i < bytes.length; i++) bytes[i] = RUBBISH.charCodeAt(i % RUBBISH.length);
  for (let i = 0; i < text.length; i++) bytes[start + i] = text.charCodeAt(i);
  return bytes as Bytes;
}

/** The same bytes, and what has been read of them. */
export interface Watched {
  readonly bytes: Bytes;
  /** The lowest index read; Infinity when none was. */
  lowest(): number;
  /** The highest index read; -1 when none was. */
  highest(): number;
  reads(): number;
}

export function watched(bytes: Bytes): Watched {
  let low = Infinity;
  let high = -1;
  let count = 0;
  const proxy = new Proxy(bytes, {
    get(target, property) {
      if (typeof property !== "string" || !/^\d+$/.test(property))
        return Reflect.get(target, property, target);
      const index = Number(property);
      low = Math.min(low, index);
      high = Math.max(high, index);
      count++;
      return target[index];
    },
  });
  return { bytes: proxy, lowest: () => low, highest: () => high, reads: () => count };
}
