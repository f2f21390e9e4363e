SELECT current_setting('server_version_num')::int/100 as version
SELECT extname, extversion FROM pg_extension WHERE extname = 'timescaledb'
SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'
SELECT quote_ident(table_name) AS "table" FROM information_schema.tables WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', '_timescaledb_cache', '_timescaledb_catalog', '_timescaledb_internal', '_timescaledb_config', 'timescaledb_information', 'timescaledb_experimental') ORDER BY CASE WHEN quote_ident(table_schema) IN ( SELECT CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END FROM generate_series( array_lower(string_to_array(current_setting('search_path'),','),1), array_upper(string_to_array(current_setting('search_path'),','),1) ) as i, string_to_array(current_setting('search_path'),',') s ) THEN 0 ELSE 1 END, 1
SELECT CASE WHEN quote_ident(table_schema) IN ( SELECT CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END FROM generate_series( array_lower(string_to_array(current_setting('search_path'),','),1), array_upper(string_to_array(current_setting('search_path'),','),1) ) as i, string_to_array(current_setting('search_path'),',') s ) THEN quote_ident(table_name) ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS "table" FROM information_schema.tables WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', '_timescaledb_cache', '_timescaledb_catalog', '_timescaledb_internal', '_timescaledb_config', 'timescaledb_information', 'timescaledb_experimental')
SELECT quote_ident(column_name) AS "column", data_type AS "type" FROM information_schema.columns WHERE CASE WHEN array_length(parse_ident('brand_funnel'),1) = 2 THEN quote_ident(table_schema) = (parse_ident('brand_funnel'))[1] AND quote_ident(table_name) = (parse_ident('brand_funnel'))[2] ELSE quote_ident(table_name) = 'brand_funnel' AND quote_ident(table_schema) IN ( SELECT CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END FROM generate_series( array_lower(string_to_array(current_setting('search_path'),','),1), array_upper(string_to_array(current_setting('search_path'),','),1) ) as i, string_to_array(current_setting('search_path'),',') s ) END
SELECT quote_ident(table_name) as "table" FROM information_schema.tables t WHERE quote_ident(table_schema) NOT IN ('information_schema','pg_catalog') AND table_type='BASE TABLE' AND EXISTS( SELECT 1 FROM information_schema.columns c WHERE c.table_schema=t.table_schema AND c.table_name=t.table_name AND udt_name IN ('int8','numeric')) LIMIT 1
SELECT DISTINCT brand AS __text FROM brand_funnel
SELECT brand, viewers FROM brand_funnel WHERE brand IN ('samsung','apple')
SELECT event_time AS "time", count(*) AS n FROM events WHERE event_time BETWEEN '2019-11-01T00:00:00Z' AND '2019-11-01T06:00:00.123Z' GROUP BY 1 ORDER BY 1 LIMIT 3
SELECT floor(extract(epoch from event_time)/300)*300 AS "time", count(*) FROM events GROUP BY 1 ORDER BY 1 LIMIT 3
SELECT time_bucket('60.000s', event_time) AS "time", count(*) FROM events GROUP BY 1 ORDER BY 1 LIMIT 3
SELECT time_bucket('60.000s',event_time) AS "time", count(*) FROM events WHERE extract(epoch from event_time) >= 1572566400 AND extract(epoch from event_time) <= 1572588000 GROUP BY 1 ORDER BY 1 LIMIT 3
SELECT (extract(epoch from event_time)/60)::bigint*60 AS "time", event_type AS metric, count(*) FROM events GROUP BY 1,2 ORDER BY 1 LIMIT 3
SELECT user
SELECT parse_ident('"Some Schema".t')
SELECT (parse_ident('a.b'))[1]
SELECT current_setting('search_path'), quote_ident('Az'), quote_literal('it''s'), quote_nullable(null)
SELECT s[i] FROM generate_series(1,2) i, string_to_array('a,b',',') s
