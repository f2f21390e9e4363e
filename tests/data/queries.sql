-- Queries of every kind over the events, their views and constants: PostgreSQL's answer is the right one.

-- joins
SELECT a.brand, a.buyers, b.users FROM brand_funnel a JOIN brand_shares b ON a.brand = b.brand WHERE a.buyers > 0 ORDER BY 1;
SELECT a.brand, b.brand FROM brand_funnel a LEFT JOIN brand_funnel b ON a.brand = b.brand AND b.buyers > 1 WHERE a.buyers > 0 ORDER BY 1, 2;
SELECT x, y FROM (VALUES (1), (2), (NULL)) a(x) FULL JOIN (VALUES (2), (3), (NULL)) b(y) ON x = y ORDER BY 1, 2;
SELECT x, y FROM (VALUES (1), (2), (NULL)) a(x) RIGHT JOIN (VALUES (2), (3), (NULL)) b(y) ON x < y ORDER BY 1, 2;
SELECT * FROM (VALUES (1, 'a'), (2, 'b')) a(id, v) JOIN (VALUES (1, 'x'), (3, 'y')) b(id, w) USING (id);
SELECT * FROM (VALUES (1, 'a'), (2, 'b')) a(id, v) NATURAL JOIN (VALUES (2, 'x'), (3, 'y')) b(id, w);
SELECT id, a.v, b.w FROM (VALUES (1, 'a'), (2, 'b')) a(id, v) FULL JOIN (VALUES (2, 'x'), (3, 'y')) b(id, w) USING (id) ORDER BY id;
SELECT count(*) FROM (VALUES (1), (2)) a(x), (VALUES (3), (4), (5)) b(y);
SELECT count(*) FROM (VALUES (1), (2)) a(x) CROSS JOIN (VALUES (3), (4), (5)) b(y) WHERE x + 2 < y;
SELECT a.x, b.x, c.x FROM (VALUES (1), (2), (3)) a(x) JOIN (VALUES (1), (2)) b(x) ON a.x = b.x LEFT JOIN (VALUES (2)) c(x) ON c.x = b.x ORDER BY 1;
SELECT a.x, b.y FROM (VALUES (1, 5), (2, 6)) a(x, k) RIGHT JOIN (VALUES (5, 1), (6, 2), (7, 1)) b(k, y) ON a.k = b.k AND b.k IN (5, 5) ORDER BY a.k DESC NULLS LAST, b.y DESC LIMIT 2 OFFSET 1;

-- subqueries
SELECT brand FROM brand_funnel WHERE buyers = (SELECT max(buyers) FROM brand_funnel) ORDER BY 1;
SELECT x FROM (VALUES (1), (2), (3), (NULL)) a(x) WHERE x IN (SELECT y FROM (VALUES (1), (3)) b(y)) ORDER BY 1;
SELECT x FROM (VALUES (1), (2), (3), (NULL)) a(x) WHERE x NOT IN (SELECT y FROM (VALUES (1), (NULL)) b(y)) ORDER BY 1;
SELECT x FROM (VALUES (1), (2), (3), (NULL)) a(x) WHERE x NOT IN (SELECT y FROM (VALUES (1)) b(y) WHERE y > 5) ORDER BY 1;
SELECT x FROM (VALUES (1), (2), (3)) a(x) WHERE EXISTS (SELECT 1 FROM (VALUES (2), (3)) b(y) WHERE y = x) ORDER BY 1;
SELECT x FROM (VALUES (1), (2), (3)) a(x) WHERE NOT EXISTS (SELECT 1 FROM (VALUES (2), (3)) b(y) WHERE y = x) ORDER BY 1;
SELECT x, (SELECT count(*) FROM (VALUES (1), (1), (2)) b(y) WHERE y = x) AS n FROM (VALUES (1), (2), (3)) a(x) ORDER BY 1;
SELECT x, x IN (SELECT y FROM (VALUES (1), (NULL)) b(y)) AS member FROM (VALUES (1), (2), (NULL)) a(x) ORDER BY 1;
SELECT (SELECT 1 WHERE false) IS NULL, coalesce((SELECT 1 WHERE false), 2);
SELECT x IS NULL, x FROM (SELECT (SELECT y FROM (VALUES (1)) v(y) WHERE y > 1) AS x) a;
SELECT x IS NULL, x FROM (SELECT (SELECT y FROM (VALUES (true)) v(y) WHERE NOT y) AS x) a;
SELECT x IS NULL, x FROM (SELECT (SELECT y FROM (VALUES (1.50)) v(y) WHERE y > 1) AS x) a;
SELECT x FROM (SELECT (SELECT y FROM (VALUES ('1 mon'::interval)) v(y)) AS x) a;
SELECT x IS NULL, x + 1 IS NULL FROM (SELECT (SELECT 1 WHERE false) AS x) a;
SELECT x FROM (VALUES (1), (1), (1), (2), (2)) a(x) INTERSECT ALL SELECT x FROM (VALUES (1), (2), (2), (2)) b(x) ORDER BY 1;
SELECT 1 'x';
SELECT 'a' 'b';
SELECT (SELECT x FROM (VALUES (1), (2)) a(x));
SELECT (SELECT 1, 2);
SELECT x FROM (VALUES (1), (2), (3)) a(x) WHERE x = ANY (SELECT y FROM (VALUES (1), (2)) b(y)) ORDER BY x;

