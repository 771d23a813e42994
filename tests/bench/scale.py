"""`make bench-scale`: what things cost at 1,000,000 leads with histories: p50, p95, and the plans that explain it.

From nothing: the rows are loaded by COPY into `.data/bench-<leads>` and kept there for the next run; a smaller database
beside it shows the growth. What belongs into docs/performance.md is written to `.data/bench-scale.md`.
"""

import argparse
import asyncio
import json
import logging
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import structlog
from rich.console import Console
from rich.table import Table

from crm.db.database import Database
from crm.sales.scoring.recalculation import Recalculation
from tests.bench import measure, operations
from tests.bench.database import Made, database
from tests.support import plans
from tests.support.servers import Server

console = Console()
PAGES = 1000
WARM_UP_SECONDS = 15
CLIENTS = 8
MONTH = "2026-10-01T00:00:00Z"
SEARCHES = ("anders", "anders lind", "verkstad", "+46 70", "offert", "an", "zzzz no such thing")
BY_ID = {"order": [{"field": "ID", "direction": "DESC"}]}
ORDERS = (
    ("id", BY_ID["order"]),
    ("last name", [{"field": "LAST_NAME"}]),
    ("last change", [{"field": "UPDATED_AT", "direction": "DESC"}]),
    ("score", [{"field": "ACTIVITY_SCORE", "direction": "DESC"}]),
)
PLANS = (
    ("one", operations.ONE),
    ("first page", operations.PAGE),
    ("hottest leads", operations.PAGE),
    ("search 'anders lind'", operations.SEARCH),
    ("leadStats by status", operations.STATS),
    ("timeline", operations.TIMELINE),
    ("activities", operations.ACTIVITIES),
    ("order without an index", operations.UNINDEXED),
)
PLAN_LINES = 30

Variables = Callable[[int], dict[str, Any]]


@dataclass
class Found:
    """Every figure."""

    machine: str = ""
    minutes: float = 0
    rows: dict[str, int] = field(default_factory=dict)
    steps: dict[str, float] = field(default_factory=dict)
    latency: dict[str, tuple[float, float]] = field(default_factory=dict)
    rates: dict[str, tuple[float, float]] = field(default_factory=dict)
    recalculated: dict[str, float] = field(default_factory=dict)
    plans: dict[str, str] = field(default_factory=dict)


@contextmanager
def served(made: Made, folder: Path, **settings: Any):
    server = Server(made.postgres.url, folder / f"log-{uuid4()}", **settings).start()
    try:
        yield server
    finally:
        server.stop()


def figures(server: Server, query: str, variables: Variables, *, seconds: float, clients: int) -> measure.Figures:
    token = server.token()
    asyncio.run(measure.run(server.port, token, query, variables, seconds=0.5, clients=clients))
    return asyncio.run(measure.run(server.port, token, query, variables, seconds=seconds, clients=clients))


async def walk(server: Server, pages: int, order: list[dict[str, str]]) -> list[str]:
    """Page by page through the leads: each page's cursor."""
    client = await measure.Client(server.port, server.token()).open()
    cursors: list[str] = []
    for _ in range(pages):
        after = cursors[-1] if cursors else None
        answer = json.loads(await client.send(operations.PAGE, {"after": after, "order": order}))
        info = answer["data"]["leadsConnection"]["pageInfo"]
        cursors.append(info["endCursor"])
        if not info["hasNextPage"]:
            break
    client.close()
    return cursors


def measured(leads: int, small: int, seconds: float, data: Path) -> Found:
    started = time.monotonic()
    found = Found(machine=measure.machine())
    settings = {"CRM_MAX_COST": "1000000", "CRM_REQUEST_TIMEOUT_SECONDS": "120"}
    with (
        tempfile.TemporaryDirectory() as name,
        database(console, data, small) as little,
        database(console, data, leads) as big,
    ):
        folder = Path(name)
        found.rows, found.steps = big.rows, big.steps
        with big.step("measure"):
            with served(big, folder, **settings) as server:
                _warm_up(server, big)
                found.latency = _latencies(server, big, seconds)
            found.plans = _plans(big)
            with served(little, folder) as few, served(big, folder) as many:
                found.rates = _rates((few, little), (many, big), seconds)
        with console.status("Recalculating all scores"), big.step("recalculate"):
            found.recalculated = asyncio.run(_recalculated(big.postgres.url))
    found.minutes = (time.monotonic() - started) / 60
    return found


def _always(variables: dict[str, Any]) -> Variables:
    return lambda _: variables


def _some(made: Made) -> Variables:
    """A random lead."""
    ids = made.living()
    return lambda _: {"id": random.choice(ids)}


def _warm_up(server: Server, big: Made) -> None:
    with console.status("Warming up"):
        seconds = min(WARM_UP_SECONDS, big.leads / 10_000)
        asyncio.run(
            measure.run(server.port, server.token(), operations.ONE, _some(big), seconds=seconds, clients=CLIENTS)
        )


