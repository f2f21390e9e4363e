"""TLS as libpq 17 and newer speak it: at once, bound to the password, cancel requests in it too.

Arguments: the port, the certificate to trust, the password of thalweg. Ends with "ok".
"""

import sys
import threading

import psycopg

port, root, password = sys.argv[1:]
secure = f"host=127.0.0.1 port={port} dbname=thalweg user=thalweg sslmode=verify-full sslrootcert={root}"

for negotiation in ("postgres", "direct"):
    conninfo = f"{secure} sslnegotiation={negotiation} channel_binding=require"
    with psycopg.connect(conninfo, password=password, autocommit=True) as connection:
        assert connection.pgconn.ssl_in_use, negotiation
        assert connection.execute("SELECT current_user").fetchone() == ("thalweg",)
        # More than a buffer in both directions, through TLS.
        long = "x" * 3_000_000
        assert connection.execute("SELECT %s || 'y'", [long]).fetchone() == (long + "y",)
        timer = threading.Timer(0.3, connection.cancel_safe)
        timer.start()
        try:
            connection.execute("SELECT count(*) FROM generate_series(1, 1000000000000) g")
            raise AssertionError("it was not cancelled")
        except psycopg.errors.QueryCanceled:
            pass
        finally:
            timer.join()
        assert connection.execute("SELECT 2").fetchone() == (2,)

try:
    psycopg.connect(f"{secure} sslnegotiation=direct", password="wrong")
    raise AssertionError("a wrong password was taken")
except psycopg.OperationalError as error:
    assert 'password authentication failed for user "thalweg"' in str(error), error

print("ok")
