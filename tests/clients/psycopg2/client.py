"""psycopg2 against Thalweg: parameters, types, server-side cursors, COPY, cancelling.

Needs the objects of ../catalog.sql. Prints "ok"; anything else is an error. Usage: client.py PORT
"""

import datetime
import decimal
import io
import sys
import threading
import time

import psycopg2
import psycopg2.extras


def main():
    connection = psycopg2.connect(host="127.0.0.1", port=sys.argv[1], user="tester", dbname="thalweg")
    assert connection.server_version >= 160000, connection.server_version
    cursor = connection.cursor()
    cursor.execute("SELECT * FROM customers WHERE id = %s", [1])
    row = cursor.fetchone()
    moment = datetime.datetime(2019, 11, 1, tzinfo=datetime.timezone.utc)
    assert row == (1, "ann", "a@x", decimal.Decimal("10.50"), datetime.date(2001, 2, 3), moment, True, ["a", "b"]), row
    assert [column.name for column in cursor.description][:3] == ["id", "name", "email"]
    cursor.execute("SELECT id FROM customers WHERE id = ANY(%s) ORDER BY id", [[1, 2, 3]])
    assert cursor.fetchall() == [(1,), (2,)]
    connection.commit()

    psycopg2.extras.execute_values(
        cursor, "INSERT INTO orders VALUES %s RETURNING id", [(50 + n, 1, 1, n, None) for n in range(20)]
    )
    connection.rollback()
    cursor.execute("SELECT count(*) FROM orders WHERE id >= 50")
    assert cursor.fetchone() == (0,), "rolled back"
    connection.commit()

    data = io.StringIO("90\t1\t2\t3.50\t\\N\n91\t1\t2\t4.50\t\\N\n")
    cursor.copy_expert("COPY orders FROM STDIN", data)
    connection.commit()
    cursor.execute("DELETE FROM orders WHERE id >= 90")
    assert cursor.rowcount == 2
    connection.commit()

    threading.Thread(target=lambda: (time.sleep(0.3), connection.cancel())).start()
    try:
        cursor.execute("SELECT count(*) FROM generate_series(1, 100000000000)")
        raise AssertionError("it was not cancelled")
    except psycopg2.errors.QueryCanceled:
        connection.rollback()
    cursor.execute("SELECT 1")
    assert cursor.fetchone() == (1,)
    print("ok")


main()
