"""asyncpg against Thalweg: binary forms of all types, introspection, cursors, COPY, a pool.

Needs the objects of ../catalog.sql. Prints "ok"; anything else is an error. Usage: client.py PORT
"""

import asyncio
import datetime
import decimal
import sys

import asyncpg


async def main():
    settings = dict(host="127.0.0.1", port=int(sys.argv[1]), user="tester", database="thalweg")
    connection = await asyncpg.connect(**settings)
    assert connection.get_server_version().major >= 16
    row = await connection.fetchrow("SELECT * FROM customers WHERE id = $1", 1)
    moment = datetime.datetime(2019, 11, 1, tzinfo=datetime.timezone.utc)
    wanted = (1, "ann", "a@x", decimal.Decimal("10.50"), datetime.date(2001, 2, 3), moment, True, ["a", "b"])
    assert tuple(row) == wanted, row
    kept = await connection.fetchrow(
        "SELECT $1::int2, $2::int8, $3::float8, $4::numeric, $5::text, $6::bytea, $7::timestamptz, $8::int[], $9::interval",
        1, 2**40, 1.5, decimal.Decimal("12.340"), "text", b"\x00\xff", moment, [1, None, 3], datetime.timedelta(days=1, hours=2),
    )
    assert tuple(kept) == (
        1, 2**40, 1.5, decimal.Decimal("12.340"), "text", b"\x00\xff", moment, [1, None, 3], datetime.timedelta(days=1, hours=2),
    ), kept
    names = await connection.fetch("SELECT relname, relkind::text, oid FROM pg_class WHERE relname = ANY($1) ORDER BY 1", ["customers", "totals"])
    assert [(name, kind) for name, kind, _ in names] == [("customers", "r"), ("totals", "m")], names
    oid = names[0]["oid"]
    assert await connection.fetchval("SELECT $1::regclass::text", "customers") == "customers"
    assert await connection.fetchval("SELECT 'customers'::regclass::oid") == oid
    async with connection.transaction():
        seen = [row["g"] async for row in connection.cursor("SELECT g FROM generate_series(1, 5000) g", prefetch=100)]
    assert seen == list(range(1, 5001))
    await connection.executemany(
        "INSERT INTO orders VALUES ($1, $2, $3, $4, $5)", [(80 + n, 1, 1, decimal.Decimal(n), None) for n in range(3)]
    )
    assert await connection.execute("DELETE FROM orders WHERE id >= 80") == "DELETE 3"
    try:
        await asyncio.wait_for(connection.fetchval("SELECT count(*) FROM generate_series(1, 100000000000)"), 0.3)
        raise AssertionError("it was not cancelled")
    except asyncio.TimeoutError:
        pass
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    async with asyncpg.create_pool(min_size=2, max_size=4, **settings) as pool:
        answers = await asyncio.gather(*(pool.fetchval("SELECT $1::int", n) for n in range(20)))
        assert answers == list(range(20))
    print("ok")


asyncio.run(main())