-- set operations
SELECT 1 UNION SELECT 2 UNION SELECT 1 ORDER BY 1;
SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 1 ORDER BY 1;
SELECT x FROM (VALUES (1), (1), (2)) a(x) INTERSECT SELECT x FROM (VALUES (1), (3)) b(x);
SELECT x FROM (VALUES (1), (1), (2)) a(x) INTERSECT ALL SELECT x FROM (VALUES (1), (1), (1)) b(x);
SELECT x FROM (VALUES (1), (1), (2)) a(x) EXCEPT SELECT x FROM (VALUES (2)) b(x);
SELECT x FROM (VALUES (1), (1), (1), (2)) a(x) EXCEPT ALL SELECT x FROM (VALUES (1)) b(x) ORDER BY 1;
SELECT 1 AS a UNION SELECT 2.5 ORDER BY a;
SELECT NULL UNION SELECT 'x' ORDER BY 1;
SELECT 1, 2 UNION SELECT 3;
SELECT 1 UNION SELECT 'x'::text;
(SELECT 3 AS x ORDER BY 1 LIMIT 1) UNION ALL (SELECT 1 UNION SELECT 2) ORDER BY x;

-- grouping
SELECT x, count(*) FROM (VALUES (1), (NULL), (1), (NULL)) a(x) GROUP BY x ORDER BY x;
SELECT x % 2 AS odd, sum(x), avg(x), min(x), max(x) FROM (VALUES (1), (2), (3), (4)) a(x) GROUP BY x % 2 ORDER BY odd;
SELECT x % 2 AS odd, sum(x) FROM (VALUES (1), (2), (3), (4)) a(x) GROUP BY odd HAVING sum(x) > 4 ORDER BY 1;
SELECT count(*), count(x), count(DISTINCT x), sum(DISTINCT x) FROM (VALUES (1), (1), (NULL), (2)) a(x);
SELECT sum(x), avg(x), min(x), max(x), bool_and(x > 0), count(x) FROM (VALUES (1)) a(x) WHERE x > 5;
SELECT avg(x), sum(x) FROM (VALUES (1.10), (2.20), (3.300)) a(x);
SELECT avg(x), sum(x) FROM (VALUES (1::smallint), (2::smallint)) a(x);
SELECT sum(x), avg(x) FROM (VALUES (9223372036854775807), (9223372036854775807)) a(x);
SELECT sum(x) FROM (VALUES (2147483647), (2147483647)) a(x);
SELECT string_agg(x, ',' ORDER BY x DESC) FROM (VALUES ('a'), ('b'), (NULL), ('c')) a(x);
SELECT x FROM (VALUES (1), (2)) a(x) GROUP BY x HAVING count(*) > 1;
SELECT 1 FROM (VALUES (1), (2)) a(x) HAVING count(*) > 1;
SELECT brand, count(*) FROM events GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5 OFFSET 2;
SELECT x, y FROM (VALUES (1, 2)) a(x, y) GROUP BY x;
SELECT event_type, count(*) FILTER (WHERE price > 100) AS dear, round(avg(price), 2) FROM events GROUP BY event_type ORDER BY event_type;

