"""A database of their own for workers, so that no other test's events and jobs are theirs."""

import asyncio
import json
import os
import signal
import time
from contextlib import suppress

import psycopg
import pytest
from psycopg.rows import dict_row

from crm.core.identity import PROGRAM
from crm.db.database import Database
from crm.db.unit_of_work import UnitOfWork
from crm.jobs import enqueue
from tests.support import children
from tests.support.clusters import create_migrated_database
from tests.support.tables import QUEUES, empty


class Crew:
    """A worker process."""

    def __init__(self, url, log, options, settings):
        self._log = log
        environment = {
            **os.environ,
            "DATABASE_URL": url,
            "CRM_WORKER_HEARTBEAT_SECONDS": "0.3",
            "CRM_WORKER_STALLED_SECONDS": "1.5",
            "CRM_WORKER_GRACE_SECONDS": "5",
            **settings,
        }
        self.process = children.start_module("tests.jobs.crew", [json.dumps(options)], log, environment)
        try:
            self.wait_for('"worker.started"')
        except AssertionError:
            self.kill()
            raise

    def wait_for(self, text, seconds=90):
        deadline = time.monotonic() + seconds
        while text not in self.log():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def log(self):
        return self._log.read_text() if self._log.exists() else ""

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def kill(self):
        self.process.kill()
        self.process.wait(10)


@pytest.fixture(scope="module")
def jobs_url(postgres):
    base = postgres.url.replace("/crm?", "/postgres?")
    name = f"jobs{time.monotonic_ns()}"
    url = create_migrated_database(postgres.url, name)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE journal (id serial, what text, about text, process int, at timestamptz)")
    yield url
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def jobs_db(jobs_url):
    """A plain connection, over empty queues."""
    with psycopg.connect(jobs_url, autocommit=True, row_factory=dict_row) as connection:
        _empty_queues(connection)
        yield connection


def _empty_queues(connection):
    empty(connection, *QUEUES, "event_followers", "events", "journal", restart_identity=False)


@pytest.fixture(scope="class")
def one_crew(jobs_url, tmp_path_factory):
    """The worker process of a class of tests."""
    with psycopg.connect(jobs_url, autocommit=True) as connection:
        _empty_queues(connection)
    one = Crew(jobs_url, tmp_path_factory.mktemp("crew") / "log", {}, {})
    yield one
    one.kill()


class WithOneCrew:
    """Tests that share a worker process, and leave none of their jobs to it."""

    @pytest.fixture
    def jobs_db(self, jobs_url, one_crew):  # noqa: ARG002
        with psycopg.connect(jobs_url, autocommit=True, row_factory=dict_row) as connection:
            connection.execute("DELETE FROM journal")
            yield connection


@pytest.fixture
def outage(jobs_url, jobs_db):
    """The database ends all connections and lets nobody in for a while."""
    name = jobs_db.info.dbname

    async def away(seconds=1.5):
        with psycopg.connect(jobs_url.replace(f"/{name}?", "/postgres?"), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> %s",
                (name, jobs_db.info.backend_pid),
            )
            await asyncio.sleep(seconds)
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    return away


@pytest.fixture
def crew(jobs_url, jobs_db, tmp_path):  # noqa: ARG001
    """Start worker processes; whatever is left at the end is killed."""
    started = []

    def start(*, settings=None, **options):
        one = Crew(jobs_url, tmp_path / f"crew{len(started)}.log", options, settings or {})
        started.append(one)
        return one

    yield start
    for one in started:
        with suppress(ProcessLookupError):
            one.process.kill()
            one.process.wait(10)


@pytest.fixture
async def database(jobs_url, jobs_db):  # noqa: ARG001
    found = Database(jobs_url, size=4)
    yield found
    found.close()


@pytest.fixture
def put(database):
    """Put jobs into the queue, in a transaction of their own."""

    async def into(*jobs):
        unit = UnitOfWork(database, PROGRAM)
        try:
            ids = await enqueue(unit, *jobs)
            await unit.save()
        finally:
            await unit.close()
        return ids

    return into


@pytest.fixture
def journal(jobs_db):
    """What the crew wrote down."""

    def read(what=None):
        rows = jobs_db.execute("SELECT * FROM journal ORDER BY id").fetchall()
        return [row for row in rows if what is None or row["what"] == what]

    return read


@pytest.fixture
def eventually():
    """Wait until something is true."""

    def wait(condition, seconds=45):
        deadline, pause = time.monotonic() + seconds, 0.01
        while not (found := condition()):
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(pause)
            pause = min(pause * 1.2, 0.05)
        return found

    return wait
