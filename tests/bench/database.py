"""A PostgreSQL with as many demo leads as are asked for: made once, kept for the next run."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from crm.db import migrations
from crm.demo.load import CHUNK, load
from tests.postgres import KillableEmbeddedPostgres

# What an operator would set: a million leads do not fit into the default of 128 MB, and 1 GB of changes between two
# checkpoints makes most of them write whole pages.
SETTINGS = {
    "shared_buffers": "3GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "maintenance_work_mem": "512MB",
    "autovacuum_naptime": "10min",
}
LOADERS = 2
EVENTS = """
INSERT INTO events (type, entity, entity_id, lead_id, fields) SELECT 'lead.{}', 'lead', id::text, id, '[]' FROM leads
"""
LARGE = "leads", "interactions", "tasks", "events"


@dataclass
class Made:
    """A database, and the seconds that each step of making it took."""

    postgres: KillableEmbeddedPostgres
    leads: int
    steps: dict[str, float] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Note how long this takes."""
        before = time.monotonic()
        yield
        self.steps[name] = self.steps.get(name, 0) + time.monotonic() - before

    def living(self) -> list[int]:
        """The ids of all leads that are not deleted."""
        with psycopg.connect(self.postgres.url) as connection:
            return [row[0] for row in connection.execute("SELECT id FROM leads WHERE deleted_at IS NULL")]


@contextmanager
def database(console: Console, folder: Path, leads: int) -> Iterator[Made]:
    """That many leads with their histories, two events for each, and statistics."""
    postgres = KillableEmbeddedPostgres(folder / f"bench-{leads}", SETTINGS)
    postgres.start()
    try:
        postgres.stop()
        postgres.start()  # with these buffers
        migrations.upgrade(postgres.url)
        made = Made(postgres, leads)
        if _count(postgres.url, "leads") != leads:
            _fill(console, made)
        made.rows = {table: _count(postgres.url, table) for table in LARGE}
        yield made
    finally:
        postgres.stop()


def _fill(console: Console, made: Made) -> None:
    url, leads = made.postgres.url, made.leads
    _execute(url, "TRUNCATE leads, interactions, tasks, events, ai_tasks, ai_calls RESTART IDENTITY CASCADE")
    with made.step("load"):
        _load(console, url, leads)
    with console.status("Events"), made.step("events"):
        for verb in ("created", "updated"):
            _execute(url, EVENTS.format(verb))
    with console.status("VACUUM ANALYZE"), made.step("vacuum"), ThreadPoolExecutor(LOADERS) as at_once:
        list(at_once.map(lambda table: _execute(url, f"VACUUM (ANALYZE) {table}"), LARGE))


def _load(console: Console, url: str, leads: int) -> None:
    """By COPY, from two connections: PostgreSQL's part of it is most of the work, and one connection is one core."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(LOADERS) as at_once:
        bar = progress.add_task(f"Loading {leads:,} leads", total=leads)
        lock = threading.Lock()

        def part(count: int) -> None:
            told = 0

            def advance(done: int) -> None:
                nonlocal told
                with lock:
                    progress.advance(bar, done - told)
                told = done

            if count > 0:
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute("SET statement_timeout = 0")
                    load(connection, count, on_progress=advance)

        first = min(leads, CHUNK)
        part(first)  # with the team, which a second connection would wait for
        rest = leads - first
        list(at_once.map(part, [rest // LOADERS] * (LOADERS - 1) + [rest - rest // LOADERS * (LOADERS - 1)]))


def _execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET statement_timeout = 0")
        connection.execute(statement.encode())


def _count(url: str, table: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET statement_timeout = 0")
        row: Any = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
        return int(row[0])
