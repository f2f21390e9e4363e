SELECT event_type, events FROM event_type_counts ORDER BY event_type;
SELECT brand, viewers, buyers, round(100.0*buyers/nullif(viewers,0),2) AS conversion FROM brand_funnel ORDER BY revenue DESC NULLS LAST, brand LIMIT 10;
SELECT * FROM brand_funnel ORDER BY brand NULLS LAST;
SELECT * FROM brand_shares ORDER BY users DESC, brand NULLS LAST LIMIT 20;
SELECT minute, event_type, events FROM events_per_minute ORDER BY minute, event_type;
SELECT event_time, event_type, product_id, category_id, category_code, brand, price, user_id, user_session FROM events ORDER BY event_time, user_id, product_id, event_type, user_session LIMIT 50;
SELECT floor(extract(epoch from minute)/60)*60 AS "time", sum(events) AS events FROM events_per_minute GROUP BY 1 ORDER BY 1;
SELECT count(*) AS events FROM events WHERE event_time BETWEEN '2019-11-01T00:00:00Z' AND '2019-11-01T06:00:00.123Z';
SELECT true AS yes, false AS no, NULL::text AS nothing, 42::smallint AS small, 42::int AS number, 42::bigint AS big, 1.5::float8 AS double, 'text'::text AS words, '2019-11-01 12:34:56.789+00'::timestamptz AS moment, date '2019-11-01' AS day, 12.340::numeric AS exact, 12.3::numeric(10,2) AS money;
