"""psycopg 3 against Thalweg: every query of a file in text and in binary form, and values of the types that
no query of the file has, as parameters, results and through COPY.

Prints one line a query and, at the end, "ok N". A query whose two forms differ, or any error, ends
it with a traceback. Usage: client.py PORT QUERIES
"""

import datetime
import sys
import uuid

import psycopg
from psycopg.types.json import Json, Jsonb


def statements(path):
    """The statements of a file: one a line."""
    with open(path, encoding="utf-8") as file:
        return [line.strip().rstrip(";") for line in file if line.strip()]


def types(connection):
    """uuid, time, char(n), json, jsonb and their arrays: there and back, in both forms and by COPY."""
    own = uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
    clock = datetime.time(4, 5, 6, 789123)
    row = (own, clock, "ab", {"a": 1}, {"b": [1, None], "a": "x"}, [own, None], [clock], [{"a": 1}], ["x"])
    given = (*row[:3], Json(row[3]), Jsonb(row[4]), *row[5:7], [Jsonb({"a": 1})], row[8])
    expected = (*row[:2], "ab   ", *row[3:])
    columns = "id uuid PRIMARY KEY, t time, c char(5), j json, b jsonb, ids uuid[], ts time[], bs jsonb[], cs bpchar[]"
    connection.execute(f"CREATE TABLE typed ({columns})")
    for form in ("%t", "%b"):
        with connection.cursor(binary=form == "%b") as cursor:
            cursor.execute(f"INSERT INTO typed VALUES ({', '.join([form] * len(given))})", given)
            assert cursor.execute("SELECT * FROM typed").fetchall() == [expected]
            where = f"id = {form} AND t = {form} AND c = {form} AND b @> {form}"
            found = cursor.execute(f"SELECT id FROM typed WHERE {where}", (own, clock, "ab", Jsonb({"a": "x"})))
            assert found.fetchall() == [(own,)]
            for options in ("FORMAT binary", "FORMAT csv"):
                with cursor.copy(f"COPY typed TO STDOUT ({options})") as copy:
                    data = b"".join(bytes(block) for block in copy)
                cursor.execute("DELETE FROM typed")
                with cursor.copy(f"COPY typed FROM STDIN ({options})") as copy:
                    copy.write(data)
                assert cursor.execute("SELECT * FROM typed").fetchall() == [expected], options
            cursor.execute("DELETE FROM typed")
    connection.execute("DROP TABLE typed")


def main():
    port, path = sys.argv[1:3]
    queries = statements(path)
    with psycopg.connect(host="127.0.0.1", port=port, user="tester", dbname="thalweg", autocommit=True) as connection:
        assert connection.info.parameter_status("server_encoding") == "UTF8"
        assert connection.info.parameter_status("integer_datetimes") == "on"
        for query in queries:
            with connection.cursor() as cursor:
                text = cursor.execute(query, prepare=False).fetchall()
                names = [column.name for column in cursor.description]
            with connection.cursor(binary=True) as cursor:
                binary = cursor.execute(query, prepare=True).fetchall()
            assert text == binary, f"{query}\ntext   {text}\nbinary {binary}"
            print(f"{len(text)} rows of {names}: {query[:60]}")
        with connection.cursor() as cursor:
            row = cursor.execute("SELECT events FROM event_type_counts WHERE event_type = %s", ["view"]).fetchone()
            again = cursor.execute("SELECT events FROM event_type_counts WHERE event_type = %b", ["view"]).fetchone()
            assert row == again and row[0] > 0, (row, again)
        types(connection)
        try:
            connection.execute("SELECT * FROM no_such_table")
            raise AssertionError("an unknown table was found")
        except psycopg.errors.UndefinedTable as error:
            assert 'relation "no_such_table" does not exist' in str(error), error
        assert connection.execute("SELECT 1").fetchone() == (1,), "the session goes on after an error"
    print(f"ok {len(queries)}")


main()
