"""`make bench-screens`: how long the screens of docs/guides/screens.md take, at 10,000 leads of the demo data.

One client sends one request after another over HTTP, and only then the next screen's. The first second is not counted.
"""

import argparse
import asyncio
import itertools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from crm.db import migrations
from crm.demo.load import load
from crm.demo.team import TEAM
from crm.web.graphiql.page import EXAMPLES
from tests.bench import measure
from tests.support.postgres import remove, throw_away_postgres
from tests.support.screens import operations
from tests.support.servers import Server

LEADS = 10_000
PERSON = next(colleague for colleague in TEAM if colleague.sells_in)
SUGGESTED = """
SELECT tasks.id, tasks.version FROM tasks JOIN leads ON leads.id = lead_id
WHERE tasks.source = 'ai_suggested' AND NOT completed AND tasks.deleted_at IS NULL AND leads.deleted_at IS NULL
"""
console = Console()


@dataclass(frozen=True)
class Screen:
    """A request, with its variables each time."""

    name: str
    operation: str
    variables: measure.Variables
    refusals: bool = False


def screens(url: str) -> Iterator[Screen]:
    """The five, and what they are asked for."""
    with psycopg.connect(url) as connection:
        leads = [key for (key,) in connection.execute("SELECT id FROM leads WHERE deleted_at IS NULL")]
        # Each suggestion is accepted by two browsers, one after the other.
        suggestions = [row for row in connection.execute(SUGGESTED) for _ in range(2)]
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).isoformat()
    form = json.loads((EXAMPLES / "13-form.json").read_text("utf-8"))
    answers = itertools.cycle(suggestions)

    def accepted(_: int) -> dict[str, object]:
        key, version = next(answers)
        return {"taskId": key, "source": "MANUAL", "version": version}

    yield Screen("kanban", "Kanban", lambda _: {"first": 10})
    yield Screen("lead page", "LeadPage", lambda number: {"id": leads[number * 7919 % len(leads)]})
    yield Screen("my day", "MyDay", lambda _: {"midnight": midnight})
    yield Screen("form with five mistakes", "NewLead", lambda _: form, refusals=True)
    yield Screen("a suggestion, accepted in two browsers", "Answer", accepted)


@contextmanager
def demo() -> Iterator[Server]:
    """A server of the demo data."""
    postgres, folder = throw_away_postgres(settings={})
    try:
        with console.status(f"Starting PostgreSQL, loading {LEADS:,} leads"):
            migrations.upgrade(postgres.start())
            with psycopg.connect(postgres.url, autocommit=True) as connection:
                load(connection, LEADS)
                connection.execute("VACUUM ANALYZE")
        server = Server(postgres.url, Path(folder) / "log").start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        postgres.stop()
        remove(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4)
    options = parser.parse_args()
    load_before = os.getloadavg()[0]
    with demo() as server:
        table = Table("screen", "p50 ms", "p95 ms", title=f"{LEADS:,} leads; {measure.machine()}")
        token = server.token("member", email=PERSON.email)
        for screen in screens(server.database_url):
            query = operations()[screen.operation]

            def run(seconds: float, screen: Screen = screen, query: str = query) -> measure.Figures:
                asked = (server.port, token, query, screen.variables)
                return asyncio.run(measure.run(*asked, seconds=seconds, clients=1, refusals=screen.refusals))

            with console.status(screen.name):
                run(1)
                found = run(options.seconds)
            table.add_row(screen.name, f"{found.p50:.1f}", f"{found.p95:.1f}")
    console.print(table)
    console.print(f"Load of the machine: {load_before:.1f} before, {os.getloadavg()[0]:.1f} after.", style="dim")


if __name__ == "__main__":
    main()
