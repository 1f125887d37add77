/**
 * What the proxy says itself, as bytes. A builder of replies in either protocol: the caller names the
 * meaning (a map, null, true), the writer knows how RESP2 and RESP3 say it.
 *
 * Replies of the proxy itself are off the hot path: they are built as Latin-1 text (a byte a character),
 * which keeps every byte of a key or a name as it came, and copied once.
 */

export type Protocol = 2 | 3;

/** An error line. Line ends inside would end it early, so they become spaces, as Redis does. */
export function errorReply(text: string): string {
  return `-${text.replace(/[\r\n]/g, " ")}\r\n`;
}

export function bulk(text: string): string {
  return `$${text.length}\r\n${text}\r\n`;
}

export function integer(value: number | bigint): string {
  return `:${value}\r\n`;
}

export function simple(text: string): string {
  return `+${text}\r\n`;
}

/** An array whose elements are encoded already. */
export function array(elements: readonly string[]): string {
  return `*${elements.length}\r\n${elements.join("")}`;
}

/** Pairs whose members are encoded already: a map in RESP3, a flat array in RESP2. */
export function map(protocol: Protocol, pairs: readonly (readonly [string, string])[]): string {
  const body = pairs.map(([key, value]) => key + value).join("");
  return protocol === 3 ? `%${pairs.length}\r\n${body}` : `*${pairs.length * 2}\r\n${body}`;
}

export function nullReply(protocol: Protocol): string {
  return protocol === 3 ? "_\r\n" : "$-1\r\n";
}

/** Text for people: a verbatim string in RESP3, a bulk string in RESP2. */
export function verbatim(protocol: Protocol, text: string): string {
  return protocol === 3 ? `=${text.length + 4}\r\ntxt:${text}\r\n` : bulk(text);
}

export const OK = "+OK\r\n";
export const PONG = "+PONG\r\n";
