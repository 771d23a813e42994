"""`make bench-scale`: what things cost at 1,000,000 leads with histories: p50, p95, and the plans that explain it.

The rows are loaded by COPY once and kept in `.data/bench-<leads>`; a smaller database beside it shows the growth.
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from crm.core import migrations
from crm.core.database import Database
from crm.core.embedded import EmbeddedPostgres
from crm.core.identity import Role, Viewer
from crm.demo.load import load
from crm.graph.engine import Engine, Request
from crm.schema import schema
from crm.settings import Settings
from tests.bench import measure, operations
from tests.postgres import KillableEmbeddedPostgres
from tests.servers import Server

console = Console()
PAGES = 1000
SHARED_BUFFERS = "3GB"
WARM_UP_SECONDS = 20
MONTH = "2026-10-01T00:00:00Z"
SEARCHES = ("an", "anders", "anders lind", "verkstad", "+46 70", "offert", "zzzz no such thing")


@contextmanager
def database(leads: int):
    """A PostgreSQL with that many demo leads; loaded once, kept for the next run."""
    postgres = KillableEmbeddedPostgres(Path(".data") / f"bench-{leads}")
    postgres.start()
    try:
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            # What an operator would do: a million leads do not fit in the default of 128 MB.
            connection.execute(f"ALTER SYSTEM SET shared_buffers = '{SHARED_BUFFERS}'")
        postgres.stop()
        postgres.start()
        migrations.upgrade(postgres.url)
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            found = connection.execute("SELECT count(*) FROM leads").fetchone()[0]
            if found == 0:
                _load(connection, leads)
        yield postgres
    finally:
        postgres.stop()


def _load(connection: psycopg.Connection[Any], leads: int) -> None:
    connection.execute("SET statement_timeout = 0")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(f"Loading {leads:,} leads", total=leads)
        load(connection, leads, on_progress=lambda done: progress.update(bar, completed=done))
    with console.status("VACUUM ANALYZE"):
        connection.execute("VACUUM ANALYZE leads")
        connection.execute("VACUUM ANALYZE interactions")
        connection.execute("VACUUM ANALYZE tasks")


@contextmanager
def served(postgres: EmbeddedPostgres, folder: Path, **settings: str):
    server = Server(postgres.url, folder / f"log-{uuid4()}", **settings).start()
    try:
        yield server
    finally:
        server.stop()


def figures(
    server: Server, query: str, variables: measure.Variables, *, seconds: float, clients: int
) -> measure.Figures:
    token = server.token()
    asyncio.run(measure.run(server.port, token, query, variables, seconds=0.5, clients=clients))
    return asyncio.run(measure.run(server.port, token, query, variables, seconds=seconds, clients=clients))


async def walk(server: Server, pages: int, order: list[dict[str, str]]) -> tuple[list[str], list[float]]:
    """Page by page through the leads; the cursors, and what each page cost."""
    client = await measure.Client(server.port, server.token()).open()
    cursors: list[str] = []
    times = []
    for _ in range(pages):
        before = time.perf_counter()
        answer = json.loads(
            await client.send(operations.PAGE, {"after": cursors[-1] if cursors else None, "order": order})
        )
        times.append((time.perf_counter() - before) * 1000)
        info = answer["data"]["leadsConnection"]["pageInfo"]
        cursors.append(info["endCursor"])
        if not info["hasNextPage"]:
            break
    client.close()
    return cursors, times


async def plan(url: str, query: str, variables: dict[str, Any]) -> str:
    """How PostgreSQL runs an operation's one statement."""
    database_ = Database(url)
    engine = Engine(schema, database_, Settings())
    viewer = Viewer(uuid4(), Role.ADMIN)
    operation = engine.operation(Request(query))
    coerced = operation.coerce(variables)
    planned = engine.plan(operation, coerced, viewer)
    assert planned.shaped is not None
    statement, params = planned.shaped.step(coerced, viewer)
    database_.close()
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        connection.execute("SET jit = off")
        text = [None if param is None else param.decode() for param in params]
        rows = connection.execute(
            "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) " + statement.text.decode(), text
        ).fetchall()
    return "\n".join(row[0] for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leads", type=int, default=1_000_000)
    parser.add_argument("--small", type=int, default=10_000, help="what the growth is measured against")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--plans", type=Path, help="write the plans to this file instead of the terminal")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = _measure(options.leads, options.small, options.seconds, Path(folder), options.plans)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


def _measure(leads: int, small: int, seconds: float, folder: Path, plans: Path | None) -> dict[str, Any]:
    results: dict[str, Any] = {"machine": measure.machine(), "leads": leads}
    settings = {"CRM_MAX_COST": "1000000", "CRM_REQUEST_TIMEOUT_SECONDS": "120"}
    with database(small) as little, database(leads) as big:
        with served(little, folder) as few, served(big, folder) as many:
            results["growth"] = _growth(few, many, small, leads, seconds)
        with served(big, folder, **settings) as server:
            results["latency"] = _latencies(server, leads, seconds)
        shown = _plans(big.url, leads)
    if plans:
        plans.write_text(shown)
    else:
        console.print(shown, markup=False, highlight=False)
    return results


def _growth(few: Server, many: Server, small: int, leads: int, seconds: float) -> dict[str, float]:
    """The rate at many leads against the rate at few, in turn."""
    table = Table("operation", f"{small:,} leads", f"{leads:,} leads", "ratio", title="Requests/s, 8 clients")
    found = {}
    with console.status("Warming up"):
        token, warm_up = many.token(), min(WARM_UP_SECONDS, leads / 10_000)
        ids = lambda _: {"id": random.randint(1, leads)}  # noqa: E731
        asyncio.run(measure.run(many.port, token, operations.ONE, ids, seconds=warm_up, clients=8))
    for name, query, variables in (
        ("one", operations.ONE, lambda most: lambda _: {"id": random.randint(1, most)}),
        ("first page", operations.PAGE, lambda _: lambda _: {"order": [{"field": "ID", "direction": "DESC"}]}),
    ):
        rates: dict[int, list[float]] = {small: [], leads: []}
        for _ in range(3):
            for server, most in ((few, small), (many, leads)):
                run = figures(server, query, variables(most), seconds=seconds / 2, clients=8)
                rates[most].append(run.rate)
        low, high = (sorted(rates[most])[1] for most in (small, leads))
        found[name] = high / low
        table.add_row(name, f"{low:,.0f}", f"{high:,.0f}", f"{high / low:.2f}")
    console.print(table)
    return found


def _latencies(server: Server, leads: int, seconds: float) -> dict[str, dict[str, float]]:
    table = Table("operation", "p50 ms", "p95 ms", title=f"{leads:,} leads, one client")
    found: dict[str, dict[str, float]] = {}

    def row(name: str, query: str, variables: Callable[[int], dict[str, Any]]) -> None:
        run = figures(server, query, variables, seconds=seconds, clients=1)
        found[name] = {"p50": run.p50, "p95": run.p95}
        table.add_row(name, f"{run.p50:.2f}", f"{run.p95:.2f}")

    row("one", operations.ONE, lambda _: {"id": random.randint(1, leads)})
    for label, order in (
        ("id", [{"field": "ID", "direction": "DESC"}]),
        ("last name", [{"field": "LAST_NAME"}]),
        ("updated at", [{"field": "UPDATED_AT", "direction": "DESC"}]),
    ):
        with console.status(f"Walking {PAGES} pages by {label}"):
            cursors, _ = asyncio.run(walk(server, PAGES, order))
        row(f"page 1 by {label}", operations.PAGE, lambda _, o=order: {"order": o})
        last = cursors[-2]
        row(f"page {len(cursors):,} by {label}", operations.PAGE, lambda _, o=order, a=last: {"order": o, "after": a})
    for text in SEARCHES:
        row(f"search {text!r}", operations.SEARCH, lambda _, t=text: {"text": t})
    row("leadStats by status", operations.STATS, lambda _: {})
    row("leadStats of one month", operations.STATS_FILTERED, lambda _: {"from": MONTH})
    row("totalCount", operations.COUNT, lambda _: {})
    row("order without an index", operations.UNINDEXED, lambda _: {})
    row("contains", operations.CONTAINS, lambda _: {})
    console.print(table)
    return found


def _plans(url: str, leads: int) -> str:
    parts = []
    for name, query, variables in (
        ("one", operations.ONE, {"id": leads // 2}),
        ("first page", operations.PAGE, {"order": [{"field": "ID", "direction": "DESC"}]}),
        ("search 'anders lind'", operations.SEARCH, {"text": "anders lind"}),
        ("leadStats by status", operations.STATS, {}),
        ("order without an index", operations.UNINDEXED, {}),
    ):
        parts.append(f"## {name}\n\n```\n{asyncio.run(plan(url, query, variables))}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    main()