-- order, limit, distinct
SELECT x FROM (VALUES (3), (NULL), (1)) a(x) ORDER BY x;
SELECT x FROM (VALUES (3), (NULL), (1)) a(x) ORDER BY x DESC;
SELECT x FROM (VALUES (3), (NULL), (1)) a(x) ORDER BY x NULLS FIRST;
SELECT x FROM (VALUES (3), (NULL), (1)) a(x) ORDER BY x DESC NULLS LAST;
SELECT x FROM (VALUES ('b'), ('B'), ('a'), ('_'), ('Z')) a(x) ORDER BY x;
SELECT x, -x AS y FROM (VALUES (1), (2)) a(x) ORDER BY y;
SELECT x AS y FROM (VALUES (1), (2), (3)) a(x) ORDER BY x * -1 LIMIT 2;
SELECT DISTINCT x FROM (VALUES (1), (1), (NULL), (NULL)) a(x) ORDER BY 1;
SELECT x FROM (VALUES (1), (2), (3)) a(x) ORDER BY 1 LIMIT 1 OFFSET 1;
SELECT x FROM (VALUES (1), (2), (3)) a(x) ORDER BY 1 FETCH FIRST 2 ROWS ONLY;
SELECT x FROM (VALUES (1), (2)) a(x) LIMIT 0;
SELECT x FROM (VALUES (1), (2)) a(x) ORDER BY 3;
SELECT x FROM (VALUES (1), (2)) a(x) LIMIT -1;

-- windows
SELECT x, row_number() OVER (ORDER BY x), rank() OVER (ORDER BY x), dense_rank() OVER (ORDER BY x) FROM (VALUES (1), (1), (2)) a(x) ORDER BY 1, 2;
SELECT g, x, sum(x) OVER (PARTITION BY g ORDER BY x), count(*) OVER (PARTITION BY g) FROM (VALUES ('a', 1), ('a', 2), ('b', 5)) t(g, x) ORDER BY 1, 2;
SELECT x, lag(x) OVER (ORDER BY x), lead(x, 1, 0) OVER (ORDER BY x), first_value(x) OVER (ORDER BY x), last_value(x) OVER (ORDER BY x) FROM (VALUES (1), (2), (3)) a(x) ORDER BY x;
SELECT x, ntile(2) OVER (ORDER BY x), percent_rank() OVER (ORDER BY x), cume_dist() OVER (ORDER BY x) FROM (VALUES (1), (2), (3), (4)) a(x) ORDER BY x;
SELECT x, sum(x) OVER (ORDER BY x RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) FROM (VALUES (1), (1), (2)) a(x) ORDER BY 1, 2;
SELECT brand, rank() OVER (ORDER BY revenue DESC NULLS LAST) AS place FROM brand_funnel WHERE revenue > 0 ORDER BY 2, 1 LIMIT 5;
SELECT x, avg(x) OVER w, max(x) OVER w FROM (VALUES (1), (2), (3)) a(x) WINDOW w AS (ORDER BY x DESC) ORDER BY x;
SELECT * FROM (SELECT brand, buyers, row_number() OVER (PARTITION BY buyers ORDER BY brand) AS n FROM brand_funnel WHERE brand IS NOT NULL) t WHERE n = 1 AND buyers > 0 ORDER BY 2;

