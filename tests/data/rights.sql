-- Settings that are kept for roles and the database, SET SESSION AUTHORIZATION, rights in blocks and on columns.
-- The whole file goes through one psql, over PostgreSQL and over Thalweg; they print the same.
\pset null '-'
CREATE ROLE amy LOGIN;
CREATE ROLE ben LOGIN;

-- settings of roles
ALTER ROLE amy SET statement_timeout = '90s';
ALTER ROLE amy SET search_path TO reports, public;
ALTER ROLE amy SET "TimeZone" = 'Asia/Tokyo';
ALTER ROLE amy SET my.own = 'x y';
ALTER ROLE amy SET nothing = 1;
ALTER ROLE amy SET statement_timeout = 'soon';
ALTER ROLE amy SET server_version = '1';
ALTER ROLE nobody SET statement_timeout = 1;
ALTER ROLE amy IN DATABASE nowhere SET statement_timeout = 1;
ALTER DATABASE nowhere SET statement_timeout = 1;
ALTER ROLE amy IN DATABASE postgres SET application_name = 'of amy here';
ALTER DATABASE postgres SET application_name = 'of all';
ALTER DATABASE postgres SET extra_float_digits = 0;
ALTER ROLE ben SET extra_float_digits = 2;
SET lock_timeout = '7s';
ALTER ROLE ben SET lock_timeout FROM CURRENT;
SELECT setdatabase = 0, setrole::regrole, setconfig FROM pg_db_role_setting ORDER BY 1, 3;
SELECT rolname, rolconfig FROM pg_roles WHERE rolname IN ('amy', 'ben') ORDER BY 1;
\drds
\c - amy
SHOW statement_timeout;
SHOW search_path;
SHOW timezone;
SHOW my.own;
SHOW extra_float_digits;
SET statement_timeout = 5;
RESET statement_timeout;
SHOW statement_timeout;
RESET ALL;
SHOW timezone;
ALTER ROLE amy SET statement_timeout = '80s';
SHOW statement_timeout;
ALTER DATABASE postgres SET statement_timeout = '80s';
\c - ben
SHOW extra_float_digits;
SHOW lock_timeout;
\c - tester
SHOW extra_float_digits;
ALTER ROLE amy SET statement_timeout TO DEFAULT;
ALTER ROLE amy RESET timezone;
ALTER ROLE ben RESET ALL;
ALTER DATABASE postgres RESET ALL;
ALTER ROLE ALL SET lock_timeout = '3s';
SELECT rolname, rolconfig FROM pg_roles WHERE rolname IN ('amy', 'ben') ORDER BY 1;
\drds
\c - amy
SHOW statement_timeout;
SHOW lock_timeout;
\c - tester
ALTER ROLE ALL RESET lock_timeout;
BEGIN;
ALTER ROLE amy RESET ALL;
ALTER ROLE amy IN DATABASE postgres RESET ALL;
COMMIT;
\drds

-- who a session is
SET SESSION AUTHORIZATION amy;
SELECT session_user, current_user;
SHOW session_authorization;
SHOW is_superuser;
SET ROLE ben;
SET SESSION AUTHORIZATION ben;
SELECT session_user, current_user;
RESET SESSION AUTHORIZATION;
SELECT session_user, current_user;
SHOW is_superuser;
SET ROLE ben;
SET SESSION AUTHORIZATION 'amy';
SELECT session_user, current_user;
SHOW role;
SET SESSION AUTHORIZATION DEFAULT;
SET SESSION AUTHORIZATION nobody;
BEGIN;
SET LOCAL SESSION AUTHORIZATION amy;
SELECT session_user, current_user;
COMMIT;
SELECT session_user, current_user;
BEGIN;
SET SESSION AUTHORIZATION amy;
ROLLBACK;
SELECT session_user, current_user;
SET session_authorization = amy;
RESET ALL;
SELECT session_user, current_user;
DISCARD ALL;
SELECT session_user, current_user;
\c - amy
SET SESSION AUTHORIZATION amy;
SET SESSION AUTHORIZATION ben;
SELECT session_user;
\c - tester

