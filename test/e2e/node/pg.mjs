// What an app with pg (node-postgres) does: node pg.mjs HOST PORT. Prints "all passed" at the end.
import assert from "node:assert/strict";
import pg from "pg";

const [host, port] = process.argv.slice(2);
const options = { host, port: Number(port), user: "app", password: "none", database: "placeholder" };
const pool = new pg.Pool({ ...options, max: 4 });

async function queries() {
  await pool.query("create table pg (n int primary key, text text)");
  const insert = { name: "insert", text: "insert into pg values ($1, $2)" };
  await Promise.all(Array.from({ length: 100 }, (_, i) => pool.query({ ...insert, values: [i, `text ${i}`] })));
  const { rows } = await pool.query("select text from pg where n >= $1 order by n", [90]);
  assert.deepEqual(rows.map((row) => row.text), Array.from({ length: 10 }, (_, i) => `text ${90 + i}`));
  const results = await pool.query("select 1 as a; select 2 as b; select count(*)::int as c from pg");
  assert.deepEqual(results.map((result) => Object.values(result.rows[0])[0]), [1, 2, 100]);
  await assert.rejects(pool.query("selec 1"), { code: "42601" });
  const big = "x".repeat(20 * 1024 * 1024);
  const { rows: [{ length }] } = await pool.query("select length($1::text) as length", [big]);
  assert.equal(length, big.length);
  const { rows: [{ text }] } = await pool.query("select repeat('y', 20 * 1024 * 1024) as text");
  assert.equal(text, "y".repeat(20 * 1024 * 1024));
}

async function transactions() {
  const client = await pool.connect();
  await client.query("begin");
  await client.query("update pg set text = 'gone'");
  await assert.rejects(client.query("select 1 / 0"), { code: "22012" });
  await assert.rejects(client.query("select 1"), { code: "25P02" });
  await client.query("rollback");
  const { rows: [{ n }] } = await client.query("select count(*)::int as n from pg where text = 'gone'");
  assert.equal(n, 0);
  client.release();
}

async function notifications() {
  const client = new pg.Client(options);
  await client.connect();
  await client.query("listen news");
  const heard = new Promise((resolve) => client.once("notification", resolve));
  await pool.query("select pg_notify('news', 'it works')");
  assert.equal((await heard).payload, "it works");
  const noticed = new Promise((resolve) => client.once("notice", resolve));
  await client.query("do $$ begin raise notice 'look'; end $$");
  assert.equal((await noticed).message, "look");
  await client.end();
}

// The driver cancels as libpq does: over another connection, by the key that it was given.
async function cancel() {
  const [busy, other] = [new pg.Client(options), new pg.Client(options)];
  await busy.connect();
  const text = "select pg_sleep(60)";
  const query = new pg.Query(text);
  const ended = new Promise((resolve) => query.on("error", resolve));
  busy.query(query);
  let found;
  do {
    ({ rows: [found] } = await pool.query("select count(*)::int as n from pg_stat_activity where query = $1 and state = 'active'", [text]));
  } while (found.n === 0);
  other.cancel(busy, query);
  assert.equal((await ended).code, "57014");
  assert.equal((await busy.query("select 1 as one")).rows[0].one, 1);
  await busy.end();
}

for (const step of [queries, transactions, notifications, cancel]) await step();
await pool.end();
console.log("all passed");
