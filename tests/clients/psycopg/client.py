"""psycopg 3 against Thalweg: every query of a file in text and in binary form.

Prints one line a query and, at the end, "ok N". A query whose two forms differ, or any error, ends
it with a traceback. Usage: client.py PORT QUERIES
"""

import sys

import psycopg


def statements(path):
    """The statements of a file: one a line."""
    with open(path, encoding="utf-8") as file:
        return [line.strip().rstrip(";") for line in file if line.strip()]


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
        try:
            connection.execute("SELECT * FROM no_such_table")
            raise AssertionError("an unknown table was found")
        except psycopg.errors.UndefinedTable as error:
            assert 'relation "no_such_table" does not exist' in str(error), error
        assert connection.execute("SELECT 1").fetchone() == (1,), "the session goes on after an error"
    print(f"ok {len(queries)}")


main()
