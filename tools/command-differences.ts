/**
 * What differs from one Redis server, by command ("client|pause"); a container's text stands for those of
 * its words that have none. For docs/reference/commands.md. A command that is not here answers as one server
 * does, for keys of one slot.
 */
export const DIFFERENCES: Readonly<Record<string, string>> = {
  // Several keys
  mget: "Keys of several groups are read at slightly different moments.",
  mset: "Not atomic over several groups. An error says at which groups it was done.",
  del: "Not atomic over several groups. An error says at which groups it was done.",
  unlink: "As DEL.",
  exists: "Keys of several groups are looked at at slightly different moments.",
  touch: "As EXISTS.",
  msetnx: "All keys in one slot: all or nothing does not survive a cut.",
  sort: "BY and GET patterns must have the key's hash tag before their `*` (with one group: any).",
  sort_ro: "As SORT.",
  copy: "Both keys in one slot, also with DB.",
  rename: "Both keys in one slot.",
  renamenx: "Both keys in one slot.",
  migrate:
    "To servers outside of the cluster only. To the proxy itself: `NOKEY`, or `IOERR` at once " +
    "instead of after the timeout.",

  // The whole keyspace
  keys: "The groups' answers end to end.",
  scan: "One group after the other; the cursor holds the group. Cursors are larger numbers.",
  randomkey: "Each key has the same chance, whatever its group.",
  dbsize: "The sum.",
  flushall: "Not atomic over the groups. An error says at which groups it was done.",
  flushdb: "As FLUSHALL.",
  swapdb:
    "Not atomic over the groups: for some milliseconds some groups have swapped and others have " +
    "not. Each session's own order is kept.",

  // Waiting
  wait:
    "Over a connection of its own to each group, after the session's writes have been answered; " +
    "the answer is the least of the groups. A group without replicas makes it 0.",
  waitaof: "As WAIT; for servers of 7.2 and later.",
  blpop: "Keys of one slot. Over a connection of its own.",
  brpop: "As BLPOP.",
  blmove: "As BLPOP.",
  brpoplpush: "As BLPOP.",
  blmpop: "As BLPOP.",
  bzpopmin: "As BLPOP.",
  bzpopmax: "As BLPOP.",
  bzmpop: "As BLPOP.",
  xread: "Keys of one slot. With BLOCK over a connection of its own.",
  xreadgroup: "As XREAD.",

  // Transactions
  multi:
    "Queued by the proxy. Keys of one slot. FLUSHALL, FLUSHDB, SWAPDB, CONFIG SET and RESETSTAT, " +
    "SLOWLOG RESET and FUNCTION's writes run in their places at the transaction's group and, when EXEC " +
    "has run there, at each other group in one go; the rest of those for all groups only where there is " +
    "one group. Commands that the proxy answers itself run when the others have run.",
  exec: "After a watched key's slot has moved, or its server has been replaced: nil.",
  watch: "Keys of one slot. Over a connection of the session's own.",

  // Scripts and functions
  eval:
    "Keys of one slot. Without keys: at the home group, the group of slot 0. A script must declare its " +
    "keys: one that it makes up itself is looked for, and written, where the script runs, which may not " +
    "be that key's group; no server can tell.",
  eval_ro: "As EVAL.",
  evalsha: "As EVAL. A script that the proxy has seen is shown to a server that does not know it.",
  evalsha_ro: "As EVALSHA.",
  fcall: "As EVAL. A group that came back without libraries gets them from another one first.",
  fcall_ro: "As FCALL.",
  "script|exists": "1 where every group has it, or the proxy can show it.",
  "script|kill": "Over connections of its own to every group; one that is killed is enough.",
  "function|load":
    "At every group. An error says at which groups it was done; then `FUNCTION LOAD REPLACE` " +
    "makes them equal.",
  "function|delete": "At every group; as FUNCTION LOAD.",
  "function|flush": "At every group; as FUNCTION LOAD.",
  "function|restore": "At every group; as FUNCTION LOAD.",
  "function|list": "Of the group that has most.",
  "function|dump": "Of the group that has most.",
  "function|stats": "The script that runs, wherever it does. Two at once: the first group's.",
  "function|kill": "As SCRIPT KILL.",

  // Pub/Sub
  publish:
    "At the group of the channel's slot. The number counts the worker's own " +
    "subscribers, and each other worker that has any as one.",
  spublish: "As PUBLISH.",
  subscribe: "Keyspace notifications of all groups come together.",
  psubscribe: "At every group.",

  // Servers
  info:
    "One text made of all groups': numbers are added up, or the worst is taken; what the proxy " +
    "knows better is the proxy's, its clients those of all its workers. A section `Shoal` says what is " +
    "behind it. Groups that do not answer are left out.",
  role: "Always a primary without replicas, with offset 0.",
  lastsave: "The oldest of the groups.",
  bgsave: "At every group. An error says at which groups it was begun.",
  bgrewriteaof: "As BGSAVE.",
  "config|get":
    "Of one group. `port` and `requirepass` are the proxy's; `masterauth` and `masteruser` are " +
    "not shown. Not inside MULTI.",
  "config|set":
    "At every group. What would cut servers off (bind, port, requirepass, masterauth …) can only be set to " +
    "what CONFIG GET shows.",
  "config|rewrite": "At every group.",
  "config|resetstat": "At every group.",
  "slowlog|get":
    "All groups' entries, newest first. Numbers are unique over the groups; the client's name is " +
    "the server's (`g1 host:port`), its address the proxy's. What went to all groups is shown once, by the " +
    "group that took longest. One group: as it is.",
  "slowlog|len": "As many as GET shows; `slowlog-max-len` counts per group.",
  "latency|latest": "Events of one name are one event.",
  "latency|history": "The samples of all groups by time.",
  "latency|histogram":
    "Added up; for a command that goes to all groups, the slowest group's. Without what the proxy answers " +
    "itself.",
  "latency|reset": "Events of one name count once.",
  "latency|graph": "One after the other, under the groups' names.",
  "latency|doctor": "As LATENCY GRAPH.",
  "memory|stats": "Added up; shares and ratios computed anew, or the worst.",
  "memory|doctor": "One after the other, under the groups' names.",
  "memory|malloc-stats": "As MEMORY DOCTOR.",
  monitor:
    "What the primaries of all groups execute, in the order of arrival; the address is the " +
    "proxy's connection. What the proxy answers itself (PING, SELECT, CLIENT …) no server " +
    "executes. A client that reads too slowly is closed at `client_output_bytes_max`.",
  debug:
    "Only with `enable_debug = true` in proxy.toml. Words with a key at its group, others at " +
    "every group; DIGEST, POPULATE and REPLICATE only with one group; never those that end a " +
    "server. SLEEP for longer than `server_timeout_ms` looks like a hung server.",
  time: "Of any group.",
  lolwut: "Of any group.",
  command: "Of any group: what the servers know.",

  // The session
  auth: "Against the proxy's own users.",
  hello: "`version` is the servers', `id` the proxy's.",
  select: "16 databases.",
  readonly: "Replicas may answer this connection's reads: docs/replica-reads.md.",
  readwrite: "The primary answers this connection's reads.",
  "client|pause":
    "The proxy holds its own clients' requests, in all of its workers. Other proxies and the " +
    "servers go on, so keys still expire.",
  "client|unpause": "In all workers of the proxy.",
  "client|list": "The proxy's clients, of all its workers.",
  "client|kill": "As CLIENT LIST.",
  "client|no-evict": "Accepted; clients of the proxy are never evicted.",
  "client|no-touch": "Accepted, without effect.",
  "client|tracking":
    "Answered by the proxy; after a switch or the move of a slot the client is told to forget everything. " +
    "NOLOOP's requests go over connections of their own, by which servers tell its writes from others'; " +
    "what it writes by BLPOP and its kin, or with WATCH, it may be told all the same. A key that is " +
    "evicted may be told behind the reply of the command that evicted it. `tracking-table-max-keys`, " +
    "when it is set through the proxy, counts per worker too.",
  acl: "The proxy's users, in all its workers; changes go to every group's primary too (acl_forward).",
};
