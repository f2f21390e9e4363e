\set aid random(1, 1000)
SELECT balance FROM accounts WHERE aid = :aid;
