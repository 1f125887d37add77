// express-session over connect-redis: a login counter over HTTP: node express-session.mjs PORT
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { RedisStore } from "connect-redis";
import session from "express-session";
import { createClient } from "redis";

const client = createClient({ url: `redis://127.0.0.1:${process.argv[2]}` });
client.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
await client.connect();
const store = new RedisStore({ client, prefix: "web:", ttl: 100 });
const secret = "not much of a secret";

/** One of several web servers behind a balancer: they share nothing but the store. */
async function startWebServer() {
  const withSession = session({ store, secret, resave: false, saveUninitialized: false });
  const server = createServer((request, response) => {
    withSession(request, response, (error) => {
      if (error !== undefined) response.writeHead(500).end(String(error));
      else if (request.url === "/logout") request.session.destroy(() => response.end("bye"));
      else {
        request.session.views = (request.session.views ?? 0) + 1;
        response.end(String(request.session.views));
      }
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

const servers = await Promise.all([startWebServer(), startWebServer()]);
const urlOf = (server) => `http://127.0.0.1:${server.address().port}`;

/** One visitor, sent to the web servers in turn. */
async function visit(visits) {
  let cookie = "";
  for (let i = 1; i <= visits; i++) {
    const headers = cookie === "" ? {} : { cookie };
    const response = await fetch(urlOf(servers[i % servers.length]), { headers });
    cookie ||= response.headers.get("set-cookie").split(";")[0];
    assert.equal(await response.text(), String(i));
  }
  return cookie;
}

const cookies = await Promise.all(Array.from({ length: 20 }, () => visit(5)));
assert.equal(new Set(cookies).size, 20);
const call = (method) =>
  new Promise((resolve, reject) => {
    store[method]((error, value) => (error ? reject(error) : resolve(value)));
  });
assert.equal(await call("length"), 20);
assert.equal(
  (await call("all")).every((each) => each.views === 5),
  true,
);
const ids = await call("ids");
assert.equal((await client.ttl(`web:${ids[0]}`)) > 90, true);

// After the log-out the counter begins again.
const headers = { cookie: cookies[0] };
assert.equal(await (await fetch(`${urlOf(servers[0])}/logout`, { headers })).text(), "bye");
assert.equal(await call("length"), 19);
assert.equal(await (await fetch(urlOf(servers[1]), { headers })).text(), "1");
await call("clear");
assert.equal(await call("length"), 0);

for (const server of servers) {
  server.closeAllConnections();
  server.close();
}
client.destroy();
console.log("round of work done");