-- expressions
SELECT 7 / 2, -7 / 2, 7 % 3, -7 % 3, 7.0 / 2, 7 / 2.0, 2 ^ 10, |/ 16.0, @ -5;
SELECT 1 / 3.0, 10.0 / 3, 1e3, 1.5e-3, 0.1 + 0.2, 1.10 * 2, 5 - 2.50;
SELECT 0.1::float8 + 0.2::float8, 1e20::float8, 1e-7::float8, 'NaN'::float8, '-Infinity'::float8, 1.0::real / 3;
SELECT round(2.5), round(-2.5), round(2.567, 2), round(1234.5, -2), trunc(2.9), ceil(2.1), floor(-2.1), round(2.5::float8), round(3.5::float8);
SELECT abs(-3), sign(-2.5), mod(10, 3), power(2, 3), sqrt(2), exp(0), ln(1), log(100), pi();
SELECT greatest(1, NULL, 3), least(2, 1), coalesce(NULL, NULL, 'x'), nullif(1, 1), nullif(1, 2);
SELECT CASE WHEN 1 > 2 THEN 'a' WHEN NULL THEN 'b' ELSE 'c' END, CASE 2 WHEN 1 THEN 'one' WHEN 2 THEN 'two' END;
SELECT NULL = NULL, NULL IS NULL, 1 IS DISTINCT FROM NULL, NULL AND false, NULL OR true, NOT NULL::bool;
SELECT 'a' || 'b', 'a' || 1, NULL || 'x', concat('a', NULL, 1), concat_ws('-', 'a', NULL, 'b');
SELECT length('häße'), octet_length('ä'), upper('straße'), lower('ÀÉ'), initcap('hello wORLD'), reverse('äbc');
SELECT substring('hello' from 2 for 3), substring('hello', 0, 3), substr('hello', -1), left('hello', 2), left('hello', -2), right('hello', 2), right('hello', -2);
SELECT trim('  x '), btrim('xxaxx', 'x'), ltrim('xxa', 'x'), rtrim('axx', 'x'), trim(both 'x' from 'xax'), lpad('a', 3, 'xy'), rpad('abc', 2);
SELECT position('l' in 'hello'), strpos('hello', 'z'), replace('aXbX', 'X', '++'), split_part('a,b,c', ',', 2), split_part('a,b,c', ',', -1), repeat('ab', 3), translate('12345', '143', 'ax'), starts_with('abc', 'ab'), chr(228), ascii('ä');
SELECT 'abc' LIKE 'a%', 'abc' LIKE '_b_', 'abc' LIKE 'B%', 'abc' ILIKE 'B%', 'ABC' ILIKE 'abc', 'a%c' LIKE 'a\%c', NULL LIKE 'a', 'abc' NOT LIKE 'x%';
SELECT 5 BETWEEN 1 AND 10, 5 NOT BETWEEN 1 AND 4, 3 IN (1, 2, NULL), 1 IN (1, NULL), 3 NOT IN (1, 2), 3 NOT IN (1, NULL);
SELECT '12'::int, 12::text, '1.50'::numeric, 1.999::int, 2.5::int, 3.5::int, -2.5::int, 2.5::float8::int, true::int, 0::bool, 'yes'::bool, 'off'::bool;
SELECT 'abc'::varchar(2), 1.005::numeric(10,2), 12345.678::numeric(7,1), '  42 '::int, 1e3::int, 99999::smallint;
SELECT 123456.789::numeric(5,2);
SELECT 'x'::numeric;
SELECT '2019-02-30'::date;
SELECT 2147483647 + 1;
SELECT 9223372036854775807 + 1;
SELECT 1 / 0.0;
SELECT 'a' + 1;
SELECT 'a'::text + 1;
SELECT foo(1);
SELECT count(*) + x FROM (VALUES (1)) a(x);
SELECT length(1);
SELECT true AND 1;
SELECT sqrt(-1);
SELECT ln(0);

