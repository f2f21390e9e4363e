-- Subqueries of every kind: PostgreSQL's answer is the right one. The first statement is put
-- before each of the others.

WITH t(id, a, b, s) AS (VALUES (1, 1, 10, 'x'), (2, 1, 20, 'y'), (3, 2, 20, NULL), (4, NULL, 30, 'x'), (5, 3, NULL, 'z'), (6, 3, 10, 'x'), (6, 3, 10, 'x')),
  u(k, v, w, n) AS (VALUES (1, 5, 'x', 1.50), (1, 15, 'y', 2.5), (2, 20, 'x', NULL), (NULL, 25, 'x', 1.5), (4, NULL, 'z', 0), (2, 20, NULL, 2.50)),
  e(k, v) AS (SELECT k, v FROM u WHERE k > 100),
  f(x, y) AS (VALUES (1.0::float8, 1), ('-0'::float8, 2), (0, 3), ('NaN', 4), (NULL, 5));

-- uncorrelated values
SELECT id, (SELECT max(v) FROM u) AS m FROM t ORDER BY 1;
SELECT id, (SELECT v FROM e) AS m FROM t ORDER BY 1;
SELECT id FROM t WHERE a = (SELECT min(k) FROM u) ORDER BY 1;
SELECT id FROM t WHERE a = (SELECT k FROM e) ORDER BY 1;
SELECT id, (SELECT k FROM u) FROM t ORDER BY 1;
SELECT id, CASE WHEN id > 100 THEN (SELECT k FROM u) ELSE 0 END AS c FROM t ORDER BY 1;
SELECT (SELECT w FROM u ORDER BY v NULLS LAST LIMIT 1) AS w;
SELECT (SELECT 1) + (SELECT 2) AS three, EXISTS (SELECT 1 FROM e) AS nothing, EXISTS (SELECT 1 FROM u) AS some;
SELECT id FROM t WHERE EXISTS (SELECT 1 FROM e) ORDER BY 1;
SELECT id FROM t WHERE NOT EXISTS (SELECT 1 FROM e) ORDER BY 1;
SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE v > 20) ORDER BY 1;
SELECT id FROM t WHERE id > 100 AND b = (SELECT v FROM u WHERE u.k >= t.a) ORDER BY 1;

-- values by equality
SELECT id, (SELECT sum(v) FROM u WHERE u.k = t.a) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT count(*) FROM u WHERE u.k = t.a) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT count(*) + 1 FROM u WHERE u.k = t.a) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT coalesce(sum(v), -1) FROM u WHERE u.k = t.a) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT count(*) FROM e WHERE e.k = t.a) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT count(v) * 10 + t.id FROM u WHERE u.k = t.a) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT v FROM u WHERE u.k = t.a) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT v FROM u WHERE u.k = t.a) AS m FROM t WHERE a IS NULL OR a = 3 ORDER BY 1, 2;
SELECT id, (SELECT DISTINCT v FROM u WHERE u.k = t.a) AS m FROM t WHERE a <> 1 ORDER BY 1, 2;
SELECT id, (SELECT w FROM u WHERE u.k = t.a ORDER BY v DESC LIMIT 1) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT w FROM u WHERE u.k = t.a ORDER BY v, w LIMIT 1 OFFSET 1) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT max(n)::numeric(5,2) FROM u WHERE u.w = t.s) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT min(n) FROM u WHERE u.w = t.s HAVING count(*) > 1) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT count(*) FROM u WHERE u.w = t.s HAVING count(*) < 1) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT max(c) FROM (SELECT count(*) AS c FROM u WHERE u.k = t.a GROUP BY w) x) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT max(c) FROM (SELECT count(*) AS c FROM u WHERE u.k = t.a) x) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT sum(v) FROM u WHERE u.k = t.a + 1) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT sum(v) FROM u WHERE u.k - 1 = t.a AND u.w = t.s) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT sum(v) FROM u WHERE u.k IS NOT DISTINCT FROM t.a) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT count(*) FROM u WHERE u.k = t.a AND t.b = 10) AS m FROM t ORDER BY 1, 2;
SELECT id FROM t WHERE b > (SELECT avg(v) FROM u WHERE u.k = t.a) ORDER BY 1;
SELECT id FROM t WHERE 2 = (SELECT count(*) FROM u WHERE u.k = t.a) ORDER BY 1;
SELECT id FROM t WHERE 0 = (SELECT count(*) FROM u WHERE u.k = t.a) ORDER BY 1;
SELECT id FROM t WHERE (SELECT sum(v) FROM u WHERE u.k = t.a) IS NULL ORDER BY 1;
SELECT y, (SELECT count(*) FROM f g WHERE g.x = f.x) AS n FROM f ORDER BY 1;
SELECT y, (SELECT sum(g.y) FROM f g WHERE g.x >= f.x) AS n FROM f ORDER BY 1;
SELECT k, n, (SELECT count(*) FROM u o WHERE o.n = u.n) AS c FROM u ORDER BY 1, 2, 3;
SELECT k, n, (SELECT count(*) FROM u o WHERE o.n <= u.n) AS c FROM u ORDER BY 1, 2, 3;

