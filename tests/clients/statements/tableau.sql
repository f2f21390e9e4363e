-- What Tableau sends through psqlodbc, over the objects of ../catalog.sql. psql -f runs it.
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED;
SET DateStyle = 'ISO';
SET extra_float_digits = 2;
SHOW transaction_isolation;
SELECT oid, typbasetype FROM pg_type WHERE typname = 'lo';
SELECT NULL, NULL, NULL WHERE 1=0;
/* a leading comment */ SELECT "customers"."name" AS "name" FROM "public"."customers" "customers" WHERE 1=0;
SELECT * FROM (SELECT "customers"."id" AS "id" FROM "thalweg"."public"."customers" "customers") "Custom" WHERE (0 = 1);
SELECT 1 AS "cnt", "orders"."customer" AS "customer", SUM("orders"."amount") AS "sum:amount:ok" FROM "public"."orders" "orders" GROUP BY 2 HAVING (COUNT(1) > 0);
SELECT CAST(DATE_TRUNC('MONTH', "orders"."at") AS DATE) AS "tmn:at:ok", AVG(CAST("orders"."amount" AS DOUBLE PRECISION)) AS "avg" FROM "public"."orders" "orders" WHERE (("orders"."at" >= (TIMESTAMP '2019-11-01 00:00:00.000')) AND ("orders"."at" <= (TIMESTAMP '2019-11-30 23:59:59.000'))) GROUP BY 1;
SELECT CAST(TRUNC(EXTRACT(YEAR FROM "orders"."at")) AS INTEGER) AS "yr:at:ok", COUNT(DISTINCT "orders"."customer") AS "ctd" FROM "public"."orders" "orders" WHERE "orders"."at" = timestamp with time zone '2019-11-01 00:00:00+00' GROUP BY 1;
SELECT "t0"."name" AS "name" FROM (SELECT "customers"."name" AS "name", SUM(1) AS "n" FROM "public"."customers" "customers" GROUP BY 1) "t0" INNER JOIN (SELECT "order_names"."name" AS "name" FROM "public"."order_names" "order_names" GROUP BY 1) "t1" ON ("t0"."name" IS NOT DISTINCT FROM "t1"."name");
BEGIN;
DECLARE "SQL_CUR0x7f8a1c0" CURSOR WITH HOLD FOR SELECT "customers"."id" AS "id", "customers"."name" AS "name" FROM "public"."customers" "customers";
FETCH 10000 IN "SQL_CUR0x7f8a1c0";
FETCH 10000 IN "SQL_CUR0x7f8a1c0";
CLOSE "SQL_CUR0x7f8a1c0";
COMMIT;
