import { describe, expect, test } from "bun:test";
import { mergeInfoTexts } from "./info-merge.ts";

const lines = (...list: string[]) => list.join("\r\n") + "\r\n";

/** One field's merged value; the texts have this field only. */
function merged(field: string, ...values: string[]): string {
  const text = mergeInfoTexts(
    values.map((value) => lines("# Section", `${field}:${value}`)),
    {},
  );
  return text.split("\r\n")[1].slice(field.length + 1);
}

describe("mergeInfoTexts", () => {
  test.each([
    ["used_memory", ["100", "50", "7"], "157"],
    ["total_commands_processed", ["9007199254740", "1"], "9007199254741"],
    ["used_cpu_sys", ["0.250000", "0.125000"], "0.375000"],
    ["uptime_in_seconds", ["5", "90", "7"], "90"],
    ["mem_fragmentation_ratio", ["1.50", "1.25"], "1.5"],
    ["rdb_last_save_time", ["1700000000", "1600000000"], "1600000000"],
    ["redis_version", ["7.0.15", "7.0.15"], "7.0.15"],
    ["used_memory_human", ["1.00M", "2.00M"], "1.00M"],
    ["mem_allocator", ["jemalloc-5.3.0", "jemalloc-5.3.0"], "jemalloc-5.3.0"],
    ["rdb_last_bgsave_status", ["ok", "err", "ok"], "err"],
    ["aof_last_write_status", ["ok", "ok"], "ok"],
    ["db0", ["keys=3,expires=1,avg_ttl=100", "keys=4,expires=0,avg_ttl=0"], "keys=7,expires=1,avg_ttl=100"],
    [
      "cmdstat_get",
      ["calls=3,usec=9,usec_per_call=3.00", "calls=1,usec=1,usec_per_call=1.00"],
      "calls=4,usec=10,usec_per_call=2.50",
    ],
    ["latency_percentiles_usec_get", ["p50=1.003,p99=2", "p50=3.007,p99=1"], "p50=3.007,p99=2"],
    ["errorstat_ERR", ["count=3", "count=4"], "count=7"],
  ])("%s of %p is %s", (field, values, expected) => {
    expect(merged(field, ...values)).toBe(expected);
  });

  test("sizes for people are those of the sums", () => {
    const text = (bytes: number, human: string) =>
      lines("# Memory", `used_memory:${bytes}`, `used_memory_human:${human}`);
    const sum = mergeInfoTexts([text(1 << 20, "1.00M"), text(1 << 19, "512.00K")], {});
    expect(sum).toBe(text(3 << 19, "1.50M"));
    expect(mergeInfoTexts([text(100, "100B"), text(1, "1B")], {})).toBe(text(101, "101B"));
  });

  test("fields and sections that only some servers have", () => {
    const one = lines("# Keyspace", "db0:keys=1,expires=0,avg_ttl=0");
    const two = lines("# Keyspace", "db3:keys=2,expires=0,avg_ttl=0", "", "# Extra", "only:here");
    expect(mergeInfoTexts([one, two], {})).toBe(
      lines(
        "# Keyspace",
        "db0:keys=1,expires=0,avg_ttl=0",
        "db3:keys=2,expires=0,avg_ttl=0",
        "",
        "# Extra",
        "only:here",
      ),
    );
  });

  test("own values replace those that are there, and replicas' lines are left out", () => {
    const text = lines(
      "# Replication",
      "role:master",
      "connected_slaves:1",
      "slave0:ip=127.0.0.1,port=1",
      "tcp_port:1",
    );
    expect(mergeInfoTexts([text, text], { tcp_port: 19000, process_id: 5 })).toBe(
      lines("# Replication", "role:master", "connected_slaves:2", "tcp_port:19000"),
    );
  });

  test("nothing gives nothing", () => {
    expect(mergeInfoTexts(["", ""], {})).toBe("");
  });
});