-- values by other conditions
SELECT id, (SELECT count(*) FROM u WHERE u.v < t.b) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT sum(v) FROM u WHERE u.v < t.b AND u.k = t.a) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT sum(v + t.b) FROM u) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT t.b) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT t.b WHERE t.a = 1) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT max(c) FROM (VALUES (t.a), (t.b)) x(c)) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT sum(c) FROM (SELECT t.a AS c UNION ALL SELECT v FROM u WHERE u.k = t.a) x) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT sum(c) FROM (SELECT v AS c FROM u WHERE u.k = t.a UNION SELECT k FROM u WHERE u.k = t.a) x) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT count(*) FROM (SELECT v FROM u WHERE u.k = t.a EXCEPT SELECT t.b) x) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT count(*) FROM (SELECT v FROM u INTERSECT SELECT t.b) x) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT count(*) FROM (SELECT v FROM u WHERE u.k = t.a EXCEPT ALL SELECT 20) x) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT sum(r) FROM (SELECT row_number() OVER (ORDER BY v) AS r FROM u WHERE u.k = t.a) x) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT max(r) FROM (SELECT sum(v) OVER (ORDER BY v) + t.id AS r FROM u WHERE u.v < t.b) x) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT count(*) FROM (SELECT v FROM u WHERE u.v <= t.b ORDER BY v LIMIT 2) x) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT sum(v) FROM (SELECT v FROM u WHERE u.v <= t.b ORDER BY v DESC LIMIT 2 OFFSET 1) x) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT count(*) FROM u JOIN u o ON u.k = o.k AND o.v > t.b) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT count(*) FROM u LEFT JOIN e ON u.k = e.k AND e.v > t.b WHERE e.k IS NULL AND u.k = t.a) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT count(o.k) FROM u LEFT JOIN u o ON u.k = o.k AND o.v = t.b) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT count(o.k) FROM (SELECT * FROM u WHERE u.k = t.a) i RIGHT JOIN u o ON i.v = o.v) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT count(*) FROM (SELECT * FROM u WHERE u.k = t.a) i FULL JOIN (SELECT * FROM u WHERE u.v > t.b) o ON i.v = o.v) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT count(*) FROM (SELECT * FROM u WHERE u.k = t.a) i JOIN (SELECT * FROM u WHERE u.k = t.a) o ON i.v <> o.v) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT count(*) FROM (SELECT * FROM u WHERE u.k = t.a) i, (SELECT * FROM u WHERE u.v > t.b) o) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT count(DISTINCT v) FROM u WHERE u.v < t.b) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT count(*) FILTER (WHERE v > t.b) FROM u) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT v FROM u WHERE u.v > t.b) AS m FROM t WHERE b = 20 ORDER BY 1, 2;
SELECT id, (SELECT v FROM u WHERE u.v > t.b) AS m FROM t ORDER BY 1, 2;
SELECT id, (SELECT max(v) FROM u WHERE u.v < t.b GROUP BY ()) AS m FROM t ORDER BY 1, 2;

