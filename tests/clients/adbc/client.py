"""ADBC's PostgreSQL driver against Thalweg: queries as Arrow tables, the list of objects.

Needs the objects of ../catalog.sql. Prints "ok"; anything else is an error. Usage: client.py PORT
"""

import sys

import adbc_driver_postgresql.dbapi


def main():
    uri = f"postgresql://tester@127.0.0.1:{sys.argv[1]}/thalweg"
    with adbc_driver_postgresql.dbapi.connect(uri) as connection, connection.cursor() as cursor:
        schema = connection.adbc_get_table_schema("customers")
        assert schema.names[:2] == ["id", "name"], schema
        objects = connection.adbc_get_objects(depth="tables").read_all().to_pylist()
        tables = [
            table["table_name"]
            for catalog in objects
            for schema in catalog["catalog_db_schemas"]
            for table in schema["db_schema_tables"]
        ]
        assert {"customers", "orders", "order_names"} <= set(tables), tables
        cursor.execute("SELECT id, name, balance, at FROM customers ORDER BY id")
        table = cursor.fetch_arrow_table()
        assert table.column("name").to_pylist() == ["ann", "bob"], table
        cursor.execute("SELECT name FROM customers WHERE id = $1", (2,))
        assert cursor.fetchone() == ("bob",)
    print("ok")


main()
