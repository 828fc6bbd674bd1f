// What an app with postgres.js does: node postgres.mjs HOST PORT. Prints "all passed" at the end.
import assert from "node:assert/strict";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import postgres from "postgres";

const [host, port] = process.argv.slice(2);
const options = { host, port: Number(port), user: "app", password: "none", database: "placeholder", onnotice: () => {} };
const sql = postgres({ ...options, max: 4 });

async function queries() {
  await sql`create table postgresjs (n int primary key, text text)`;
  const rows = Array.from({ length: 100 }, (_, i) => ({ n: i, text: `text ${i}` }));
  await sql`insert into postgresjs ${sql(rows)}`;
  const found = await sql`select text from postgresjs where n >= ${90} order by n`;
  assert.deepEqual(found.map((row) => row.text), Array.from({ length: 10 }, (_, i) => `text ${90 + i}`));
  const results = await sql`select 1 as a; select 2 as b`.simple();
  assert.deepEqual(results.map((result) => Object.values(result[0])[0]), [1, 2]);
  await assert.rejects(sql`selec 1`, { code: "42601" });
  const big = "x".repeat(20 * 1024 * 1024);
  const [{ length }] = await sql`select length(${big}::text) as length`;
  assert.equal(length, big.length);
}

// The driver sends queries without waiting for the answers of those before.
async function pipelines() {
  const one = postgres({ ...options, max: 1 });
  const answers = await Promise.all(Array.from({ length: 500 }, (_, i) => one`select ${i}::int as i`));
  assert.deepEqual(answers.map((rows) => rows[0].i), Array.from({ length: 500 }, (_, i) => i));
  await one.end();
}

async function transactions() {
  await assert.rejects(sql.begin(async (tx) => {
    await tx`update postgresjs set text = 'gone'`;
    await tx.savepoint(async (inner) => inner`select 1`);
    await tx`select 1 / 0`;
  }), { code: "22012" });
  const [{ n }] = await sql`select count(*)::int as n from postgresjs where text = 'gone'`;
  assert.equal(n, 0);
}

async function streams() {
  const lines = Array.from({ length: 1000 }, (_, i) => `${1000 + i}\tcopied\n`);
  await pipeline(Readable.from(lines), await sql`copy postgresjs from stdin`.writable());
  let size = 0;
  for await (const chunk of await sql`copy (select n from postgresjs where text = 'copied') to stdout`.readable()) size += chunk.length;
  assert.equal(size, 5 * 1000);
  let rows = 0;
  for await (const batch of sql`select n from postgresjs`.cursor(100)) rows += batch.length;
  assert.equal(rows, 1100);
}

async function notifications() {
  let listening;
  const heard = new Promise((resolve) => { listening = sql.listen("news", resolve); });
  await listening;
  await sql.notify("news", "it works");
  assert.equal(await heard, "it works");
}

async function cancel() {
  const query = sql`select pg_sleep(60)`;
  const cancelled = assert.rejects(query, { code: "57014" });
  let found;
  do {
    [found] = await sql`select count(*)::int as n from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'`;
  } while (found.n === 0);
  query.cancel();
  await cancelled;
}

for (const step of [queries, pipelines, transactions, streams, notifications, cancel]) await step();
await sql.end();
console.log("all passed");