-- EXISTS
SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.k = t.a) ORDER BY 1;
SELECT id FROM t WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.k = t.a) ORDER BY 1;
SELECT id FROM t WHERE NOT (NOT EXISTS (SELECT 1 FROM u WHERE u.k = t.a)) ORDER BY 1;
SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.v < t.b) ORDER BY 1;
SELECT id FROM t WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.v < t.b AND u.k <> t.a) ORDER BY 1;
SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE t.a = 1) ORDER BY 1;
SELECT id FROM t WHERE EXISTS (SELECT count(*) FROM u WHERE u.k = t.a) ORDER BY 1;
SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.k = t.a GROUP BY w HAVING count(*) > 1) ORDER BY 1;
SELECT id FROM t WHERE EXISTS (SELECT w FROM u WHERE u.k = t.a GROUP BY w HAVING max(v) > t.b) ORDER BY 1;
SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.k = t.a HAVING count(*) = 0) ORDER BY 1;
SELECT id FROM t WHERE EXISTS (SELECT v FROM u WHERE u.k = t.a UNION ALL SELECT k FROM u WHERE u.v = t.b) ORDER BY 1;
SELECT id FROM t WHERE EXISTS (SELECT DISTINCT v FROM u WHERE u.k = t.a ORDER BY v LIMIT 1) ORDER BY 1;
SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.k = t.a LIMIT 0) ORDER BY 1;
SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.k = t.a OFFSET 1) ORDER BY 1;
SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.k = t.a) OR b = 30 ORDER BY 1;
SELECT id, EXISTS (SELECT 1 FROM u WHERE u.k = t.a) AS x, NOT EXISTS (SELECT 1 FROM u WHERE u.v < t.b) AS y FROM t ORDER BY 1;
SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.k = t.a AND EXISTS (SELECT 1 FROM u o WHERE o.w = u.w AND o.v > t.b)) ORDER BY 1;
SELECT id FROM t WHERE NOT EXISTS (SELECT 1 FROM u WHERE NOT EXISTS (SELECT 1 FROM u o WHERE o.k = t.a AND o.w = u.w)) ORDER BY 1;
SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u LEFT JOIN e ON e.k = t.a WHERE u.k = t.a) ORDER BY 1;
SELECT id FROM t WHERE EXISTS (SELECT 1 FROM (SELECT k AS kk, v + 1 AS vv FROM u) x WHERE x.kk = t.a AND vv > t.b) ORDER BY 1;
SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.k = t.a) AND NOT EXISTS (SELECT 1 FROM u WHERE u.v = t.b) AND id > 0 ORDER BY 1;
SELECT id FROM t WHERE id <> 3 AND EXISTS (SELECT 1 FROM u WHERE 60 / (t.id - 3) > u.v) ORDER BY 1;

-- IN
SELECT id FROM t WHERE a IN (SELECT k FROM u) ORDER BY 1;
SELECT id FROM t WHERE a NOT IN (SELECT k FROM u) ORDER BY 1;
SELECT id FROM t WHERE a NOT IN (SELECT k FROM u WHERE k IS NOT NULL) ORDER BY 1;
SELECT id FROM t WHERE a NOT IN (SELECT k FROM e) ORDER BY 1;
SELECT id FROM t WHERE NOT a IN (SELECT k FROM u WHERE k = 1) ORDER BY 1;
SELECT id FROM t WHERE a IN (SELECT k FROM u WHERE u.v < t.b) ORDER BY 1;
SELECT id FROM t WHERE a NOT IN (SELECT k FROM u WHERE u.v < t.b) ORDER BY 1;
SELECT id FROM t WHERE a NOT IN (SELECT k FROM u WHERE u.w = t.s) ORDER BY 1;
SELECT id FROM t WHERE a IN (SELECT u.k + t.id - t.id FROM u) ORDER BY 1;
SELECT id FROM t WHERE a IN (SELECT max(k) FROM u WHERE u.w = t.s) ORDER BY 1;
SELECT id FROM t WHERE a IN (SELECT k FROM u WHERE u.k = t.a ORDER BY v LIMIT 1) ORDER BY 1;
SELECT id FROM t WHERE a IN (SELECT k FROM u UNION SELECT 3) ORDER BY 1;
SELECT id, a IN (SELECT k FROM u) AS x, a NOT IN (SELECT k FROM u) AS y, a IN (SELECT k FROM e) AS z FROM t ORDER BY 1;
SELECT id, a IN (SELECT k FROM u WHERE u.w = t.s) AS x, a NOT IN (SELECT k FROM u WHERE u.v < t.b) AS y FROM t ORDER BY 1;
SELECT id FROM t WHERE a IN (SELECT k FROM u) OR a IS NULL ORDER BY 1;
SELECT id FROM t WHERE a IN (SELECT k FROM u) IS NULL ORDER BY 1;
SELECT id FROM t WHERE (a IN (SELECT k FROM u)) = (b IN (SELECT v FROM u)) ORDER BY 1;
SELECT k, v FROM u WHERE n IN (SELECT n + 0.000 FROM u WHERE k = 1) ORDER BY 1, 2;
SELECT y FROM f WHERE x IN (SELECT x FROM f WHERE y > 1) ORDER BY 1;
SELECT y FROM f WHERE x NOT IN (SELECT x FROM f WHERE y = 3) ORDER BY 1;
SELECT id FROM t WHERE (a, b) IN (SELECT k, v FROM u) ORDER BY 1;
SELECT id FROM t WHERE (a, b) NOT IN (SELECT k, v FROM u) ORDER BY 1;
SELECT id FROM t WHERE (a, b) NOT IN (SELECT k, v FROM u WHERE k IS NOT NULL AND v IS NOT NULL) ORDER BY 1;
SELECT id FROM t WHERE (a, b) NOT IN (SELECT k, v FROM e) ORDER BY 1;
SELECT id, (a, b) IN (SELECT k, v FROM u) AS x, (a, s) NOT IN (SELECT k, w FROM u WHERE u.v < t.b) AS y FROM t ORDER BY 1;
SELECT id FROM t WHERE (a, b) IN (SELECT k, v FROM u WHERE u.w = t.s) ORDER BY 1;
SELECT id FROM t WHERE (a, b) IN (SELECT k FROM u) ORDER BY 1;
SELECT id FROM t WHERE a IN (SELECT k, v FROM u) ORDER BY 1;
SELECT id FROM t WHERE a IN (SELECT w FROM u) ORDER BY 1;
SELECT id FROM t WHERE 3 IN (SELECT t.a) ORDER BY 1;
SELECT id FROM t WHERE a IN (SELECT k FROM u WHERE v IN (SELECT v FROM u o WHERE o.w = t.s)) ORDER BY 1;
SELECT id FROM t WHERE a + (SELECT min(k) FROM u) IN (SELECT k FROM u) ORDER BY 1;