-- time
SELECT '2019-11-01 10:20:30.123456+00'::timestamptz, '2019-11-01T10:20:30Z'::timestamptz, '2019-11-01 10:20:30+02'::timestamptz, '2019-11-01'::timestamptz, '2019-11-01 10:20:30 UTC'::timestamptz;
SELECT date_trunc('hour', '2019-11-01 10:20:30+00'::timestamptz), date_trunc('month', '2019-11-15'::timestamp), date_trunc('week', '2019-11-15'::date), date_trunc('quarter', '2019-11-15 01:00:00'::timestamp);
SELECT extract(year from '2019-11-15'::date), extract(dow from '2019-11-15'::date), extract(doy from '2019-11-15'::date), extract(epoch from '2019-11-15 00:00:00.5+00'::timestamptz), extract(hour from '2019-11-15 13:14:15.5'::timestamp), extract(second from '2019-11-15 13:14:15.5'::timestamp), date_part('minute', '2019-11-15 13:14:15'::timestamp), extract(week from '2021-01-03'::date), extract(isodow from '2021-01-03'::date);
SELECT '2019-11-15'::date + 1, '2019-11-15'::date - '2019-11-01'::date, '2019-11-15'::date + interval '1 month', '2019-01-31'::date + interval '1 month', '2019-11-15 10:00:00+00'::timestamptz - interval '1 day 2 hours', '2019-11-15 10:00+00'::timestamptz - '2019-11-14 08:30+00'::timestamptz;
SELECT interval '1 year 2 months 3 days 04:05:06.7', interval '36 hours', interval '-1 day', interval '1 day' * 1.5, interval '1 month' / 2, interval '90 minutes' + interval '30 minutes', interval '1 day' = interval '24 hours', -interval '1 day 2 hours';
SELECT make_date(2019, 11, 15), to_timestamp(1573812000), date_bin('15 minutes', '2019-11-15 10:22:00+00'::timestamptz, '2019-01-01+00'::timestamptz);
SELECT '2019-11-15 10:00:00+00'::timestamptz AT TIME ZONE 'Europe/Berlin', '2019-11-15 10:00:00'::timestamp AT TIME ZONE 'America/New_York';
SELECT '2019-11-15'::date < '2019-11-15 00:00:01'::timestamp, '2019-11-15'::date = '2019-11-15 00:00:00+00'::timestamptz;
SELECT '0001-01-01'::date, '9999-12-31 23:59:59.999999+00'::timestamptz, '0044-03-15 BC'::date, 'infinity'::timestamp, 'epoch'::timestamptz;
SELECT '2019-11-15 25:00:00'::timestamp;
SELECT extract(fortnight from '2019-11-15'::date);

-- names and shapes
SELECT 1 AS "Quoted Name", 2 "two words", 3 AS select_, 4 four;
SELECT a.* FROM (VALUES (1, 2)) a(x, y);
SELECT "X" FROM (VALUES (1)) a("X");
SELECT x FROM (VALUES (1)) a("X");
SELECT a.x FROM (VALUES (1)) b(x);
SELECT x FROM (VALUES (1)) a(x), (VALUES (2)) b(x);
SELECT * FROM (VALUES (1, 'a', NULL, 2.50, true)) t;
VALUES (1, 'a'), (2, NULL) ORDER BY 1 DESC;
SELECT column1 FROM (VALUES (1), (2)) t ORDER BY 1;
WITH a AS (SELECT 1 AS x), b AS (SELECT x + 1 AS y FROM a) SELECT * FROM a, b;
WITH a(p, q) AS (VALUES (1, 2)) SELECT q, p FROM a;
SELECT e'tab\there', 'it''s', $$dollar$$, U&'\00e4', E'\u00e4';
SELECT 'one'
  'two';
