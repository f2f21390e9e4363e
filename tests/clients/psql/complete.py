"""psql's tab completion against Thalweg: what it offers while somebody types.

Runs psql in a terminal of its own. Needs the objects of ../catalog.sql. Prints "ok"; anything else
is an error. Usage: complete.py PORT
"""

import os
import pty
import select
import sys
import time

# What is typed before the tab, and what must appear on the screen after it.
TYPED = [
    ("SELECT * FROM cust", "customers"),
    ("SELECT * FROM order_n", "order_names"),
    ("SELECT * FROM tot", "totals"),
    ("\\d orders_cu", "orders_customer"),
    ("SELECT * FROM public.cust", "public.customers"),
    ("INSERT INTO cus", "customers"),
    ("UPDATE customers SET bal", "balance"),
    ("DROP MATERIALIZED VIEW to", "totals"),
    ("DROP VIEW order_", "order_names"),
    ("SET statement_time", "statement_timeout"),
    ("SHOW server_version_n", "server_version_num"),
]


def screen(terminal, until, seconds=10):
    """What psql writes until a text appears."""
    seen = ""
    end = time.monotonic() + seconds
    while until not in seen and time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            seen += os.read(terminal, 65536).decode(errors="replace")
    assert until in seen, f"{until!r} is not in {seen!r}"
    return seen


def main():
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="dumb", PAGER="cat", PSQL_HISTORY="/dev/null", COLUMNS="200")
        os.execvp("psql", ["psql", "-X", "-h", "127.0.0.1", "-p", sys.argv[1], "-U", "tester", "-d", "thalweg"])
    screen(terminal, "thalweg=")
    for typed, offered in TYPED:
        os.write(terminal, f"{typed}\t".encode())
        screen(terminal, offered)
        os.write(terminal, b"\x15\x03")
        screen(terminal, "thalweg=")
    os.write(terminal, b"\x15\\q\n")
    os.waitpid(pid, 0)
    print("ok")


main()
