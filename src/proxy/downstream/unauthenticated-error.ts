/** Whoever has not said the password must not be able to fill memory. */
import type { RequestScanner } from "../../resp/request-scanner.ts";

/** What such a client may send in one request: arguments, bytes of each. Redis's bounds (networking.c). */
const ARGUMENTS_MAX = 10;
const BULK_BYTES_MAX = 16 << 10;

/** What is wrong with the request that is arriving, in Redis's words; "" when nothing is. */
export function unauthenticatedError(scanner: RequestScanner): string {
  if (scanner.argc > ARGUMENTS_MAX) return "unauthenticated multibulk length";
  return scanner.pendingBulkBytes > BULK_BYTES_MAX ? "unauthenticated bulk length" : "";
}
