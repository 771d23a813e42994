"""`make bench`: requests a second of the usual operations, on 10,000 leads with 50,000 tasks and 50,000 interactions.

`wrk` sends the load where it is installed (a Python client costs more than the server); the latencies come with it.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from crm.db import migrations
from tests.bench import measure, operations
from tests.support.postgres import remove, throw_away_postgres
from tests.support.servers import Server

LEADS, EACH = 10_000, 5
LOADS: dict[str, tuple[str, dict[str, Any]]] = {
    "one": (operations.ONE, {"id": "__ID__"}),
    "list50": (operations.LIST50, {"n": 50}),
    "wide200": (operations.WIDE200, {"n": 200}),
    "create": (operations.CREATE, {"id": "__ID__"}),
}
LUA = """
local body = os.getenv("BODY")
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")
function init() math.randomseed(7) end
function request()
  return wrk.format(nil, nil, nil, (body:gsub('"__ID__"', function() return tostring(math.random(%d)) end)))
end
"""


def fill(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO leads (first_name, last_name, email, company, activity_score) SELECT 'First' || i,"
            " 'Last' || i, 'lead' || i || '@example.com', 'Company ' || (i % 500), i % 101"
            f" FROM generate_series(1, {LEADS}) i"
        )
        connection.execute(
            "INSERT INTO tasks (title, description, ai_reasoning, lead_id) SELECT 'Task ' || j, 'What is to be done',"
            f" 'Because it matters now', i FROM generate_series(1, {EACH}) j, generate_series(1, {LEADS}) i"
        )
        connection.execute(
            "INSERT INTO interactions (type, notes, occurred_at, lead_id) SELECT 'call', 'What was said',"
            f" now() - make_interval(days => j), i FROM generate_series(1, {EACH}) j, generate_series(1, {LEADS}) i"
        )
        connection.execute("VACUUM ANALYZE")


def with_wrk(server: Server, token: str, query: str, variables: dict, seconds: int, clients: int) -> measure.Figures:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA % LEADS)
        script.flush()
        environment = {**os.environ, "BODY": json.dumps({"query": query, "variables": variables}), "TOKEN": token}
        out = subprocess.run(
            ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--latency", "-s", script.name, f"{server.url}/graphql"],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    if "Non-2xx" in out:
        raise SystemExit(out)
    found = {
        name: _milliseconds(re.search(rf"^\s+{name}%\s+(\S+)", out, re.MULTILINE)[1]) for name in ("50", "90", "99")
    }
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
    return measure.Figures(rate, found["50"], found["90"], found["99"], int(re.search(r"(\d+) requests in", out)[1]))


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    postgres, folder = throw_away_postgres(settings={})
    console = Console()
    table = Table("operation", "requests/s", "p50 ms", "p95 ms*", "p99 ms", title=measure.machine())
    try:
        with console.status("Starting PostgreSQL, loading 10,000 leads"):
            migrations.upgrade(postgres.start())
            fill(postgres.url)
        server = Server(postgres.url, Path(folder) / "log").start()
        token = server.token()
        for name, (query, variables) in LOADS.items():
            with console.status(f"Measuring {name}"):
                if shutil.which("wrk"):
                    with_wrk(server, token, query, variables, 1, options.clients)
                    found = with_wrk(server, token, query, variables, options.seconds, options.clients)
                else:
                    numbered = {key: value for key, value in variables.items() if value != "__ID__"}
                    given = lambda n, v=variables, f=numbered: f or dict.fromkeys(v, n % LEADS + 1)  # noqa: E731
                    found = asyncio.run(
                        measure.run(server.port, token, query, given, seconds=options.seconds, clients=options.clients)
                    )
            table.add_row(name, f"{found.rate:,.0f}", f"{found.p50:.2f}", f"{found.p95:.2f}", f"{found.p99:.2f}")
        server.stop()
    finally:
        postgres.stop()
        remove(folder)
    console.print(table)
    console.print("* with wrk: p90", style="dim")


if __name__ == "__main__":
    main()
