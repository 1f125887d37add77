/**
 * Certificates and keys, read from PEM files when the worker starts; what is wrong with one is said by its
 * path.
 */
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { ShoalError, errorTextOf } from "../../base/shoal-error.ts";
import type { TlsFiles } from "../../env/net.ts";

/** What the runtime's TLS functions want; absent where no file is named. */
export interface TlsMaterial {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** @throws ShoalError CONFIG when a file can't be read, or key and certificate don't belong together */
export function readTlsFiles(files: TlsFiles): TlsMaterial {
  const { caFile, certFile, keyFile } = files;
  const material = {
    ...(caFile === "" ? {} : { ca: readPem("CA certificates", caFile) }),
    ...(certFile === "" ? {} : { cert: readPem("certificate", certFile) }),
    ...(keyFile === "" ? {} : { key: readPem("private key", keyFile) }),
  };
  try {
    createSecureContext(material);
  } catch (error) {
    const paths = [certFile, keyFile, caFile].filter((path) => path !== "").join(", ");
    throw new ShoalError("CONFIG", `Cannot use TLS files ${paths}: ${errorTextOf(error)}`, error);
  }
  return material;
}

function readPem(what: string, path: string): string {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new ShoalError("CONFIG", `Cannot read TLS ${what} ${path}: ${errorTextOf(error)}`, error);
  }
  if (!text.includes("-----BEGIN ")) {
    throw new ShoalError("CONFIG", `Cannot use TLS ${what} ${path}: it holds no PEM block`);
  }
  return text;
}
