"""Writes the answers of sample.csv beside it, by DuckDB: an engine that shares no code with ours.

    python3 -m venv /tmp/duck && /tmp/duck/bin/pip install duckdb && /tmp/duck/bin/python answers.py

The queries are those of the answers over the real data (shared/data/answers).
"""

import pathlib

import duckdb

here = pathlib.Path(__file__).parent
db = duckdb.connect()
db.execute(
    f"""CREATE TABLE events AS SELECT * FROM read_csv('{here}/sample.csv', header=true, nullstr='',
    columns={{event_time: 'VARCHAR', event_type: 'VARCHAR', product_id: 'BIGINT', category_id: 'BIGINT',
    category_code: 'VARCHAR', brand: 'VARCHAR', price: 'DECIMAL(10,2)', user_id: 'BIGINT', user_session: 'VARCHAR'}})"""
)

ANSWERS = {
    "by_type": """SELECT event_type, count(*) n, sum((price * 100)::BIGINT) cents, count(DISTINCT user_id) users,
        count(DISTINCT user_session) sessions FROM events GROUP BY 1 ORDER BY 1""",
    "by_brand": """SELECT brand, count(*) n, count(*) FILTER (event_type = 'view') AS views,
        count(*) FILTER (event_type = 'cart') carts, count(*) FILTER (event_type = 'purchase') purchases,
        coalesce(sum((price * 100)::BIGINT) FILTER (event_type = 'purchase'), 0) revenue_cents,
        count(DISTINCT user_id) users FROM events GROUP BY 1 ORDER BY n DESC, brand""",
    "brand_shares": """SELECT brand, count(*) users, count(*) FILTER (v AND NOT c AND NOT p) only_viewed,
        count(*) FILTER (c AND NOT p) carted_not_bought, count(*) FILTER (p) bought,
        round(100.0 * only_viewed / users, 2) pct_only_viewed,
        round(100.0 * carted_not_bought / users, 2) pct_carted_not_bought,
        round(100.0 * bought / users, 2) pct_bought
        FROM (SELECT brand, user_id, bool_or(event_type = 'view') v, bool_or(event_type = 'cart') c,
              bool_or(event_type = 'purchase') p FROM events GROUP BY 1, 2) GROUP BY 1 ORDER BY users DESC, brand""",
    "xiaomi_only": """WITH buyers AS (SELECT user_id FROM events WHERE event_type = 'purchase' GROUP BY 1
            HAVING bool_and(coalesce(brand = 'xiaomi' AND category_code = 'electronics.smartphone', false)))
        SELECT user_id, count(*) events, count(*) FILTER (event_type = 'view') AS views,
        count(*) FILTER (event_type = 'purchase') purchases, count(DISTINCT brand) brands_seen
        FROM buyers LEFT JOIN events USING (user_id) GROUP BY 1 ORDER BY 1""",
}

for name, sql in ANSWERS.items():
    db.execute(f"COPY ({sql}) TO '{here}/sample_{name}.csv' (HEADER)")