-- ANY and ALL
SELECT id FROM t WHERE b > ALL (SELECT v FROM u WHERE u.k = t.a) ORDER BY 1;
SELECT id FROM t WHERE b > ALL (SELECT v FROM u) ORDER BY 1;
SELECT id FROM t WHERE b > ANY (SELECT v FROM u) ORDER BY 1;
SELECT id FROM t WHERE b <= ALL (SELECT v FROM u WHERE v IS NOT NULL AND v > 15) ORDER BY 1;
SELECT id FROM t WHERE b >= SOME (SELECT v FROM u WHERE u.w = t.s) ORDER BY 1;
SELECT id FROM t WHERE a = ALL (SELECT k FROM u WHERE u.w = t.s) ORDER BY 1;
SELECT id FROM t WHERE a <> ANY (SELECT k FROM u) ORDER BY 1;
SELECT id FROM t WHERE a <> ALL (SELECT k FROM u WHERE k > 1) ORDER BY 1;
SELECT id, b > ALL (SELECT v FROM u WHERE u.k = t.a) AS x, b < ANY (SELECT v FROM u WHERE u.k = t.a) AS y, b > ALL (SELECT v FROM e) AS z FROM t ORDER BY 1;
SELECT y FROM f WHERE x >= ALL (SELECT x FROM f WHERE x IS NOT NULL) ORDER BY 1;
SELECT k, v FROM u WHERE n < ANY (SELECT n FROM u) ORDER BY 1, 2;
SELECT id FROM t WHERE NOT b > ALL (SELECT v FROM u WHERE u.k = t.a) ORDER BY 1;

