"""A PostgreSQL with as many demo leads as are asked for: made once, kept for the next run."""

import shutil
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
from tests.support.postgres import KillableEmbeddedPostgres

# What an operator would set: a million leads do not fit into the default of 128 MB, and 1 GB of changes between two
# checkpoints makes most of them write whole pages.
SETTINGS = {
    "shared_buffers": "3GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "maintenance_work_mem": "1GB",
    "autovacuum_naptime": "10min",
}
LOADERS = 2
EVENTS = """
INSERT INTO events (type, entity, entity_id, lead_id, fields) SELECT 'lead.{}', 'lead', id::text, id, '[]' FROM leads
"""
LARGE = "leads", "interactions", "tasks", "events"
# An index is made of all rows in a third of the time that it takes to put them in one by one. Those of `lead_id` stay:
# scores are counted by them.
LATER = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid)
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE indrelid::regclass::text IN ('leads', 'interactions', 'tasks') AND NOT indisunique AND relname !~ 'lead_id'
ORDER BY indrelid::regclass::text, indexrelid
"""
# Nothing of a database that is being made is worth a disk's time; the settings of who runs one come after it.
CARELESS = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "autovacuum": "off"}


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
    place, whole = folder / f"bench-{leads}", folder / f"bench-{leads}.made"
    if not whole.exists():
        shutil.rmtree(place, ignore_errors=True)
    with _running(place, SETTINGS | CARELESS) as postgres:
        migrations.upgrade(postgres.url)
        made = Made(postgres, leads)
        if not whole.exists():
            _fill(console, made)
            whole.touch()
        made.rows = {table: _count(postgres.url, table) for table in LARGE}
    with _running(place, SETTINGS | dict.fromkeys(CARELESS, "on")) as made.postgres:
        yield made


@contextmanager
def _running(place: Path, settings: dict[str, str]) -> Iterator[KillableEmbeddedPostgres]:
    postgres = KillableEmbeddedPostgres(place, settings)
    postgres.start()
    try:
        postgres.stop()
        postgres.start()  # some settings need a second start
        yield postgres
    finally:
        postgres.stop()


def _fill(console: Console, made: Made) -> None:
    url, leads = made.postgres.url, made.leads
    with psycopg.connect(url) as connection:
        later = connection.execute(LATER).fetchall()
    for name, _ in later:
        _execute(url, f"DROP INDEX {name}")
    with made.step("load"):
        _load(console, url, leads)
    with console.status(f"{len(later)} indexes"), made.step("indexes"), ThreadPoolExecutor(LOADERS) as at_once:
        list(at_once.map(lambda index: _execute(url, index[1]), later))
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
                    connection.execute(
                        "SET statement_timeout = 0; SET session_replication_role = replica"
                    )  # no keys checked
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
