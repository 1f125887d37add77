// Socket.IO with its Redis adapter: two servers, messages across: node socket-io.mjs PORT [sharded]
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";
import { io as connect } from "socket.io-client";

const [port, kind] = process.argv.slice(2);
const clients = [];

async function redisClient() {
  const client = createClient({ url: `redis://127.0.0.1:${port}` });
  client.on("error", (error) => {
    console.error(error);
    process.exit(1);
  });
  await client.connect();
  clients.push(client);
  return client;
}

async function startServer() {
  const [pubClient, subClient] = [await redisClient(), await redisClient()];
  const make = kind === "sharded" ? createShardedAdapter : createAdapter;
  const http = createServer();
  const io = new Server(http, { adapter: make(pubClient, subClient) });
  io.on("connection", (socket) => {
    socket.on("join", async (room, done) => {
      await socket.join(room);
      done();
    });
    socket.on("say", (room, text) => io.to(room).emit("said", text));
    socket.on("shout", (text) => io.emit("said", text));
  });
  io.of("/").adapter.on("error", () => undefined);
  await new Promise((resolve) => http.listen(0, "127.0.0.1", resolve));
  return { io, http, url: `http://127.0.0.1:${http.address().port}` };
}

const servers = [await startServer(), await startServer()];

async function startVisitor(server) {
  const socket = connect(server.url, { transports: ["websocket"], reconnection: false });
  const heard = [];
  socket.on("said", (text) => heard.push(text));
  await new Promise((resolve, reject) => {
    socket.on("connect", resolve);
    socket.on("connect_error", reject);
  });
  return { socket, heard };
}

async function until(condition, what) {
  const deadline = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`Not so in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const [here, there, outside] = await Promise.all([servers[0], servers[1], servers[1]].map(startVisitor));
await here.socket.emitWithAck("join", "room");
await there.socket.emitWithAck("join", "room");

// Across the servers, to those in the room, each message once and in order.
for (let i = 0; i < 50; i++) here.socket.emit("say", "room", `message ${i}`);
await until(() => there.heard.length >= 50 && here.heard.length >= 50, "the room has heard all");
const messages = Array.from({ length: 50 }, (_, i) => `message ${i}`);
assert.deepEqual(there.heard, messages);
assert.deepEqual(here.heard, messages);
assert.deepEqual(outside.heard, []);
there.socket.emit("shout", "to all");
await until(() => [here, there, outside].every(({ heard }) => heard.at(-1) === "to all"), "all have heard");

// Questions to all servers: who is there, and a word from server to server.
assert.equal((await servers[0].io.fetchSockets()).length, 3);
assert.equal((await servers[1].io.in("room").fetchSockets()).length, 2);
servers[1].io.on("ask", (question, reply) => reply(`${question}: yes`));
assert.deepEqual(await servers[0].io.serverSideEmitWithAck("ask", "there"), ["there: yes"]);

for (const { socket } of [here, there, outside]) socket.disconnect();
for (const { io, http } of servers) {
  await io.close();
  http.close();
}
await Promise.all(clients.map((client) => client.close()));
console.log("round of work done");
