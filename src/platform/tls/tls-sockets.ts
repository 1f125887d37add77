/**
 * The runtime's TLS sockets, for the portable transport.
 *
 *   listen:   accept ─▶ handshake ─▶ certificate wanted and wrong? ─▶ closed, `onRefused`
 *                                └─▶ `accept`: from here on it is a connection like any other
 *   connect:  connect ─▶ handshake, server's certificate checked ─▶ "secureConnect"
 */
import { isIP, type Server } from "node:net";
import { connect, createServer, type TLSSocket } from "node:tls";
import type { TlsClientOptions, TlsServerOptions } from "../../env/net.ts";
import { readTlsFiles, type TlsMaterial } from "./tls-files.ts";

/** A client that connects and says nothing is let go. */
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Older versions are broken. */
const MIN_VERSION = "TLSv1.2";

/** A server whose connections are handed over when their handshake is done. @throws ShoalError CONFIG */
export function createTlsServer(options: TlsServerOptions, accept: (socket: TLSSocket) => void): Server {
  const server = createServer(
    {
      ...readTlsFiles(options),
      requestCert: options.clients !== "no",
      rejectUnauthorized: options.clients === "required",
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      minVersion: MIN_VERSION,
      noDelay: true,
      keepAlive: true,
      allowHalfOpen: true,
    },
    (socket) => {
      const refusal = refusalOf(options, socket);
      if (refusal === null) accept(socket);
      else {
        socket.destroy();
        options.onRefused(refusal);
      }
    },
  );
  server.on("tlsClientError", (error: Error, socket: TLSSocket) => {
    socket?.destroy();
    options.onRefused(error.message);
  });
  return server;
}

/** "optional" means: none, or a good one. */
function refusalOf({ clients }: TlsServerOptions, socket: TLSSocket): string | null {
  if (clients === "no" || socket.authorized) return null;
  const shown = Object.keys(socket.getPeerCertificate() ?? {}).length > 0;
  if (clients === "optional" && !shown) return null;
  return `the client's certificate is refused: ${String(socket.authorizationError)}`;
}

/** Opens TLS connections to servers, by one reading of the files. */
export class TlsConnector {
  readonly #options: TlsClientOptions;
  readonly #material: TlsMaterial;

  /** @throws ShoalError CONFIG */
  constructor(options: TlsClientOptions) {
    this.#options = options;
    this.#material = readTlsFiles(options);
  }

  connect(host: string, port: number): TLSSocket {
    const { verify } = this.#options;
    // Addresses are numbers mostly, and certificates name hosts: "ca" asks only who has signed, as Redis
    // does itself.
    const anyName = verify === "name" ? {} : { checkServerIdentity: () => undefined };
    // A name may be asked for, a number may not (RFC 6066).
    const servername = isIP(host) === 0 ? host : "";
    return connect({
      ...this.#material,
      ...anyName,
      host,
      port,
      servername,
      rejectUnauthorized: verify !== "none",
      minVersion: MIN_VERSION,
    });
  }
}
