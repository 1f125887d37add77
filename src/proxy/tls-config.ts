/**
 * The TLS part of the configuration, in the shape that the transports take. Files are paths here; only they
 * read them.
 */
import type { TlsClientOptions, TlsServerOptions } from "../env/net.ts";
import type { ProxyConfig } from "./proxy-config.ts";

/** How clients come by TLS. `onRefused` hears of handshakes that fail. */
export function clientTlsOf(config: ProxyConfig, onRefused: (reason: string) => void): TlsServerOptions {
  return {
    caFile: config.tls_ca_file,
    certFile: config.tls_cert_file,
    keyFile: config.tls_key_file,
    clients: config.tls_auth_clients,
    onRefused,
  };
}

/** How the proxy goes to the servers by TLS; null: it does not. */
export function serverTlsOf(config: ProxyConfig): TlsClientOptions | null {
  if (!config.server_tls) return null;
  return {
    caFile: config.server_tls_ca_file,
    certFile: config.server_tls_cert_file,
    keyFile: config.server_tls_key_file,
    verify: config.server_tls_verify,
  };
}