-- rights on columns
SET ROLE NONE;
CREATE TABLE staff (id int PRIMARY KEY, name text, salary int, note text DEFAULT 'new');
INSERT INTO staff VALUES (1, 'x', 100), (2, 'y', 200);
GRANT SELECT (id, name), INSERT (id, name), UPDATE (note, name) ON staff TO amy;
GRANT SELECT (salary) ON staff TO ben WITH GRANT OPTION;
GRANT ALL (note), DELETE ON staff TO ben;
\dp staff
SELECT attname, attacl FROM pg_attribute WHERE attrelid = 'staff'::regclass AND attnum > 0 ORDER BY attnum;
SELECT grantor, grantee, table_schema, column_name, privilege_type, is_grantable FROM information_schema.column_privileges WHERE table_name = 'staff' ORDER BY 2, 4, 5;
SELECT has_table_privilege('amy', 'staff', 'SELECT'), has_any_column_privilege('amy', 'staff', 'SELECT'), has_column_privilege('amy', 'staff', 'name', 'SELECT'), has_column_privilege('amy', 'staff', 'salary', 'SELECT'), has_column_privilege('amy', 'staff', 2::smallint, 'UPDATE'), has_column_privilege('ben', 'staff', 'salary', 'SELECT');
SELECT has_column_privilege('amy', 'staff', 'nothing', 'SELECT');
GRANT SELECT (nothing) ON staff TO amy;
GRANT DELETE (id) ON staff TO amy;
GRANT SELECT (id) ON SCHEMA public TO amy;
SET ROLE amy;
SELECT id, name FROM staff ORDER BY id;
SELECT count(*) FROM staff;
SELECT * FROM staff;
SELECT id FROM staff WHERE salary > 1;
SELECT id FROM staff ORDER BY salary;
SELECT s FROM staff s;
SELECT row_to_json(s) FROM staff s;
SELECT a.id FROM staff a JOIN staff b USING (id, name) ORDER BY 1;
SELECT a.id FROM staff a NATURAL JOIN staff b;
SELECT (SELECT max(name) FROM staff), (SELECT count(*) FROM staff b WHERE b.id > a.id) FROM staff a ORDER BY 2;
SELECT (SELECT max(salary) FROM staff);
SELECT 1 WHERE EXISTS (SELECT FROM staff WHERE salary = 100);
WITH RECURSIVE r AS (SELECT id, salary FROM staff UNION ALL SELECT id + 10, salary FROM r WHERE id < 10) SELECT count(id) FROM r;
WITH RECURSIVE r AS (SELECT id FROM staff UNION ALL SELECT r.id + 10 FROM r JOIN staff s ON s.salary > 0 WHERE r.id < 10) SELECT count(id) FROM r, staff t WHERE t.id = 1;
SELECT name, sum(id) OVER (ORDER BY name) FROM staff ORDER BY 1;
SELECT id FROM staff UNION SELECT salary FROM staff;
TABLE staff;
INSERT INTO staff (id, name) VALUES (3, 'z');
INSERT INTO staff (id, name, salary) VALUES (4, 'z', 1);
INSERT INTO staff VALUES (4, 'z');
INSERT INTO staff (id, name) VALUES (5, 'v') RETURNING salary;
UPDATE staff SET note = 'old';
UPDATE staff SET salary = 1;
UPDATE staff SET note = note, name = 'q' WHERE salary = 1;
DELETE FROM staff;
PREPARE by_id AS SELECT name FROM staff WHERE id = $1;
EXECUTE by_id(2);
RESET ROLE;
SET ROLE ben;
SELECT salary FROM staff ORDER BY 1;
SELECT id FROM staff;
GRANT SELECT (salary) ON staff TO amy;
GRANT SELECT (id) ON staff TO amy;
RESET ROLE;
\dp staff
SET ROLE amy;
SELECT salary FROM staff ORDER BY 1;
RESET ROLE;
REVOKE SELECT (salary) ON staff FROM ben;
REVOKE SELECT (salary) ON staff FROM ben CASCADE;
REVOKE SELECT ON staff FROM amy;
\dp staff
ALTER TABLE staff RENAME COLUMN note TO remark;
ALTER TABLE staff DROP COLUMN salary;
DROP ROLE amy;
REVOKE ALL ON staff FROM amy, ben;
\dp staff
GRANT SELECT (id) ON staff TO amy;
DROP OWNED BY amy;
SET ROLE amy;
SELECT id FROM staff;
RESET ROLE;
DROP TABLE staff;

-- rights in blocks
CREATE TABLE kept (a int);
CREATE SCHEMA apart;
BEGIN;
GRANT SELECT ON kept TO amy;
GRANT UPDATE (a) ON kept TO ben;
GRANT USAGE ON SCHEMA apart TO amy;
CREATE ROLE passing;
GRANT passing TO amy;
ALTER ROLE ben CONNECTION LIMIT 7;
ALTER ROLE ben SET lock_timeout = 5;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO ben;
ALTER TABLE kept OWNER TO ben;
\dp kept
SELECT tableowner FROM pg_tables WHERE tablename = 'kept';
SET ROLE amy;
SELECT count(*) FROM kept;
ROLLBACK;
\dp kept
\ddp
\drds
SELECT tableowner FROM pg_tables WHERE tablename = 'kept';
SELECT rolname, rolconnlimit FROM pg_roles WHERE rolname IN ('passing', 'ben');
SELECT has_schema_privilege('amy', 'apart', 'USAGE');
BEGIN;
GRANT SELECT ON kept TO amy;
SAVEPOINT s;
GRANT INSERT ON kept TO amy;
REVOKE SELECT ON kept FROM amy;
CREATE ROLE passing;
ROLLBACK TO s;
GRANT DELETE ON kept TO amy;
COMMIT;
\dp kept
SELECT count(*) FROM pg_roles WHERE rolname = 'passing';
BEGIN;
DROP ROLE IF EXISTS nobody;
REVOKE ALL ON kept FROM amy;
DROP ROLE amy;
SELECT 1 / 0;
COMMIT;
\dp kept
SELECT count(*) FROM pg_roles WHERE rolname = 'amy';
DROP TABLE kept;
DROP SCHEMA apart;
