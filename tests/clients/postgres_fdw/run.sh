#!/usr/bin/env bash
# postgres_fdw of a real PostgreSQL over Thalweg: its schema imported, tables and views read and changed.
#
# Needs the objects of ../catalog.sql in Thalweg, and a PostgreSQL. Prints "ok"; anything else is an error.
# Usage: run.sh PORT POSTGRES_SOCKET_FOLDER
set -euo pipefail
psql=(psql -X -q -At -v ON_ERROR_STOP=1 -h "$2" -U tester -d postgres)
"${psql[@]}" <<SQL
DROP EXTENSION IF EXISTS postgres_fdw CASCADE;
CREATE EXTENSION postgres_fdw;
CREATE SERVER thalweg FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '$1', dbname 'thalweg');
CREATE USER MAPPING FOR tester SERVER thalweg OPTIONS (user 'tester');
DROP SCHEMA IF EXISTS far CASCADE;
CREATE SCHEMA far;
IMPORT FOREIGN SCHEMA public LIMIT TO (customers, orders, order_names, totals) FROM SERVER thalweg INTO far;
SQL
ask() {
  local answer
  answer=$("${psql[@]}" -c "$1")
  [ "$answer" = "$2" ] || { echo "$1: $answer instead of $2"; exit 1; }
}
ask "SELECT name FROM far.customers WHERE id = 1" ann
ask "SELECT count(*) FROM far.orders WHERE at < '2019-11-02'" 2
ask "SELECT sum(o.amount) FROM far.orders o JOIN far.customers c ON c.id = o.customer WHERE c.name = 'ann'" 15.00
ask "SELECT total FROM far.totals ORDER BY total DESC LIMIT 1" 15.00
ask "SELECT string_agg(name, ',' ORDER BY amount) FROM far.order_names" ann,bob,ann
ask "INSERT INTO far.orders VALUES (30, 1, 2, 1, NULL) RETURNING id" 30
ask "UPDATE far.orders SET amount = 2 WHERE id = 30 RETURNING amount" 2.00
ask "DELETE FROM far.orders WHERE id = 30 RETURNING id" 30
echo ok