-- in every clause
SELECT a, (SELECT count(*) FROM u WHERE u.k = t.a) AS n FROM t GROUP BY a ORDER BY 1;
SELECT a, sum(b), (SELECT sum(v) FROM u WHERE u.k = t.a) AS n FROM t GROUP BY a HAVING sum(b) > (SELECT min(v) FROM u WHERE u.k = t.a) ORDER BY 1;
SELECT a, count(*) FROM t GROUP BY a HAVING EXISTS (SELECT 1 FROM u WHERE u.k = t.a) ORDER BY 1;
SELECT a, count(*) FROM t GROUP BY a HAVING a IN (SELECT k FROM u) ORDER BY 1;
SELECT a, count(*) FROM t GROUP BY a HAVING count(*) > (SELECT count(*) FROM u WHERE u.k = t.b);
SELECT a + 1 AS c, (SELECT count(*) FROM u WHERE u.k = t.a + 1) AS n FROM t GROUP BY a + 1 ORDER BY 1;
SELECT (SELECT count(*) FROM u WHERE u.k = t.a) AS n, count(*) FROM t GROUP BY 1 ORDER BY 1;
SELECT sum((SELECT count(*) FROM u WHERE u.k = t.a)) AS n FROM t;
SELECT s, max((SELECT sum(v) FROM u WHERE u.k = t.a)) AS n, count(*) FILTER (WHERE a IN (SELECT k FROM u)) AS c FROM t GROUP BY s ORDER BY 1;
SELECT id FROM t ORDER BY (SELECT sum(v) FROM u WHERE u.k = t.a), id;
SELECT DISTINCT (SELECT sum(v) FROM u WHERE u.k = t.a) AS n FROM t ORDER BY 1;
SELECT id, rank() OVER (ORDER BY (SELECT sum(v) FROM u WHERE u.k = t.a)) AS r FROM t ORDER BY 1, 2;
SELECT id, sum((SELECT count(*) FROM u WHERE u.k = t.a)) OVER (PARTITION BY s ORDER BY id) AS r FROM t ORDER BY 1, 2;
SELECT id, CASE WHEN EXISTS (SELECT 1 FROM u WHERE u.k = t.a) THEN (SELECT max(v) FROM u WHERE u.k = t.a) WHEN a IN (SELECT 3) THEN -3 ELSE -1 END AS c FROM t ORDER BY 1;
SELECT id, CASE WHEN a = 2 THEN (SELECT DISTINCT v FROM u WHERE u.k = t.a) ELSE -1 END AS c FROM t ORDER BY 1;
SELECT id, coalesce((SELECT v FROM e WHERE e.k = t.a), t.b, 0) AS c FROM t ORDER BY 1;
SELECT id, (SELECT max(v) FROM u WHERE u.k = t.a) BETWEEN 10 AND 20 AS c FROM t ORDER BY 1;
SELECT t.id, u.v FROM t JOIN u ON u.k = t.a AND u.v > (SELECT avg(v) FROM u o WHERE o.k = u.k) ORDER BY 1, 2;
SELECT t.id, u.v FROM t JOIN u ON EXISTS (SELECT 1 FROM u o WHERE o.k = t.a AND o.w = u.w) ORDER BY 1, 2;
SELECT t.id, u.v FROM t LEFT JOIN u ON u.k = t.a AND u.v >= (SELECT avg(v) FROM u o WHERE o.k = u.k) ORDER BY 1, 2;
SELECT t.id, u.v FROM t LEFT JOIN u ON u.k = t.a AND EXISTS (SELECT 1 FROM e WHERE e.k = t.a) ORDER BY 1, 2;
SELECT t.id, u.v FROM t LEFT JOIN u ON u.k = t.a AND t.b > (SELECT min(v) FROM u) ORDER BY 1, 2;
SELECT t.id, u.v FROM t LEFT JOIN u ON EXISTS (SELECT 1 FROM u o WHERE o.k = t.a AND o.v > u.v) ORDER BY 1, 2;
SELECT t.id, u.v FROM t RIGHT JOIN u ON EXISTS (SELECT 1 FROM u o WHERE o.k = t.a AND o.v > u.v) ORDER BY 1, 2;
SELECT t.id, u.v FROM t FULL JOIN u ON u.k = t.a AND u.v IN (SELECT v FROM u WHERE k = 1) ORDER BY 1, 2;
VALUES ((SELECT count(*) FROM u)), ((SELECT sum(b) FROM t));
SELECT x FROM (VALUES ((SELECT min(k) FROM u)), (7)) v(x) ORDER BY 1;
SELECT id FROM t JOIN u USING (id) WHERE true;
SELECT a, (SELECT count(*) FROM u WHERE u.k = a) AS n FROM t JOIN (SELECT k AS a FROM u) x USING (a) ORDER BY 1, 2;
SELECT a, (SELECT count(*) FROM u WHERE u.k = a) AS n FROM t FULL JOIN (SELECT k AS a FROM u) x USING (a) ORDER BY 1, 2;

