\set aid random(1, 1000)
BEGIN;
UPDATE accounts SET balance = balance + 1 WHERE aid = :aid;
SELECT balance FROM accounts WHERE aid = :aid;
END;
