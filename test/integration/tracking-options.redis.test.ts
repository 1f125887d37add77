/** The options of CLIENT TRACKING and its kin, and their errors: as one bare server answers them. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { Rig, TRANSPORTS } from "../robustness/rig.ts";
import { RedisProcess } from "../support/redis-process.ts";
import { TrackingClient, type Value } from "./tracking-client.ts";

setDefaultTimeout(30_000);

let servers: RedisProcess[];
let bare: RedisProcess;

beforeAll(async () => {
  servers = await Promise.all([RedisProcess.start(), RedisProcess.start(), RedisProcess.start()]);
  bare = await RedisProcess.start();
});

afterAll(async () => {
  await Promise.all([...servers, bare].map((server) => server.dispose()));
});

/** Words of one session each; "ME" stands for its own id, "OTHER" for another session's. */
const SCRIPTS: readonly (readonly string[])[] = [
  ["TRACKINGINFO", "GETREDIR", "TRACKING ON", "TRACKINGINFO", "GETREDIR", "TRACKING OFF", "TRACKINGINFO"],
  ["TRACKING", "TRACKING MAYBE", "TRACKING ON nonsense", "TRACKING ON PREFIX", "TRACKING ON REDIRECT"],
  ["TRACKING ON REDIRECT abc", "TRACKING ON REDIRECT 999999", "TRACKING ON REDIRECT -1", "TRACKINGINFO"],
  ["TRACKING ON REDIRECT ME REDIRECT ME", "TRACKING ON REDIRECT OTHER", "GETREDIR", "TRACKINGINFO"],
  ["TRACKING ON PREFIX a", "TRACKING ON BCAST PREFIX a PREFIX ab", "TRACKING ON BCAST PREFIX ab PREFIX a"],
  ["TRACKING ON BCAST", "TRACKINGINFO", "TRACKING ON BCAST PREFIX a", "TRACKING OFF", "TRACKINGINFO"],
  ["TRACKING ON BCAST PREFIX a PREFIX b", "TRACKINGINFO", "TRACKING ON BCAST PREFIX c", "TRACKINGINFO"],
  ["TRACKING ON BCAST PREFIX foo", "TRACKING ON BCAST PREFIX foobar", "TRACKING ON BCAST PREFIX foo"],
  ["TRACKING ON BCAST", "TRACKING ON", "TRACKING OFF", "TRACKING ON", "TRACKING ON BCAST", "TRACKINGINFO"],
  ["TRACKING ON OPTIN OPTOUT", "TRACKING ON BCAST OPTIN", "TRACKING ON BCAST OPTOUT", "TRACKINGINFO"],
  ["TRACKING ON OPTIN", "TRACKING ON OPTOUT", "TRACKINGINFO", "TRACKING ON OPTIN NOLOOP", "TRACKINGINFO"],
  ["TRACKING ON OPTOUT", "TRACKING ON OPTIN", "TRACKING ON NOLOOP", "TRACKINGINFO"],
  ["CACHING YES", "CACHING", "TRACKING ON", "CACHING YES", "CACHING NO", "CACHING maybe"],
  ["TRACKING ON OPTIN", "CACHING YES", "TRACKINGINFO", "TRACKINGINFO", "CACHING NO", "CACHING maybe"],
  ["TRACKING ON OPTOUT", "CACHING NO", "TRACKINGINFO", "CACHING YES", "CACHING maybe", "CACHING YES NO"],
  ["tracking on bcast noloop prefix x", "trackinginfo", "getredir", "TRACKING OFF OPTIN", "TRACKING OFF"],
  ["TRACKING OFF PREFIX a", "TRACKING OFF BCAST nonsense", "TRACKINGINFO x", "GETREDIR x"],
];

async function answersOf(port: number, protocol: 2 | 3, script: readonly string[]): Promise<Value[]> {
  const [client, other] = await Promise.all([0, 1].map(() => TrackingClient.connect(port, protocol)));
  const [me, others] = await Promise.all(
    [client, other].map(async (each) => String(await each.call("CLIENT", "ID"))),
  );
  const answers: Value[] = [];
  for (const words of script) {
    const filled = words.replaceAll("ME", me).replace("OTHER", others);
    const answer = await client.call("CLIENT", ...filled.split(" "));
    const text = JSON.stringify(answer, (_key, value) => (String(value) === others ? "OTHER" : value));
    answers.push(words, JSON.parse(text) as Value);
  }
  client.close();
  other.close();
  return answers;
}

describe.each(TRANSPORTS)("CLIENT TRACKING's options (%s)", (io) => {
  let rig: Rig;

  beforeAll(async () => {
    rig = await Rig.start(servers, io);
  });
  afterAll(() => rig.dispose());

  for (const protocol of [2, 3] as const) {
    test.each(SCRIPTS)(`RESP${protocol}: %s, %s …`, async (...script) => {
      const expected = await answersOf(bare.port, protocol, script);
      expect(await answersOf(rig.port, protocol, script)).toEqual(expected);
    });
  }
});
