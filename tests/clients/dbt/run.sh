#!/usr/bin/env bash
# dbt-postgres against Thalweg: run (a materialized view, a view over it), run again, test, docs.
#
# Needs the objects of ../catalog.sql. Prints "ok"; anything else is an error.
# Usage: run.sh PORT DBT (the program, of requirements.txt)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$(dirname "$0")"/{dbt_project.yml,profiles.yml,models} "$work"
cd "$work"
export THALWEG_PORT=$1 DBT_SEND_ANONYMOUS_USAGE_STATS=false
dbt() { "$DBT" --no-use-colors "$@" --profiles-dir . >said 2>&1 || { cat said; exit 1; }; }
DBT=$2
dbt run
# The second run replaces what the first made.
dbt run
dbt test
grep -q 'PASS=3 WARN=0 ERROR=0' said || { cat said; exit 1; }
dbt docs generate
python3 - <<'PYTHON'
import json

nodes = json.load(open("target/catalog.json"))["nodes"]
columns = {name.split(".")[-1]: list(node["columns"]) for name, node in nodes.items()}
assert columns == {"spent": ["customer", "total"], "spenders": ["name", "total"]}, columns
PYTHON
[ "$(psql -X -At -h 127.0.0.1 -p "$1" -U tester -d thalweg -c 'SELECT total FROM spenders ORDER BY name LIMIT 1')" = 15.00 ]
echo ok
