-- Every query printed in issue 2, as printed, and queries over the types it names.
SELECT brand, viewers, buyers, round(100.0*buyers/nullif(viewers,0),2) AS conversion FROM brand_funnel ORDER BY revenue DESC NULLS LAST LIMIT 10;
SELECT h.brand, count(*) FROM history h JOIN brand_funnel f ON h.brand = f.brand WHERE f.buyers > 10 GROUP BY 1;
SELECT event_type, count(*) AS events FROM events GROUP BY event_type;
SELECT * FROM event_type_counts;
SELECT * FROM brand_funnel;
SELECT * FROM brand_shares;
SELECT brand,
  count(DISTINCT user_id) FILTER (WHERE event_type='view') AS viewers,
  count(DISTINCT user_id) FILTER (WHERE event_type='cart') AS carters,
  count(DISTINCT user_id) FILTER (WHERE event_type='purchase') AS buyers,
  count(*) FILTER (WHERE event_type='purchase') AS purchases,
  sum(price) FILTER (WHERE event_type='purchase') AS revenue
FROM events GROUP BY brand;
SELECT brand, count(*) AS users,
  round(100.0 * count(*) FILTER (WHERE v AND NOT c AND NOT p) / count(*), 2) AS pct_only_viewed,
  round(100.0 * count(*) FILTER (WHERE c AND NOT p) / count(*), 2) AS pct_carted_not_bought,
  round(100.0 * count(*) FILTER (WHERE p) / count(*), 2) AS pct_bought
FROM (SELECT brand, user_id, bool_or(event_type='view') v, bool_or(event_type='cart') c, bool_or(event_type='purchase') p
      FROM events GROUP BY 1, 2) u GROUP BY brand;
SELECT floor(extract(epoch from event_time)/60)*60 AS "time", count(*) FROM events WHERE event_time BETWEEN '2019-11-01T00:00:00Z' AND '2019-11-01T06:00:00.123Z' GROUP BY 1 ORDER BY 1;
SELECT floor(extract(epoch from minute)/60)*60 AS "time", sum(events) AS events FROM events_per_minute GROUP BY 1 ORDER BY 1;
SELECT minute, event_type, events FROM events_per_minute ORDER BY minute, event_type;
SELECT * FROM events ORDER BY event_time, event_type, product_id, user_id, user_session LIMIT 20;
SELECT count(*), count(brand), count(DISTINCT brand), min(price), max(price), avg(price), sum(price), min(event_time), max(event_time) FROM events;
SELECT avg(user_id), sum(user_id), sum(product_id::int), avg(product_id::int) FROM events;
SELECT price, count(*) FROM events GROUP BY price HAVING count(*) > 20 ORDER BY 2 DESC, 1;
SELECT DISTINCT event_type FROM events ORDER BY 1;
SELECT event_type FROM events UNION SELECT 'x' ORDER BY 1;
SELECT max(revenue), min(revenue), sum(revenue), avg(revenue) FROM brand_funnel;
WITH top AS (SELECT brand, revenue FROM brand_funnel WHERE revenue IS NOT NULL) SELECT count(*), sum(revenue) FROM top;
SELECT 1/0;
SELECT brnd FROM events;
SELECT * FROM nothing;
SELECT 'x'::int;
SELECT brand, count(*) FROM events;
SELECT 1 AS a, 'b' AS b, NULL AS c, 1.50 AS d, true AS e, '2019-11-01'::date AS f, '2019-11-01 00:00:00.5Z'::timestamptz AS g, 0.1::float8 + 0.2 AS h, interval '1 day 02:03:04' AS i;
SELECT count(*) FROM events WHERE false;
SELECT brand FROM events WHERE false;
SELECT;
SELECT bool_and(price > 0), bool_or(price > 1000), every(user_id > 0) FROM events;
SELECT lower(brand), upper(event_type), length(category_code), coalesce(brand, '-') FROM events ORDER BY event_time, product_id, user_id, user_session, event_type LIMIT 5;
SELECT date_trunc('hour', event_time) AS hour, count(*) FROM events GROUP BY 1 ORDER BY 1;
SELECT CASE WHEN price >= 500 THEN 'dear' WHEN price >= 100 THEN 'fair' ELSE 'cheap' END AS class, count(*), round(avg(price), 2) FROM events GROUP BY 1 ORDER BY 1;
SELECT n FROM (SELECT 1 AS one, count(*) AS n FROM events) x WHERE one + 1 <> 2;
SELECT count(*) FROM events HAVING 1 > 2;
SELECT count(*) FROM (SELECT count(*) FROM events) x WHERE 1 = 2;
SELECT a.n, b.n FROM (SELECT count(*) AS n FROM events) a CROSS JOIN (SELECT count(*) AS n FROM events WHERE false) b WHERE 1 + 1 = 3;
SELECT max(x), min(x) FROM (VALUES ('NaN'::float8), (1.5), (-0.25), (NULL)) v(x);
SELECT k, max(x), min(x), max(x::real), count(DISTINCT x) FROM (VALUES (1, 'NaN'::float8), (1, 1.5), (2, -0.25), (2, '-Infinity'), (3, NULL)) v(k, x) GROUP BY k ORDER BY k;
SELECT max(x), min(x) FROM (VALUES ('31 days'::interval), ('1 month'), ('29 days')) v(x);
SELECT x, sum(x) OVER (ORDER BY x ROWS BETWEEN 1 PRECEDING AND CURRENT ROW), max(y) OVER (ORDER BY x ROWS BETWEEN 1 PRECEDING AND CURRENT ROW), min(y) OVER (ORDER BY x) FROM (VALUES (1, 2.5::float8), (2, 'NaN'), (3, 1), (4, NULL)) v(x, y) ORDER BY x;
SELECT upper('ä'), lower('Ä'), initcap('élan vital');
SELECT x, avg(y) OVER (ORDER BY x ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING), sum(y) OVER (ORDER BY x ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING), count(*) OVER (), rank() OVER (ORDER BY y) FROM (VALUES (1, 2.50), (2, 1.125), (3, 1), (4, NULL), (5, 7)) v(x, y) ORDER BY x;
SELECT * FROM brand_funnel WHERE brand = 'xiaomi';
SELECT viewers, buyers FROM brand_funnel WHERE brand = 'nobody makes this';
SELECT events FROM event_type_counts WHERE event_type = 'cart' AND events > 0;
