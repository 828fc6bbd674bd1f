// What an app with MariaDB's connector does: node mariadb.mjs HOST PORT. Prints "all passed" at the end.
import assert from "node:assert/strict";
import mariadb from "mariadb";

const [host, port] = process.argv.slice(2);
const options = { host, port: Number(port), user: "app", password: "none", database: "placeholder", multipleStatements: true };
const pool = mariadb.createPool({ ...options, connectionLimit: 4 });

async function queries() {
  await pool.query("create table connector (n int primary key, text text)");
  await pool.batch("insert into connector values (?, ?)", Array.from({ length: 500 }, (_, i) => [i, `text ${i}`]));
  const rows = await pool.execute("select n, text from connector where n >= ? order by n", [490]);
  assert.deepEqual(rows.map((row) => row.text), Array.from({ length: 10 }, (_, i) => `text ${490 + i}`));
  const results = await pool.query("select 1 as a; select 2 as b");
  assert.deepEqual(results.map((rows) => Object.values(rows[0])[0]).map(Number), [1, 2]);
  await assert.rejects(pool.query("selec 1"), { errno: 1064, sqlState: "42000" });
}

// The connector sends commands without waiting for the answers of those before.
async function pipelines() {
  const connection = await mariadb.createConnection({ ...options, pipelining: true });
  const answers = await Promise.all(Array.from({ length: 500 }, (_, i) => connection.query(`select ${i} as i`)));
  assert.deepEqual(answers.map((rows) => Number(rows[0].i)), Array.from({ length: 500 }, (_, i) => i));
  await connection.end();
}

async function streams() {
  const connection = await mariadb.createConnection(options);
  let rows = 0;
  for await (const _ of connection.queryStream("select n from connector")) rows++;
  assert.equal(rows, 500);
  await connection.changeUser({ user: "somebody", password: "else" });
  await connection.reset();
  await connection.ping();
  await connection.end();
}

for (const step of [queries, pipelines, streams]) await step();
await pool.end();
console.log("all passed");
