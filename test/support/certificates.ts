/**
 * Certificates for tests, made by openssl in a folder of their own: a CA, a server's and a client's, and a
 * stranger's.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export class Certificates {
  readonly folder: string;

  constructor() {
    this.folder = mkdtempSync(join(tmpdir(), "shoal-tls-"));
    for (const ca of ["ca", "other-ca"])
      this.#openssl(...newKey(ca, ca), "-x509", "-days", "2", "-out", `${ca}.crt`);
    this.#signed("server", "ca", "DNS:localhost,IP:127.0.0.1");
    this.#signed("elsewhere", "ca", "DNS:elsewhere.example");
    this.#signed("client", "ca", "DNS:client");
    this.#signed("stranger", "other-ca", "DNS:client");
  }

  /** The path of a file: "ca.crt", "server.key" … */
  path(file: string): string {
    return join(this.folder, file);
  }

  dispose(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  #signed(name: string, ca: string, names: string): void {
    writeFileSync(this.path(`${name}.ext`), `subjectAltName=${names}\n`);
    this.#openssl(...newKey(name, name), "-out", `${name}.csr`);
    const issuer = `-CA ${ca}.crt -CAkey ${ca}.key -CAcreateserial`;
    const line = `x509 -req -days 2 -in ${name}.csr -out ${name}.crt -extfile ${name}.ext ${issuer}`;
    this.#openssl(...line.split(" "));
  }

  #openssl(...args: string[]): void {
    const { status, stderr } = spawnSync("openssl", args, { cwd: this.folder, encoding: "utf8" });
    if (status !== 0) throw new Error(`openssl ${args.join(" ")}: ${stderr}`);
  }
}

function newKey(name: string, subject: string): string[] {
  const key = `-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ${name}.key`.split(" ");
  return ["req", ...key, "-subj", `/CN=${subject}`];
}
