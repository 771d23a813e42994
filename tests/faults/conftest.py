"""Servers and databases of their own, to be hurt."""

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.faults.ledger import Crew, Ledger
from tests.support.clusters import migrated_postgres
from tests.support.postgres import remove
from tests.support.servers import Server
from tests.support.tables import empty


@pytest.fixture(scope="session")
def rounds():
    """How often something is hurt that has to heal each time: twice in the suite, `make faults` sets more."""
    return int(os.environ.get("CRM_FAULT_ROUNDS", "2"))


@pytest.fixture(scope="session")
def repeats():
    """How often a fault is repeated whose rounds share nothing: once in the suite, `make faults` sets more."""
    return int(os.environ.get("CRM_FAULT_ROUNDS", "1"))


@pytest.fixture(scope="module")
def own_postgres() -> Iterator:
    """A PostgreSQL that only this module uses, so that it may be killed."""
    postgres, folder = migrated_postgres()
    yield postgres
    postgres.stop()
    remove(folder)


@pytest.fixture
def own_database(own_postgres):
    """Its database, empty."""
    with _connected(own_postgres.url) as connection:
        empty(connection, "leads", "tasks", "interactions", "events", "ai_calls", "ai_tasks", "ai_task_days")
        empty(connection, "procrastinate_jobs", "procrastinate_workers", "event_followers")
        connection.execute("UPDATE event_epoch SET purged_xid = '0'")
    return own_postgres.url


def _connected(url):
    """A connection, as soon as a crash is recovered from."""
    for _ in range(100):
        with contextlib.suppress(psycopg.OperationalError):
            return psycopg.connect(url, autocommit=True)
        time.sleep(0.1)
    return psycopg.connect(url, autocommit=True)


@pytest.fixture(scope="module")
def own_server(own_postgres, tmp_path_factory) -> Iterator[Server]:
    """A server on the module's own PostgreSQL, for tests that do not hurt it."""
    server = Server(own_postgres.url, tmp_path_factory.mktemp("own_server") / "log").start()
    yield server
    server.kill()


@pytest.fixture
def start_server(own_database, tmp_path):
    """Start `crm serve` on the module's own database; whatever is left at the end is killed."""
    started: list[Server] = []

    def start(*, fork: bool = True, **settings: Any) -> Server:
        server = Server(own_database, tmp_path / f"log{len(started)}", fork=fork, **settings).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def ledger(own_database, tmp_path):
    """The AI tasks of a test, to be compared in the end with what their workers did."""
    found = Ledger(own_database, tmp_path)
    yield found
    found.close()


@pytest.fixture
def hire(own_database, tmp_path):
    """Start a worker of AI tasks; whatever is left at the end is killed."""
    hired: list[Crew] = []

    async def start(**settings: str) -> Crew:
        hired.append(Crew(own_database, tmp_path, len(hired), settings))
        return await hired[-1].started()

    yield start
    for crew in hired:
        crew.end()


@pytest.fixture(scope="session")
def report():
    """Print a line of figures; `-s`, or `-rP`, shows them."""

    def line(name: str, **figures: object) -> None:
        shown = ", ".join(
            f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}" for key, value in figures.items()
        )
        print(f"\nFAULTS {name}: {shown}", flush=True)  # noqa: T201

    return line
