-- Settings that are kept for roles and the database, SET SESSION AUTHORIZATION, rights in blocks and on columns.
-- The whole file goes through one psql, over PostgreSQL and over Thalweg; they print the same.
\pset null '-'
CREATE ROLE ann LOGIN;
CREATE ROLE bob LOGIN;

-- settings of roles
ALTER ROLE ann SET statement_timeout = '90s';
ALTER ROLE ann SET search_path TO reports, public;
ALTER ROLE ann SET "TimeZone" = 'Asia/Tokyo';
ALTER ROLE ann SET my.own = 'x y';
ALTER ROLE ann SET nothing = 1;
ALTER ROLE ann SET statement_timeout = 'soon';
ALTER ROLE ann SET server_version = '1';
ALTER ROLE nobody SET statement_timeout = 1;
ALTER ROLE ann IN DATABASE nowhere SET statement_timeout = 1;
ALTER DATABASE nowhere SET statement_timeout = 1;
ALTER ROLE ann IN DATABASE postgres SET application_name = 'of ann here';
ALTER DATABASE postgres SET application_name = 'of all';
ALTER DATABASE postgres SET extra_float_digits = 0;
ALTER ROLE bob SET extra_float_digits = 2;
SET lock_timeout = '7s';
ALTER ROLE bob SET lock_timeout FROM CURRENT;
SELECT setdatabase = 0, setrole::regrole, setconfig FROM pg_db_role_setting ORDER BY 1, 3;
SELECT rolname, rolconfig FROM pg_roles WHERE rolname IN ('ann', 'bob') ORDER BY 1;
\drds
\c - ann
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
ALTER ROLE ann SET statement_timeout = '80s';
SHOW statement_timeout;
ALTER DATABASE postgres SET statement_timeout = '80s';
\c - bob
SHOW extra_float_digits;
SHOW lock_timeout;
\c - tester
SHOW extra_float_digits;
ALTER ROLE ann SET statement_timeout TO DEFAULT;
ALTER ROLE ann RESET timezone;
ALTER ROLE bob RESET ALL;
ALTER DATABASE postgres RESET ALL;
ALTER ROLE ALL SET lock_timeout = '3s';
SELECT rolname, rolconfig FROM pg_roles WHERE rolname IN ('ann', 'bob') ORDER BY 1;
\drds
\c - ann
SHOW statement_timeout;
SHOW lock_timeout;
\c - tester
ALTER ROLE ALL RESET lock_timeout;
BEGIN;
ALTER ROLE ann RESET ALL;
ALTER ROLE ann IN DATABASE postgres RESET ALL;
COMMIT;
\drds

-- who a session is
SET SESSION AUTHORIZATION ann;
SELECT session_user, current_user;
SHOW session_authorization;
SHOW is_superuser;
SET ROLE bob;
SET SESSION AUTHORIZATION bob;
SELECT session_user, current_user;
RESET SESSION AUTHORIZATION;
SELECT session_user, current_user;
SHOW is_superuser;
SET ROLE bob;
SET SESSION AUTHORIZATION 'ann';
SELECT session_user, current_user;
SHOW role;
SET SESSION AUTHORIZATION DEFAULT;
SET SESSION AUTHORIZATION nobody;
BEGIN;
SET LOCAL SESSION AUTHORIZATION ann;
SELECT session_user, current_user;
COMMIT;
SELECT session_user, current_user;
BEGIN;
SET SESSION AUTHORIZATION ann;
ROLLBACK;
SELECT session_user, current_user;
SET session_authorization = ann;
RESET ALL;
SELECT session_user, current_user;
DISCARD ALL;
SELECT session_user, current_user;
\c - ann
SET SESSION AUTHORIZATION ann;
SET SESSION AUTHORIZATION bob;
SELECT session_user;
\c - tester
