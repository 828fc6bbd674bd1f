// What an app with ioredis does: node ioredis.mjs HOST PORT. Prints "all passed" at the end.
import assert from "node:assert/strict";
import Redis from "ioredis";

const [host, port] = process.argv.slice(2);
const options = { host, port: Number(port), connectionName: "app" };
const redis = new Redis(options);
redis.on("error", (error) => console.error("connection:", error.message));

async function keys() {
  await redis.flushall();
  assert.equal(await redis.set("k", "v"), "OK");
  assert.equal(await redis.get("k"), "v");
  assert.equal(await redis.get("missing"), null);
  const names = Array.from({ length: 100 }, (_, i) => `key:${i}`);
  await redis.mset(Object.fromEntries(names.map((name, i) => [name, i])));
  assert.deepEqual(await redis.mget(...names), names.map((_, i) => String(i)));
  const seen = new Set();
  for await (const batch of redis.scanStream({ match: "key:*", count: 10 })) {
    batch.forEach((name) => seen.add(name));
  }
  assert.equal(seen.size, 100);
  await redis.hset("h", { a: 1, b: 2 });
  assert.deepEqual(await redis.hgetall("h"), { a: "1", b: "2" });
  const binary = Buffer.from([0, 255, 13, 10]);
  await redis.set("binary", binary);
  assert.deepEqual(await redis.getBuffer("binary"), binary);
  await assert.rejects(redis.lpush("k", "x"), /WRONGTYPE/);
  await assert.rejects(redis.call("NOSUCH"), /unknown command/);
  assert.equal(await redis.get("k"), "v");
}

async function pipelines() {
  const pipeline = redis.pipeline();
  for (let i = 0; i < 500; i++) pipeline.set(`p:${i}`, i).get(`p:${i}`);
  const results = await pipeline.exec();
  assert.equal(results.length, 1000);
  results.forEach(([error, value], i) => {
    assert.equal(error, null);
    assert.equal(value, i % 2 ? String((i - 1) / 2) : "OK");
  });
  assert.deepEqual(await redis.multi().set("{t}a", 1).incr("{t}a").exec(), [[null, "OK"], [null, 2]]);
}

async function scripts() {
  redis.defineCommand("addTo", { numberOfKeys: 1, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1])" });
  for (let i = 0; i < 10; i++) assert.equal(await redis.addTo(`s:${i}`, i), i);
}

async function pubsub() {
  const subscriber = redis.duplicate();
  const received = new Promise((resolve) => subscriber.on("message", (channel, message) => resolve([channel, message])));
  await subscriber.subscribe("news");
  assert.equal(await redis.publish("news", "hello"), 1);
  assert.deepEqual(await received, ["news", "hello"]);
  await subscriber.unsubscribe();
  subscriber.disconnect();
}

async function blocking() {
  const worker = redis.duplicate();
  const job = worker.blpop("queue", 30);
  await redis.rpush("queue", "work");
  assert.deepEqual(await job, ["queue", "work"]);
  await redis.xadd("stream", "*", "k", "v");
  const [[name, entries]] = await worker.xread("BLOCK", 1000, "STREAMS", "stream", 0);
  assert.deepEqual([name, entries[0][1]], ["stream", ["k", "v"]]);
  worker.disconnect();
}

async function databases() {
  const other = new Redis({ ...options, db: 2 });
  await other.set("only here", 1);
  assert.equal(await redis.exists("only here"), 0);
  assert.equal(await other.dbsize(), 1);
  await other.flushdb();
  other.disconnect();
}

// Slots know no database but 0.
const oneDatabase = await redis.select(1).then(() => redis.select(0)).then(() => false, () => true);
for (const test of oneDatabase ? [keys, pipelines, scripts, pubsub, blocking] : [keys, pipelines, scripts, pubsub, blocking, databases]) {
  await test();
  console.log("passed", test.name);
}
await redis.quit();
console.log("all passed");
