"""psqlodbc through pyodbc against Thalweg: statements and the catalog functions of ODBC.

Needs the objects of ../catalog.sql and Debian's odbc-postgresql. Prints "ok"; anything else is an
error. Usage: client.py PORT
"""

import sys

import pyodbc


def main():
    driver = "DRIVER={PostgreSQL Unicode};SERVER=127.0.0.1;DATABASE=thalweg;UID=tester;"
    connection = pyodbc.connect(f"{driver}PORT={sys.argv[1]}", autocommit=True)
    cursor = connection.cursor()
    names = {row.table_name for row in cursor.tables(schema="public")}
    assert {"customers", "orders", "order_names", "totals"} <= names, names
    assert [row.column_name for row in cursor.columns(table="orders")] == ["id", "line", "customer", "amount", "at"]
    assert [row.column_name for row in cursor.primaryKeys(table="orders")] == ["id", "line"]
    found = {(row.index_name, row.column_name) for row in cursor.statistics(table="orders") if row.index_name}
    assert ("orders_customer", "customer") in found and ("orders_pkey", "line") in found, found
    assert list(cursor.foreignKeys(table="orders")) == []
    assert any(row.type_name == "int4" for row in cursor.getTypeInfo())
    row = cursor.execute("SELECT id, name, balance, born FROM customers WHERE id = ?", 1).fetchone()
    assert (row.id, row.name, str(row.balance), str(row.born)) == (1, "ann", "10.50", "2001-02-03"), row
    cursor.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", [(60 + n, 1, 1, n, None) for n in range(3)])
    assert cursor.execute("DELETE FROM orders WHERE id >= 60").rowcount == 3
    connection.autocommit = False
    cursor.execute("INSERT INTO orders VALUES (60, 1, 1, 1, NULL)")
    connection.rollback()
    assert cursor.execute("SELECT count(*) FROM orders WHERE id >= 60").fetchone()[0] == 0
    connection.commit()
    print("ok")


main()
