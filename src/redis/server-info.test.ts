import { expect, test } from "bun:test";
import { parseServerInfo } from "./server-info.ts";

test("a replica's INFO, with what an older version does not have left out", () => {
  const text = [
    "# Server",
    "redis_version:5.0.14",
    "process_id:77",
    "# Replication",
    "role:slave",
    "master_host:10.0.0.1",
    "master_port:7000",
    "master_link_status:down",
    "master_sync_in_progress:1",
    "slave_repl_offset:-1",
    "# Keyspace",
    "db0:keys=3,expires=0,avg_ttl=0",
    "db7:keys=4,expires=1,avg_ttl=9",
  ].join("\r\n");
  expect(parseServerInfo(text)).toMatchObject({
    version: "5.0.14",
    pid: 77,
    role: "replica",
    follows: "10.0.0.1:7000",
    linkUp: false,
    syncing: true,
    offset: -1,
    loading: false,
    keys: 7,
    replicas: [],
  });
});

test("how far the data of a server that was made a primary are of the history before", () => {
  const text = "process_id:1\r\nrole:master\r\nmaster_replid2:abc\r\nsecond_repl_offset:";
  expect(parseServerInfo(`${text}101`)).toMatchObject({ replicationIdBefore: "abc", offsetBefore: 100 });
  expect(parseServerInfo(`${text}-1`).offsetBefore).toBe(-2);
});

test("what is no INFO is refused", () => {
  expect(() => parseServerInfo("redis_version:7.0.0\r\n")).toThrow("process_id or role is missing");
});
