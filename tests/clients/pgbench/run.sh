#!/usr/bin/env bash
# pgbench against Thalweg: its own scripts of the shape of -S, in the simple, extended and prepared
# protocol, with one client and with several.
#
# Prints "ok"; anything else is an error. Usage: run.sh PORT
set -euo pipefail
cd "$(dirname "$0")"
psql=(psql -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$1" -U tester -d thalweg)
bench=(pgbench -n -h 127.0.0.1 -p "$1" -U tester thalweg)

"${psql[@]}" -c 'DROP TABLE IF EXISTS accounts' -c 'CREATE TABLE accounts (aid int PRIMARY KEY, bid int, balance int, filler text)' \
  -c "INSERT INTO accounts SELECT n, n % 10, 0, 'x' FROM generate_series(1, 1000) n"
for protocol in simple extended prepared; do
  for clients in 1 4; do
    said=$("${bench[@]}" -M $protocol -c $clients -j 2 -t 50 -f select.sql 2>&1)
    grep -q "number of failed transactions: 0 " <<<"$said" || { echo "$protocol $clients: $said"; exit 1; }
    grep -q "number of transactions actually processed: $((50 * clients))/" <<<"$said" || { echo "$protocol $clients: $said"; exit 1; }
  done
  said=$("${bench[@]}" -M $protocol -c 1 -t 20 -f update.sql 2>&1)
  grep -q "actually processed: 20/20" <<<"$said" || { echo "$protocol update: $said"; exit 1; }
done
sum=$("${psql[@]}" -At -c 'SELECT sum(balance) FROM accounts')
[ "$sum" = 60 ] || { echo "the balances sum to $sum"; exit 1; }
echo ok
