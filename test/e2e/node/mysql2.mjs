// What an app with mysql2 does: node mysql2.mjs HOST PORT. Prints "all passed" at the end.
import assert from "node:assert/strict";
import mysql from "mysql2/promise";

const [host, port] = process.argv.slice(2);
const options = { host, port: Number(port), user: "app", password: "none", database: "placeholder", multipleStatements: true };
const pool = mysql.createPool({ ...options, connectionLimit: 4 });

async function queries() {
  await pool.query("create table mysql2 (n int primary key, text text)");
  await Promise.all(Array.from({ length: 100 }, (_, i) => pool.execute("insert into mysql2 values (?, ?)", [i, `text ${i}`])));
  const [rows] = await pool.execute("select n, text from mysql2 where n >= ? order by n", [90]);
  assert.deepEqual(rows.map((row) => row.text), Array.from({ length: 10 }, (_, i) => `text ${90 + i}`));
  const [results] = await pool.query("select 1 as a; select 2 as b; select count(*) as c from mysql2");
  assert.deepEqual(results.map((rows) => Object.values(rows[0])[0]), [1, 2, 100]);
  await assert.rejects(pool.query("selec 1"), { errno: 1064, sqlState: "42000" });
  const big = "x".repeat(20 * 1024 * 1024);
  const [[{ length }]] = await pool.query("select length(?) as length", [big]);
  assert.equal(length, big.length);
}

async function transactions() {
  const connection = await pool.getConnection();
  await connection.beginTransaction();
  await connection.execute("update mysql2 set text = 'gone'");
  await connection.rollback();
  const [[{ n }]] = await connection.query("select count(*) as n from mysql2 where text = 'gone'");
  assert.equal(n, 0);
  connection.release();
}

async function changeUser() {
  const connection = await mysql.createConnection(options);
  const whoWhere = "select concat(current_user(), ' ', database()) as w, @mark as mark";
  await connection.query("set @mark = 5");
  const [[before]] = await connection.query(whoWhere);
  await connection.changeUser({ user: "somebody", password: "else", database: "elsewhere" });
  const [[after]] = await connection.query(whoWhere);
  assert.equal(after.w, before.w);
  assert.deepEqual([before.mark, after.mark], [5, null]);
  await connection.reset();
  await connection.ping();
  await connection.end();
}

// An app that names its database only once it has logged in.
async function selectDatabase() {
  const connection = await mysql.createConnection({ ...options, database: undefined });
  const where = async () => (await connection.query("select database() as d"))[0][0].d;
  const before = await where();
  for (const text of ["use shop", "USE `shop`;", "/* app */ use shop -- all"]) {
    await connection.query("use information_schema");
    assert.equal(await where(), "information_schema");
    await connection.query(text);
    assert.equal(await where(), before);
  }
  await assert.rejects(connection.query("use nowhere"), (e) => [1044, 1049].includes(e.errno));
  await connection.changeUser({ database: "shop" });
  assert.equal(await where(), before);
  await connection.end();
}

async function kill() {
  const connection = await mysql.createConnection(options);
  const sleeping = assert.rejects(connection.query("select sleep(60)"), { errno: 1317 });
  let found;
  do {
    [[found]] = await pool.query("select count(*) as n from information_schema.processlist where info = 'select sleep(60)'");
  } while (found.n === 0);
  await pool.query(`kill query ${connection.threadId}`);
  await sleeping;
  await connection.end();
}

for (const step of [queries, transactions, changeUser, selectDatabase, kill]) await step();
await pool.end();
console.log("all passed");
