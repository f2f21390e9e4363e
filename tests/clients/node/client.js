// node-postgres against Thalweg: parameters, types, cursors, streams, a pool.
//
// Needs the objects of ../catalog.sql. Prints "ok"; anything else is an error. Usage: node client.js PORT
const assert = require('node:assert');
const { Client, Pool } = require('pg');
const Cursor = require('pg-cursor');

const settings = { host: '127.0.0.1', port: Number(process.argv[2]), user: 'tester', database: 'thalweg' };

async function main() {
  const client = new Client(settings);
  await client.connect();
  const { rows, fields } = await client.query('SELECT * FROM customers WHERE id = $1', [1]);
  assert.deepStrictEqual(fields.map((field) => field.name).slice(0, 3), ['id', 'name', 'email']);
  assert.strictEqual(rows[0].balance, '10.50');
  assert.strictEqual(rows[0].at.toISOString(), '2019-11-01T00:00:00.000Z');
  assert.deepStrictEqual(rows[0].tags, ['a', 'b']);
  for (let round = 0; round < 3; round++) {
    const named = await client.query({ name: 'by id', text: 'SELECT name FROM customers WHERE id = $1', values: [2] });
    assert.strictEqual(named.rows[0].name, 'bob');
  }
  const cursor = client.query(new Cursor('SELECT g FROM generate_series(1, 1000) g'));
  let seen = 0;
  for (let some = await cursor.read(300); some.length > 0; some = await cursor.read(300)) seen += some.length;
  assert.strictEqual(seen, 1000);
  await cursor.close();
  const several = await client.query("SELECT 1 AS a; SELECT 'x' AS b");
  assert.deepStrictEqual(several.map((result) => result.rows[0]), [{ a: 1 }, { b: 'x' }]);
  await assert.rejects(client.query('SELECT nosuch FROM customers'), (error) => error.code === '42703');
  await client.query('BEGIN');
  await client.query('INSERT INTO orders VALUES (40, 1, 1, 1, NULL)');
  await client.query('ROLLBACK');
  await client.end();
  const pool = new Pool({ ...settings, max: 4 });
  const answers = await Promise.all([...Array(20).keys()].map((n) => pool.query('SELECT $1::int AS n', [n])));
  assert.deepStrictEqual(answers.map((answer) => answer.rows[0].n), [...Array(20).keys()]);
  await pool.end();
  console.log('ok');
}

main();
