-- Indexes of every form: what makes them, what the catalog says of them, what they cannot be.
-- The whole file goes through one psql, over PostgreSQL and over Thalweg; they print the same.
\set QUIET on
SET client_min_messages = warning;
CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, mail varchar(40), age int, tags text[], doc jsonb, raw json, seen timestamptz);
INSERT INTO people VALUES (1, 'Ann', 'ann@x', 30, '{a,b}', '{"k": 1}', '{}', '2024-01-01 00:00+00'), (2, 'Bob', NULL, NULL, NULL, NULL, NULL, NULL);
CREATE INDEX ON people (lower(name));
CREATE INDEX ON people (lower(name), age DESC, (age + 1));
CREATE INDEX people_adults ON people (name) WHERE age >= 18;
CREATE INDEX people_hash ON people USING hash (mail);
CREATE INDEX people_tags ON people USING gin (tags);
CREATE INDEX people_doc ON people USING gin (doc jsonb_path_ops);
CREATE INDEX people_docs ON people USING GIN (doc jsonb_ops);
CREATE INDEX people_seen ON people USING brin (seen);
CREATE INDEX people_like ON people (name text_pattern_ops, mail varchar_pattern_ops DESC NULLS LAST);
CREATE INDEX people_more ON people (age) INCLUDE (name, mail);
CREATE UNIQUE INDEX people_mail ON people (mail) INCLUDE (age);
CREATE INDEX ON people ((age * 2), upper(name)) WHERE mail IS NOT NULL;
INSERT INTO people VALUES (3, 'Cid', 'ann@x');
SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'people' ORDER BY 1;
SELECT c.relname, am.amname, i.indnatts, i.indnkeyatts, i.indkey, i.indoption, i.indisunique, i.indexprs IS NULL AS plain, i.indpred IS NULL AS whole
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am am ON am.oid = c.relam WHERE i.indrelid = 'people'::regclass ORDER BY 1;
SELECT c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), pg_get_indexdef(c.oid, a.attnum, false)
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relkind = 'i' AND c.relname ~ '^people_(lower|exp|like|more|adults|mail|seen)' ORDER BY 1, 2;
SELECT count(*) FROM people WHERE lower(name) = 'ann' AND age >= 18;
CREATE TABLE others (LIKE people INCLUDING INDEXES);
SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'others' ORDER BY 1;
ALTER TABLE people RENAME COLUMN age TO years;
SELECT indexdef FROM pg_indexes WHERE indexname = 'people_adults';
ALTER TABLE people DROP COLUMN years;
SELECT indexname FROM pg_indexes WHERE tablename = 'people' ORDER BY 1;
SELECT indexname, indexdef FROM pg_indexes WHERE indexname IN ('people_seen', 'people_mail', 'people_doc') ORDER BY 1;

-- materialized views
CREATE MATERIALIZED VIEW tallies AS SELECT name, mail, count(*) AS n FROM people GROUP BY name, mail;
CREATE UNIQUE INDEX tallies_key ON tallies (mail, name);
CREATE INDEX ON tallies (n);
CREATE INDEX ON tallies (lower(name)) WHERE n > 1;
\d tallies
SELECT * FROM tallies WHERE name = 'Ann' AND mail = 'ann@x';
CREATE INDEX ON tallies (nothing);
CREATE UNIQUE INDEX tallies_key ON tallies (name, mail);
DROP INDEX tallies_n_idx;
DROP INDEX tallies_n_idx;
ALTER MATERIALIZED VIEW tallies RENAME TO sums;
SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'sums' ORDER BY 1;
REFRESH MATERIALIZED VIEW CONCURRENTLY sums;
DROP MATERIALIZED VIEW sums;
SELECT count(*) FROM pg_indexes WHERE tablename = 'sums';

-- what they cannot be
CREATE INDEX ON people (nothing);
CREATE INDEX ON people (lower(nothing));
CREATE INDEX ON people (name) WHERE nothing > 1;
CREATE INDEX ON people (name) INCLUDE (nothing);
CREATE INDEX ON people (name) WHERE id;
CREATE INDEX ON people (sum(id));
CREATE INDEX ON people ((now()));
CREATE INDEX ON people ((random()));
CREATE INDEX ON people (raw);
CREATE INDEX ON people USING hash (raw);
CREATE INDEX ON people USING hash (id, name);
CREATE INDEX ON people USING hash (id DESC);
CREATE UNIQUE INDEX ON people USING hash (id);
CREATE INDEX ON people USING gin (id);
CREATE INDEX ON people USING brin (name NULLS FIRST);
CREATE INDEX ON people USING hash (id) INCLUDE (name);
CREATE INDEX ON people USING nice (id);
