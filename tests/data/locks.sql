-- Locks between sessions. `a: statement` is one session's, awaited; with `a& ` it must wait for others
-- and goes on behind the scenes; `a=` awaits its answer. Over PostgreSQL and over Thalweg.

-- advisory locks: re-entrant, for the session
a: SELECT pg_advisory_lock(1), pg_advisory_lock(1)
b: SELECT pg_try_advisory_lock(1), pg_try_advisory_lock_shared(1), pg_try_advisory_lock(2)
a: SELECT pg_advisory_unlock(1)
b: SELECT pg_try_advisory_lock(1)
b& SELECT pg_advisory_lock(1)
c: SELECT cardinality(pg_blocking_pids(pid)) FROM pg_locks WHERE NOT granted
c: SELECT classid, objid, objsubid, mode, granted, waitstart IS NULL FROM pg_locks WHERE locktype = 'advisory' ORDER BY 1, 2, 5
a: SELECT pg_advisory_unlock(1)
b=
b: SELECT pg_advisory_unlock(1), pg_advisory_unlock(1), pg_advisory_unlock(2)
c: SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'

-- two numbers are another lock than one; shared ones go together; who waits comes before who asks later
a: SELECT pg_advisory_lock_shared(3, 4)
b: SELECT pg_try_advisory_lock(12884901892), pg_try_advisory_lock_shared(3, 4), pg_advisory_unlock_shared(3, 4)
b& SELECT pg_advisory_lock(3, 4)
c: SELECT pg_try_advisory_lock_shared(3, 4)
a: SELECT pg_try_advisory_lock_shared(3, 4)
a: SELECT pg_advisory_unlock_all()
b=
b: SELECT pg_advisory_unlock_all()

-- of the transaction: given back at its end, and by ROLLBACK TO; alone, at the end of the statement
a: SELECT pg_advisory_xact_lock(5)
b: SELECT pg_try_advisory_lock(5), pg_advisory_unlock(5)
a: BEGIN
a: SELECT pg_advisory_xact_lock(5), pg_advisory_xact_lock(5)
a: SAVEPOINT s
a: SELECT pg_advisory_xact_lock(6), pg_advisory_xact_lock(5), pg_advisory_lock(7)
b: SELECT pg_try_advisory_xact_lock(5), pg_try_advisory_xact_lock(6), pg_try_advisory_xact_lock(7)
a: ROLLBACK TO s
b: SELECT pg_try_advisory_xact_lock(5), pg_try_advisory_xact_lock(6), pg_try_advisory_xact_lock(7)
a: SELECT pg_advisory_unlock(5)
b& SELECT pg_advisory_xact_lock(5)
a: SELECT 1 / 0
a: ROLLBACK
b=
a: BEGIN
a: SELECT pg_advisory_xact_lock(5)
b& SELECT pg_advisory_xact_lock(5)
a: SELECT 1 / 0
b=
a: ROLLBACK
b: SELECT pg_try_advisory_xact_lock(5), pg_try_advisory_xact_lock(7)
a: SELECT pg_advisory_unlock_all()
a: SELECT pg_advisory_lock(NULL), pg_try_advisory_lock(NULL, 1), pg_advisory_lock('8'), pg_advisory_lock(9::smallint)
a: SELECT pg_advisory_lock(1.5)
a: SELECT pg_advisory_lock(1::bigint, 2)
a: SELECT pg_advisory_lock()
c: SELECT objid, objsubid FROM pg_locks WHERE locktype = 'advisory' ORDER BY 1

-- what follows a lock sees what its last holder did
a: CREATE TABLE t (k int PRIMARY KEY, n int)
a: INSERT INTO t VALUES (1, 10)
b: BEGIN
b: SELECT n FROM t
b& SELECT pg_advisory_xact_lock(8)
a: UPDATE t SET n = 11
a: SELECT pg_advisory_unlock(8)
b=
b: SELECT n FROM t
b: UPDATE t SET n = n + 1
b: COMMIT
a: SELECT n FROM t

-- the end of patience, and of the session
a: SELECT pg_advisory_lock(10)
b: SET lock_timeout = '20ms'
b: SELECT pg_advisory_lock(10)
b: RESET lock_timeout
b: SET statement_timeout = '20ms'
b: SELECT pg_advisory_lock(10)
b: RESET statement_timeout
b& SELECT pg_advisory_lock(10)
c: SELECT pg_cancel_backend(pid) FROM pg_locks WHERE NOT granted
b=
b& SELECT pg_advisory_lock(10)
c: SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = 10 AND granted
b=
b: SELECT pg_advisory_unlock_all()
a RECONNECT

-- deadlocks
a: SET deadlock_timeout = '1h'
b: SET deadlock_timeout = '1ms'
a: SELECT pg_advisory_lock(1)
b: SELECT pg_advisory_lock(2)
a& SELECT pg_advisory_lock(2)
b: SELECT pg_advisory_lock(1)
b: SELECT pg_advisory_unlock(2)
a=
a: SELECT pg_advisory_unlock_all()

-- LOCK TABLE
a: LOCK TABLE t
a: CREATE VIEW v AS SELECT k FROM t
a: CREATE SEQUENCE s
a: CREATE MATERIALIZED VIEW m AS SELECT count(*) AS c FROM t
a: BEGIN
a: LOCK nope
a: ROLLBACK
a: BEGIN
a: LOCK s
a: ROLLBACK
a: BEGIN
a: LOCK m IN SHARE MODE
a: ROLLBACK
a: BEGIN
a: LOCK t_pkey
a: ROLLBACK
a: BEGIN READ ONLY
a: LOCK TABLE t * IN ROW EXCLUSIVE MODE NOWAIT
a: LOCK t IN SHARE MODE
a: ROLLBACK
a: BEGIN
a: LOCK TABLE t IN SHARE MODE
b: SELECT n FROM t
b: BEGIN
b: LOCK t IN SHARE MODE
b: LOCK t IN ROW EXCLUSIVE MODE NOWAIT
b: ROLLBACK
b& UPDATE t SET n = n + 1
a: COMMIT
b=
a: BEGIN
a: UPDATE t SET n = n + 1
b: BEGIN
b& LOCK TABLE t IN EXCLUSIVE MODE
a: COMMIT
b=
b: SELECT n FROM t
b: UPDATE t SET n = n * 2
b: COMMIT
a: BEGIN
a: LOCK TABLE v
b& SELECT n FROM t WHERE k = 1
c& INSERT INTO t SELECT k + 1, n FROM t
a: UPDATE t SET n = 0
a: COMMIT
b=
c=
a: SELECT k, n FROM t ORDER BY k
a: BEGIN
a: LOCK t IN SHARE ROW EXCLUSIVE MODE
b: BEGIN
b: INSERT INTO m VALUES (1)
b: ROLLBACK
b: SET lock_timeout = '20ms'
b: DELETE FROM t
b: TRUNCATE t
b: ALTER TABLE t ADD x int
b: DROP TABLE t CASCADE
b: RESET lock_timeout
a: ROLLBACK
c: SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND mode = 'ShareRowExclusiveLock'
a: DROP TABLE t CASCADE