-- levels
SELECT id, (SELECT (SELECT max(o.v) FROM u o WHERE o.k = u.k AND o.v < t.b) FROM u WHERE u.v = 5) AS n FROM t ORDER BY 1, 2;
SELECT id, (SELECT max((SELECT count(*) FROM u o WHERE o.w = u.w AND o.k = t.a)) FROM u) AS n FROM t ORDER BY 1, 2;
SELECT id, (SELECT sum((SELECT max(o.v) FROM u o WHERE o.k = u.k)) FROM u WHERE u.w = t.s) AS n FROM t ORDER BY 1, 2;
SELECT id FROM t WHERE a IN (SELECT k FROM u WHERE v > (SELECT avg(v) FROM u o WHERE o.w = t.s AND o.k <= u.k)) ORDER BY 1;
SELECT id FROM t WHERE b = (SELECT max(v) FROM u WHERE u.k = (SELECT max(o.k) FROM u o WHERE o.w = t.s)) ORDER BY 1;
SELECT id, (SELECT count(*) FROM u WHERE EXISTS (SELECT 1 FROM u o WHERE o.k = u.k AND o.v + u.v > t.b)) AS n FROM t ORDER BY 1, 2;
SELECT id, (SELECT count(*) FROM u WHERE u.k NOT IN (SELECT o.k FROM u o WHERE o.v > t.b AND o.k IS NOT NULL)) AS n FROM t ORDER BY 1, 2;
SELECT id, (WITH c AS (SELECT v FROM u WHERE u.k = t.a) SELECT count(*) FROM c WHERE v = (SELECT max(v) FROM c)) AS n FROM t ORDER BY 1, 2;
SELECT id, (WITH c AS (SELECT k, v FROM u WHERE u.v < t.b) SELECT count(*) FROM c WHERE EXISTS (SELECT 1 FROM c d WHERE d.k = c.k AND d.v <> c.v)) AS n FROM t ORDER BY 1, 2;
SELECT * FROM (SELECT id, (SELECT count(*) FROM u WHERE u.k = t.a) AS n FROM t) x WHERE n > (SELECT min(k) FROM u) ORDER BY 1;
SELECT id FROM (SELECT id, a FROM t ORDER BY id LIMIT 3) x WHERE EXISTS (SELECT 1 FROM u WHERE u.v < 10 * x.a) ORDER BY 1;
SELECT id, (SELECT count(*) FROM u WHERE u.v < 10 * x.a) AS n FROM (SELECT id, a FROM t ORDER BY id LIMIT 3) x ORDER BY 1;
SELECT id, (SELECT sum(v) FROM u WHERE u.k = t.a) AS n FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.k = t.a AND u.v > (SELECT min(v) FROM u o WHERE o.k = t.a)) ORDER BY 1 LIMIT 3;
SELECT e.k, (SELECT count(*) FROM u WHERE u.v < e.v) AS n FROM e;
SELECT count(*) AS n, (SELECT count(*) FROM u) AS m FROM e;

-- LATERAL
SELECT t.id, x.v FROM t, LATERAL (SELECT v FROM u WHERE u.k = t.a) x ORDER BY 1, 2;
SELECT t.id, x.v FROM t LEFT JOIN LATERAL (SELECT v FROM u WHERE u.k = t.a) x ON true ORDER BY 1, 2;
SELECT t.id, x.v FROM t LEFT JOIN LATERAL (SELECT v FROM u WHERE u.k = t.a ORDER BY v DESC LIMIT 1) x ON true ORDER BY 1, 2;
SELECT t.id, x.v FROM t CROSS JOIN LATERAL (SELECT v FROM u WHERE u.v < t.b ORDER BY v LIMIT 2) x ORDER BY 1, 2;
SELECT t.id, x.n FROM t, LATERAL (SELECT count(*) AS n FROM u WHERE u.k = t.a) x ORDER BY 1, 2;
SELECT t.id, x.n FROM t JOIN LATERAL (SELECT count(*) AS n, max(v) AS m FROM u WHERE u.k = t.a) x ON x.n > 0 ORDER BY 1, 2;
SELECT t.id, x.n FROM t LEFT JOIN LATERAL (SELECT count(*) AS n FROM u WHERE u.k = t.a) x ON x.n > 0 ORDER BY 1, 2;
SELECT t.id, x.c, y.d FROM t, LATERAL (SELECT t.a + 1 AS c) x, LATERAL (SELECT x.c * 2 AS d) y ORDER BY 1, 2;
SELECT t.id, x.k, y.v FROM t, LATERAL (SELECT k, w FROM u WHERE u.k = t.a) x, LATERAL (SELECT v FROM u WHERE u.w = x.w AND u.v > t.b) y ORDER BY 1, 2, 3;
SELECT t.id, y.v FROM t CROSS JOIN (u JOIN LATERAL (SELECT u.v + t.id AS v) y ON true) WHERE u.k = t.a ORDER BY 1, 2;
SELECT t.id, x.c FROM t, LATERAL (VALUES (t.a), (t.b), (0)) x(c) ORDER BY 1, 2;
SELECT t.id, x.c FROM t, LATERAL (SELECT t.a AS c UNION SELECT t.b UNION SELECT v FROM u WHERE u.k = t.a) x ORDER BY 1, 2;
SELECT t.id, x.c FROM t, LATERAL (SELECT DISTINCT w AS c FROM u WHERE u.v >= t.b) x ORDER BY 1, 2;
SELECT t.id, (SELECT sum(x.c) FROM u, LATERAL (SELECT u.v + t.id AS c) x WHERE u.k = t.a) AS n FROM t ORDER BY 1, 2;
SELECT t.id, x.n FROM t, LATERAL (SELECT u.v, (SELECT count(*) FROM u o WHERE o.k = u.k AND o.v <> t.b) AS n FROM u WHERE u.k = t.a) x ORDER BY 1, 2;
SELECT t.id, x.v FROM t, (SELECT v FROM u WHERE u.k = t.a) x;
SELECT w, x.id FROM (SELECT DISTINCT w FROM u) g, LATERAL (SELECT id FROM t WHERE t.s = g.w ORDER BY b DESC NULLS LAST, id LIMIT 2) x ORDER BY 1, 2;