def _latencies(server: Server, big: Made, seconds: float) -> dict[str, tuple[float, float]]:
    table = Table("operation", "p50 ms", "p95 ms", title=f"{big.leads:,} leads, one client")
    found: dict[str, tuple[float, float]] = {}

    def row(name: str, query: str, variables: Variables) -> None:
        with console.status(name):
            run = figures(server, query, variables, seconds=seconds, clients=1)
        found[name] = (run.p50, run.p95)
        table.add_row(name, f"{run.p50:.2f}", f"{run.p95:.2f}")

    row("one lead with its tasks", operations.ONE, _some(big))
    row("one lead's timeline", operations.TIMELINE, _some(big))
    row("one lead's activities", operations.ACTIVITIES, _some(big))
    for label, order in ORDERS:
        with console.status(f"Walking {PAGES} pages by {label}"):
            cursors = asyncio.run(walk(server, PAGES, order))
        row(f"page 1 by {label}", operations.PAGE, _always({"order": order}))
        last = cursors[-2]
        row(f"page {len(cursors):,} by {label}", operations.PAGE, _always({"order": order, "after": last}))
    for text in SEARCHES:
        row(f'search "{text}"', operations.SEARCH, _always({"text": text}))
    row("`leadStats` by status", operations.STATS, _always({}))
    row("`leadStats` of one month", operations.STATS_FILTERED, lambda _: {"from": MONTH})
    row("`totalCount`", operations.COUNT, lambda _: {})
    row("an order that no index serves", operations.UNINDEXED, lambda _: {})
    row("`contains`", operations.CONTAINS, lambda _: {})
    console.print(table)
    return found


def _rates(few: tuple[Server, Made], many: tuple[Server, Made], seconds: float) -> dict[str, tuple[float, float]]:
    """Requests a second at few leads and at many, in turn; the middle of three runs each."""
    small, large = few[1].leads, many[1].leads
    title = f"Requests/s, {CLIENTS} clients"
    table = Table("operation", f"{small:,} leads", f"{large:,} leads", "ratio", title=title)
    found = {}
    some = {made.leads: _some(made) for _, made in (few, many)}
    for name, query, more in (
        ("one lead", operations.ONE, {}),
        ("first page", operations.PAGE, BY_ID),
        ("create a task", operations.CREATE, {}),
        ("change a lead", operations.UPDATE, {}),
        ("log an interaction", operations.LOG, {}),
    ):
        runs: tuple[list[float], list[float]] = ([], [])
        for _ in range(3):
            for (server, made), rates in zip((few, many), runs, strict=True):
                variables = (lambda _, m=more: m) if more else some[made.leads]
                with console.status(f"{name}, {made.leads:,} leads"):
                    rates.append(figures(server, query, variables, seconds=seconds / 2, clients=CLIENTS).rate)
        low, high = (sorted(rates)[1] for rates in runs)
        found[name] = (low, high)
        table.add_row(name, f"{low:,.0f}", f"{high:,.0f}", f"{high / low:.2f}")
    console.print(table)
    return found


async def _recalculated(url: str) -> dict[str, float]:
    """All scores anew, as `crm recalculate` does."""
    made = Database(url, size=1)
    try:
        result = await Recalculation(made).run()
    finally:
        made.close()
    return {"seconds": result.duration_ms / 1000, "leads": result.count, "changed": result.changed}


def _plans(big: Made) -> dict[str, str]:
    variables: dict[str, dict[str, Any]] = {
        "one": _some(big)(0),
        "first page": BY_ID,
        "hottest leads": {"order": dict(ORDERS)["score"]},
        "search 'anders lind'": {"text": "anders lind"},
        "timeline": _some(big)(0),
        "activities": _some(big)(0),
    }
    found = {}
    with psycopg.connect(big.postgres.url, autocommit=True) as connection:
        connection.execute("SET statement_timeout = 0")
        for name, query in PLANS:
            case = asyncio.run(plans.statement(big.postgres.url, query, variables.get(name, {})))
            found[name] = plans.plan(connection, *case)
    return found


def page(found: Found) -> str:
    """What docs/performance.md says of it."""
    rows = {table: f"{count:,}" for table, count in found.rows.items()}
    steps = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in found.steps.items())
    lines = [
        f"{rows['leads']} leads, {rows['interactions']} interactions, {rows['tasks']} tasks, {rows['events']} events; ",
        f"{found.machine}. In all {found.minutes:.1f} minutes: {steps}.",
        "",
        "| operation | p50 ms | p95 ms |",
        "|---|---|---|",
        *(f"| {name} | {_ms(p50)} | {_ms(p95)} |" for name, (p50, p95) in found.latency.items()),
        "",
        f"| requests/s, {CLIENTS} clients | few leads | many | ratio |",
        "|---|---|---|---|",
        *(f"| {name} | {low:,.0f} | {high:,.0f} | {high / low:.2f} |" for name, (low, high) in found.rates.items()),
        "",
        "All scores recalculated: {leads:,.0f} leads in {seconds:.0f} s, {changed:,.0f} changed.".format(
            **found.recalculated
        ),
        "",
        "### Plans",
    ]
    for name, text in found.plans.items():
        shown = text.splitlines()
        more = len(shown) - PLAN_LINES
        rest = [f"  ... ({more} more lines: `make bench-scale` prints them)"] if more > 0 else []
        lines += ["", f"#### {name}", "", "```", *shown[:PLAN_LINES], *rest, "```"]
    return "\n".join(lines) + "\n"


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.2f}" if milliseconds < 10 else f"{milliseconds:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leads", type=int, default=1_000_000)
    parser.add_argument("--small", type=int, default=10_000, help="what the growth is measured against")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--data", type=Path, default=Path(".data"), help="where the databases are kept")
    parser.add_argument("--page", type=Path, help="where to write what docs/performance.md says")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    options.data.mkdir(parents=True, exist_ok=True)
    found = measured(options.leads, options.small, options.seconds, options.data)
    for name, text in found.plans.items():
        console.print(f"## {name}\n\n{text}\n", markup=False, highlight=False)
    file = options.page or options.data / "bench-scale.md"
    file.write_text(page(found))
    steps = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in found.steps.items())
    console.print(f"{found.minutes:.1f} minutes ({steps}); for docs/performance.md: {file}", highlight=False)


if __name__ == "__main__":
    main()
