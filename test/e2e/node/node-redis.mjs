// What an app with node-redis does, in RESP2 and RESP3: node node-redis.mjs HOST PORT. Prints "all passed" at the end.
import assert from "node:assert/strict";
import { createClient } from "redis";

const [host, port] = process.argv.slice(2);

async function connect(RESP) {
  const client = createClient({ RESP, name: "app", socket: { host, port: Number(port) } });
  client.on("error", (error) => console.error("connection:", error.message));
  return client.connect();
}

async function keys(client) {
  await client.flushAll();
  assert.equal(await client.set("k", "v"), "OK");
  assert.equal(await client.get("missing"), null);
  const names = Array.from({ length: 100 }, (_, i) => `key:${i}`);
  await client.mSet(Object.fromEntries(names.map((name, i) => [name, String(i)])));
  assert.deepEqual(await client.mGet(names), names.map((_, i) => String(i)));
  const seen = new Set();
  for await (const batch of client.scanIterator({ MATCH: "key:*", COUNT: 10 })) {
    batch.forEach((name) => seen.add(name));
  }
  assert.equal(seen.size, 100);
  await client.hSet("h", { a: 1, b: 2 });
  assert.deepEqual({ ...(await client.hGetAll("h")) }, { a: "1", b: "2" });
  await client.zAdd("z", [{ score: 1.5, value: "a" }, { score: 2, value: "b" }]);
  assert.deepEqual(await client.zRangeWithScores("z", 0, -1), [{ score: 1.5, value: "a" }, { score: 2, value: "b" }]);
  await assert.rejects(client.lPush("k", "x"), /WRONGTYPE/);
  // node-redis sends what is asked for in the same tick as one pipeline.
  const replies = await Promise.all(names.map((name) => client.incr(name)));
  assert.deepEqual(replies, names.map((_, i) => i + 1));
}

async function transactions(client) {
  assert.deepEqual(await client.multi().set("{t}a", "1").incr("{t}a").get("{t}a").exec(), ["OK", 2, "2"]);
}

async function scripts(client) {
  const sha = await client.scriptLoad("return redis.call('INCRBY', KEYS[1], ARGV[1])");
  for (let i = 0; i < 10; i++) {
    assert.equal(await client.evalSha(sha, { keys: [`s:${i}`], arguments: [String(i)] }), i);
  }
}

async function pubsub(client) {
  const subscriber = await client.duplicate().connect();
  let resolve;
  const received = new Promise((r) => (resolve = r));
  await subscriber.subscribe("news", (message, channel) => resolve([channel, message]));
  assert.equal(await client.publish("news", "hello"), 1);
  assert.deepEqual(await received, ["news", "hello"]);
  await subscriber.unsubscribe("news");
  subscriber.destroy();
}

async function blocking(client) {
  const worker = await client.duplicate().connect();
  const job = worker.blPop("queue", 30);
  await client.rPush("queue", "work");
  assert.deepEqual({ ...(await job) }, { key: "queue", element: "work" });
  worker.destroy();
}

for (const RESP of [2, 3]) {
  const client = await connect(RESP);
  for (const test of [keys, transactions, scripts, pubsub, blocking]) {
    await test(client);
    console.log("passed", test.name, "with RESP", RESP);
  }
  await client.close();
}
console.log("all passed");