-- grouping sets
SELECT a, s, count(*), sum(b) FROM t GROUP BY GROUPING SETS ((a), (s), ()) ORDER BY 1, 2, 3, 4;
SELECT a, s, count(*), grouping(a, s) AS g FROM t GROUP BY ROLLUP (a, s) ORDER BY 1, 2, 4;
SELECT a, s, count(*), grouping(a) AS g, grouping(s) AS h FROM t GROUP BY CUBE (a, s) ORDER BY 1, 2, 4, 5;
SELECT a, s, b, count(*) FROM t GROUP BY a, ROLLUP (s, b) ORDER BY 1, 2, 3, 4;
SELECT a, s, count(*) FROM t GROUP BY GROUPING SETS (ROLLUP (a, s), (s)) ORDER BY 1, 2, 3;
SELECT a, s, count(*) FROM t GROUP BY ROLLUP ((a, s), b) ORDER BY 1, 2, 3;
SELECT a, count(*) FROM t GROUP BY GROUPING SETS ((a), (a)) ORDER BY 1, 2;
SELECT a, count(*) FROM t WHERE id > 100 GROUP BY ROLLUP (a) ORDER BY 1;
SELECT count(*) FROM t WHERE id > 100 GROUP BY ();
SELECT 1 AS one FROM t GROUP BY GROUPING SETS ((), ());
SELECT a, sum(b) FROM t GROUP BY ROLLUP (a) HAVING grouping(a) = 0 AND sum(b) > 20 ORDER BY 1;
SELECT coalesce(s, 'all') AS s, count(*) AS n, count(DISTINCT a) AS m FROM t GROUP BY ROLLUP (s) ORDER BY 1, 2;
SELECT a + 1 AS c, grouping(a + 1) AS g, count(*) FROM t GROUP BY CUBE (a + 1) ORDER BY 1, 2;
SELECT a, (SELECT count(*) FROM u WHERE u.k = t.a) AS n, count(*) FROM t GROUP BY ROLLUP (a) ORDER BY 1, 2, 3;
SELECT a, s, count(*) FROM t GROUP BY (a, s) ORDER BY 1, 2;
SELECT a, rank() OVER (PARTITION BY grouping(a) ORDER BY sum(b)) AS r FROM t GROUP BY ROLLUP (a) ORDER BY 1, 2;
SELECT a, grouping(b) FROM t GROUP BY a;
SELECT id FROM t WHERE grouping(id) = 0;
SELECT id, (SELECT max(c) FROM (SELECT count(*) AS c FROM u WHERE u.k = t.a GROUP BY ROLLUP (w)) x) AS m FROM t ORDER BY 1;

-- DISTINCT ON
SELECT DISTINCT ON (a) a, id FROM t ORDER BY a, id DESC;
SELECT DISTINCT ON (a) id FROM t ORDER BY a, b DESC NULLS LAST, id;
SELECT DISTINCT ON (s, a) a, s, id FROM t ORDER BY a, s, id;
SELECT DISTINCT ON (1) s AS x, id FROM t ORDER BY x, id LIMIT 3;
SELECT DISTINCT ON (a + 1) a, b FROM t ORDER BY a + 1, b;
SELECT DISTINCT ON (a) a, count(*) FROM t GROUP BY a, s ORDER BY a, count(*) DESC;
SELECT DISTINCT ON (a) a, id FROM t ORDER BY id;
SELECT DISTINCT ON (a, s) a, s FROM t ORDER BY a, id;
SELECT id, (SELECT count(*) FROM (SELECT DISTINCT ON (w) w, v FROM u WHERE u.v <= t.b ORDER BY w, v) x) AS n FROM t ORDER BY 1;

