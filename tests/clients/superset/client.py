"""Apache Superset against Thalweg, started for real: a connection, a dataset over the materialized
view brand_funnel, a chart and its data, a query of SQL Lab; through its REST API.

Prints "ok". Usage: client.py PORT, with the Python that has the packages of requirements.txt. Its
metadata is made once and kept in ~/.cache/thalweg/superset/metadata.db.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

PORT = int(sys.argv[1])
HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.path.dirname(sys.executable)
KEPT = os.path.join(os.path.dirname(BIN), "metadata.db")
READY_WITHIN = 120


def environment(home):
    own = {"SUPERSET_HOME": home, "SUPERSET_CONFIG_PATH": os.path.join(HERE, "superset_config.py")}
    return {**os.environ, **own, "FLASK_APP": "superset.app:create_app()"}


def superset(home, *args):
    command = [os.path.join(BIN, "superset"), *args]
    done = subprocess.run(command, env=environment(home), capture_output=True, text=True)
    assert done.returncode == 0, f"{args}: {done.stdout[-2000:]}{done.stderr[-4000:]}"


def metadata(home):
    """The tables of Superset itself, with an administrator."""
    if not os.path.exists(KEPT):
        superset(home, "db", "upgrade")
        who = ["--username", "admin", "--firstname", "a", "--lastname", "b", "--email", "a@b.example"]
        superset(home, "fab", "create-admin", *who, "--password", "admin")
        superset(home, "init")
        shutil.copy(os.path.join(home, "metadata.db"), KEPT + ".new")
        os.replace(KEPT + ".new", KEPT)
    shutil.copy(KEPT, os.path.join(home, "metadata.db"))


class Api:
    def __init__(self, port):
        self.base, self.token = f"http://127.0.0.1:{port}", None

    def call(self, path, body=None):
        headers = {} if body is None else {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = "Bearer " + self.token
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.code} {error.read().decode()[:2000]}") from error

    def login(self):
        who = {"username": "admin", "password": "admin", "provider": "db", "refresh": False}
        self.token = self.call("/api/v1/security/login", who)["access_token"]


def ready(port, process, log):
    start = time.monotonic()
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except OSError:
            assert process.poll() is None and time.monotonic() - start < READY_WITHIN, open(log).read()[-4000:]
            time.sleep(0.2)


def browse(api):
    uri = f"postgresql+psycopg2://tester@127.0.0.1:{PORT}/thalweg"
    wanted = {"database_name": "thalweg", "sqlalchemy_uri": uri}
    api.call("/api/v1/database/test_connection/", wanted)
    database = api.call("/api/v1/database/", {**wanted, "expose_in_sqllab": True})["id"]
    schemas = api.call(f"/api/v1/database/{database}/schemas/")["result"]
    assert "public" in schemas, schemas
    listed = api.call(f"/api/v1/database/{database}/tables/?q=(schema_name:public)")["result"]
    assert "brand_funnel" in [one["value"] for one in listed], listed
    made = api.call("/api/v1/dataset/", {"database": database, "schema": "public", "table_name": "brand_funnel"})
    columns = {one["column_name"]: one["type"] for one in api.call(f"/api/v1/dataset/{made['id']}")["result"]["columns"]}
    assert columns["brand"] == "TEXT" and columns["viewers"] == "BIGINT", columns
    return database, made["id"]


def chart(api, dataset):
    query = {
        "columns": ["brand"],
        "metrics": [
            {"expressionType": "SQL", "sqlExpression": "sum(viewers)", "label": "seen"},
            {"expressionType": "SIMPLE", "column": {"column_name": "buyers"}, "aggregate": "MAX", "label": "bought"},
        ],
        "filters": [{"col": "viewers", "op": ">", "val": 0}],
        "orderby": [["seen", False]],
        "row_limit": 5,
    }
    context = {
        "datasource": {"id": dataset, "type": "table"},
        "queries": [query],
        "result_format": "json",
        "result_type": "full",
        "form_data": {"viz_type": "table", "datasource": f"{dataset}__table"},
        "force": True,
    }
    made = api.call("/api/v1/chart/", {
        "slice_name": "the funnel",
        "viz_type": "table",
        "datasource_id": dataset,
        "datasource_type": "table",
        "params": json.dumps(context["form_data"]),
        "query_context": json.dumps(context),
    })
    data = api.call(f"/api/v1/chart/{made['id']}/data/?force=true")["result"][0]
    assert data["status"] == "success" and data["rowcount"] == 5, data
    seen = [row["seen"] for row in data["data"]]
    assert seen == sorted(seen, reverse=True) and seen[0] > 0, data["data"]
    return data["data"]


def main():
    home = tempfile.mkdtemp()
    log = os.path.join(home, "log")
    metadata(home)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [os.path.join(BIN, "superset"), "run", "-h", "127.0.0.1", "-p", str(port)]
    with open(log, "w") as out:
        process = subprocess.Popen(command, env=environment(home), stdout=out, stderr=out)
    try:
        ready(port, process, log)
        api = Api(port)
        api.login()
        database, dataset = browse(api)
        rows = chart(api, dataset)
        sql = "SELECT brand, viewers AS seen FROM brand_funnel WHERE viewers > 0 ORDER BY viewers DESC"
        lab = {"database_id": database, "sql": sql, "schema": "public", "runAsync": False, "client_id": "abcdefghijk"}
        answered = api.call("/api/v1/sqllab/execute/", {**lab, "queryLimit": 1000})
        assert [row["seen"] for row in answered["data"][:5]] == [row["seen"] for row in rows], answered["data"]
    except AssertionError:
        print(open(log).read()[-6000:], file=sys.stderr)
        raise
    finally:
        process.terminate()
        process.wait(timeout=30)
        shutil.rmtree(home, ignore_errors=True)
    print("ok")


main()