SELECT 1 + 2 * 3, (1 + 2) * 3, NOT true OR true, 2 ^ 3 ^ 2;
SELECT - 1 ^ 2, -(1), +1, 1 - -1;
SELECT x::text || '%' AS pct FROM (VALUES (1.50), (NULL)) a(x);
SELECT count(*) AS n, min(event_time), max(event_time) FROM events WHERE event_type IN ('cart', 'purchase') AND price > 10;
SELECT date_trunc('hour', event_time) AS hour, count(*), count(DISTINCT user_id) FROM events GROUP BY 1 ORDER BY 1;
SELECT split_part(category_code, '.', 1) AS top, count(*) FROM events WHERE category_code IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5;
SELECT user_session, count(*) AS n FROM events GROUP BY 1 HAVING count(*) > 3 ORDER BY 2 DESC, 1 LIMIT 5;
SELECT brand, round(100.0 * purchases / sum(purchases) OVER (), 2) AS share FROM brand_funnel WHERE purchases > 0 ORDER BY 2 DESC, 1 LIMIT 5;
SELECT a.event_type, b.event_type, count(*) FROM events a JOIN events b ON a.user_session = b.user_session AND a.event_time < b.event_time GROUP BY 1, 2 ORDER BY 1, 2;
SELECT brand FROM events WHERE brand ~ '^sam' LIMIT 1;

-- more shapes
SELECT -2 ^ 2, 2 ^ -1, -(2 ^ 2), - 2 ^ 3 ^ 2;
SELECT count(*), max(n) FROM (SELECT user_id, count(*) AS n FROM events GROUP BY user_id) t;
SELECT brand, (SELECT count(*) FROM events e WHERE e.brand = f.brand AND e.event_type = 'purchase') AS n FROM brand_funnel f WHERE buyers > 0 ORDER BY 2 DESC, 1 LIMIT 5;
SELECT brand FROM brand_funnel f WHERE EXISTS (SELECT 1 FROM events e WHERE e.brand = f.brand AND e.price > 1500) ORDER BY 1;
SELECT x, y FROM (VALUES (1, 'a'), (2, NULL)) t(x, y) WHERE y IS NOT DISTINCT FROM NULL;
SELECT bool_or(x > 1), bool_and(x > 0), every(x < 2) FROM (VALUES (1), (2)) t(x);
SELECT corr(x, y), covar_pop(x, y) FROM (VALUES (1.0::float8, 2.0::float8), (2, 4), (3, 7)) t(x, y);
SELECT min(x), max(x) FROM (VALUES ('b'), ('a'), (NULL)) t(x);
SELECT min(x), max(x) FROM (VALUES ('2019-11-01'::date), ('2018-01-01'), (NULL)) t(x);
SELECT x, count(*) FROM (VALUES (0.0::float8), (-0.0::float8), ('NaN'), ('NaN')) t(x) GROUP BY x ORDER BY 2, 1;
SELECT x::numeric(5,2)::text, x::int8, x::float4 FROM (VALUES (1.005), (123.456)) t(x);
SELECT 'a' < 'B', 'a' COLLATE "C" < 'B', 'abc' > 'ab';
SELECT current_date = now()::date, current_timestamp = now();
SELECT CAST('5' AS int) + 1, '5'::int4 + 1, int4 '5' + 1, date '2019-11-15' + 1, timestamp '2019-11-15 10:00' + interval '1h', double precision '1.5';
SELECT x FROM (VALUES (1), (2), (3)) t(x) WHERE x = ANY ('{1,3}') ORDER BY x;
SELECT x FROM (VALUES (1), (2), (3)) t(x) WHERE x <> ALL (ARRAY[1, 3]);
SELECT sum(CASE WHEN event_type = 'view' THEN 1 ELSE 0 END) AS views, count(*) FILTER (WHERE event_type = 'view') AS same FROM events;
SELECT TRUE, FALSE, 't'::bool, 'n'::bool, NOT 'f'::bool;
SELECT 'infinity'::float8 > 1e308, 'nan'::float8 = 'nan'::float8, 'nan'::numeric > 1;
SELECT 5 / 2 * 2.0, 5 / (2 * 2.0), 5::float8 / 2, 5 % 2.5;