-- IS DISTINCT FROM in joins
SELECT t.id, u.v FROM t JOIN u ON t.a IS NOT DISTINCT FROM u.k ORDER BY 1, 2;
SELECT t.id, u.v FROM t LEFT JOIN u ON t.a IS NOT DISTINCT FROM u.k AND t.b = u.v ORDER BY 1, 2;
SELECT t.id, u.v, o.id AS other FROM t JOIN u ON t.a IS NOT DISTINCT FROM u.k JOIN t o ON o.b = u.v WHERE o.a = t.a ORDER BY 1, 2, 3;
SELECT t.id, u.v, o.id AS other FROM t JOIN u ON t.s IS NOT DISTINCT FROM u.w JOIN t o ON o.b IS NOT DISTINCT FROM u.v AND o.a = t.a ORDER BY 1, 2, 3;
SELECT count(*) FROM t JOIN u ON t.a IS DISTINCT FROM u.k;

-- aggregates of the outer query
SELECT (SELECT max(t.b)) AS m FROM t;
SELECT a, (SELECT count(*) FROM u WHERE u.k < count(t.b)) AS n FROM t GROUP BY a ORDER BY 1;
SELECT a, (SELECT sum(t.b) + max(v) FROM u WHERE u.k = t.a) AS n FROM t GROUP BY a ORDER BY 1;
SELECT a FROM t GROUP BY a HAVING EXISTS (SELECT 1 FROM u WHERE u.v > sum(t.b)) ORDER BY 1;
SELECT id, (SELECT sum(v + t.b) FROM u WHERE u.k = t.a) AS n FROM t ORDER BY 1, 2;
SELECT id FROM t WHERE b = (SELECT max(t.b));
SELECT a, (SELECT (SELECT min(t.b + u.v - u.v) FROM u o WHERE o.k = u.k) FROM u WHERE v = 5) AS n FROM t GROUP BY a;

-- inequalities with any and all, by type
SELECT y, x > ANY (SELECT x FROM f) AS a, x > ALL (SELECT x FROM f) AS b, x <= ALL (SELECT x FROM f WHERE x IS NOT NULL) AS c, x < ANY (SELECT g.x FROM f g WHERE g.y <> f.y) AS d FROM f ORDER BY 1;
SELECT k, v, n >= ANY (SELECT n FROM u) AS a, n >= ALL (SELECT n FROM u) AS b, n < ALL (SELECT n FROM u o WHERE o.k = u.k + 1) AS c FROM u ORDER BY 1, 2;
SELECT id, s < ANY (SELECT w FROM u) AS a, s >= ALL (SELECT w FROM u) AS b, s > ALL (SELECT w FROM u WHERE u.k = t.a) AS c FROM t ORDER BY 1;
SELECT id, (a > 1) < ANY (SELECT k > 1 FROM u) AS a, (a > 1) >= ALL (SELECT k > 1 FROM u WHERE k = t.a) AS b FROM t ORDER BY 1;
SELECT id, b < ALL (SELECT v + t.id FROM u WHERE u.k = t.a) AS a, b > ANY (SELECT v FROM u WHERE u.v < t.b) AS b FROM t ORDER BY 1;
SELECT id, a = ALL (SELECT k FROM u WHERE u.w = t.s) AS a, a <> ANY (SELECT k FROM u WHERE u.w = t.s) AS b FROM t ORDER BY 1;
SELECT count(*) AS n FROM t, u;
SELECT count(*) AS n FROM t WHERE EXISTS (SELECT 1 FROM u);

-- errors
SELECT id, (SELECT v FROM u WHERE u.k = t.nothing) FROM t;
SELECT id, (SELECT v FROM u WHERE k = nothing.a) FROM t;
SELECT a, (SELECT count(*) FROM u WHERE u.k = t.b) FROM t GROUP BY a;
SELECT id, (SELECT k, v FROM u) FROM t;
SELECT id FROM t WHERE b > ANY (SELECT k, v FROM u);
