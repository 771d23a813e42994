"""Fixtures: a real PostgreSQL, a real server, a real client, and makers of records."""

import gc
import itertools
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

import crm.models  # noqa: F401  (in each of the program's processes all tables are known, as foreign keys need)
from tests.support.clusters import make_folder, migrated_postgres
from tests.support.http_client import AsyncClient
from tests.support.lanes import LaneScheduling
from tests.support.model_server import ModelServer
from tests.support.postgres import QUICK, remove
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.tables import empty

_numbers = itertools.count(1)


def pytest_configure(config):
    """One migrated PostgreSQL is made in a run of the tests, and copied by all its processes.

    They and their servers read no certificates: each client of a model would take 50 ms to parse those of the system,
    and the models of the tests speak plain HTTP. SIGTERM ends a run as ctrl-C does: else its PostgreSQL would go on.
    """
    gc.disable()  # until all tests are collected: they stay
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ.pop("SSL_CERT_FILE", None)
    os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)  # a folder without any
    if folder := make_folder():
        config.add_cleanup(lambda: remove(folder))


def pytest_collection_finish(session):  # noqa: ARG001
    """Spare the garbage collector what is there by now: the program, and five thousand tests (as `crm/app.py` does)."""
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With `--dist=loadfile`, files that wait have processes of their own beside those that compute."""
    return LaneScheduling(config, log) if config.getoption("dist") == "loadfile" else None


class GraphQLFailed(AssertionError):
    """The answer has errors, and the test did not expect any."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(str(errors))
        self.errors = errors

    @property
    def code(self) -> str:
        return self.errors[0]["extensions"]["code"]


@pytest.fixture(scope="session")
def postgres():
    # Without autovacuum: when it comes by would decide about plans and about the order of rows.
    server, folder = migrated_postgres(settings={**QUICK, "autovacuum": "off"})
    yield server
    server.stop()
    remove(folder)


@pytest.fixture(scope="session")
def database_url(postgres):
    return postgres.url


@pytest.fixture(scope="session")
def server(database_url, tmp_path_factory):
    """One server for all tests that do not hurt it."""
    running = Server(database_url, tmp_path_factory.mktemp("server") / "log").start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def running_model_server():
    server = ModelServer()
    yield server
    server.stop()


@pytest.fixture
def model_server(running_model_server):
    """A server on a socket that speaks OpenAI's Chat Completions, and says what the test tells it to."""
    running_model_server.reset()
    return running_model_server


@pytest.fixture(scope="session")
def connected(database_url):
    """Give a plain connection: the same one to every test, unless it was closed."""
    connection = None

    def give():
        nonlocal connection
        if connection is None or _is_gone(connection):
            connection = psycopg.connect(database_url, autocommit=True, row_factory=dict_row, prepare_threshold=None)
        return connection

    yield give
    if connection is not None:
        connection.close()


def _is_gone(connection):
    with suppress(psycopg.OperationalError):
        connection.execute("DISCARD ALL")
    return connection.closed


@pytest.fixture
async def proxy(database_url):
    """A wire to PostgreSQL that can be cut and frozen."""
    async with Proxy(database_url) as found:
        yield found


@pytest.fixture
def db(connected):
    """A plain connection, over empty tables."""
    connection = connected()
    empty(connection, "leads", "tasks", "interactions", "events", "ai_calls", "ai_task_days", "idempotency_keys")
    connection.execute("DELETE FROM users WHERE email NOT LIKE 'service-%%@crm.invalid'")
    return connection


@pytest.fixture
async def client(server):
    """An HTTP client that is signed in as an admin."""
    headers = {"Authorization": f"Bearer {server.token()}"}
    async with AsyncClient(base_url=server.url, headers=headers, timeout=30) as found:
        yield found


@pytest.fixture
def graphql(server, client, db):  # noqa: ARG001
    """Run an operation and return its data; `role=` says as whom, keywords are its variables."""

    async def run(query: str, *, role: str = "admin", expect_errors: bool = False, **variables: Any) -> Any:
        headers = {"Authorization": f"Bearer {server.token(role)}"}
        response = await client.post("/graphql", json={"query": query, "variables": variables}, headers=headers)
        answer = response.json()
        if expect_errors:
            return answer
        if answer.get("errors"):
            raise GraphQLFailed(answer["errors"])
        return answer["data"]

    return run


@pytest.fixture
def refused(graphql, db):
    """Run an operation that must be refused without a trace; returns its first error's extensions."""

    async def run(query, **variables):
        before = db.execute("SELECT count(*) AS count FROM events").fetchone()["count"]
        answer = await graphql(query, expect_errors=True, **variables)
        assert answer.get("errors"), answer
        assert db.execute("SELECT count(*) AS count FROM events").fetchone()["count"] == before
        return answer["errors"][0]["extensions"]

    return run


@pytest.fixture
def insert(db):
    """Insert a row and return it whole."""

    def into(table: str, **values: Any) -> dict[str, Any]:
        names = ", ".join(values)
        places = ", ".join(["%s"] * len(values))
        adapted = [Jsonb(value) if isinstance(value, dict) else value for value in values.values()]
        row = db.execute(f"INSERT INTO {table} ({names}) VALUES ({places}) RETURNING *", adapted).fetchone()
        assert row is not None
        return row

    return into


@pytest.fixture
def make_lead(insert):
    def make(**values: Any) -> dict[str, Any]:
        number = next(_numbers)
        deleted = values.pop("deleted", False)
        defaults = {"first_name": f"First{number}", "last_name": f"Last{number}"}
        if deleted:
            values["deleted_at"] = "2026-01-01T00:00:00Z"
        return insert("leads", **{**defaults, **values})

    return make


@pytest.fixture
def make_task(insert, make_lead):
    def make(**values: Any) -> dict[str, Any]:
        if "lead_id" not in values:
            values["lead_id"] = make_lead()["id"]
        if values.pop("deleted", False):
            values["deleted_at"] = "2026-01-01T00:00:00Z"
        return insert("tasks", **{"title": f"Task {next(_numbers)}", **values})

    return make


@pytest.fixture
def make_interaction(insert, make_lead):
    def make(**values: Any) -> dict[str, Any]:
        if "lead_id" not in values:
            values["lead_id"] = make_lead()["id"]
        return insert("interactions", **{"type": "call", **values})

    return make


@pytest.fixture
def make_user(insert):
    def make(**values: Any) -> dict[str, Any]:
        number = next(_numbers)
        return insert("users", **{"email": f"user{number}@example.com", "name": f"User {number}", **values})

    return make


@pytest.fixture
def events(db):
    """The events written so far, oldest first."""

    def found(**where: Any) -> list[dict[str, Any]]:
        rows = db.execute("SELECT * FROM events ORDER BY id").fetchall()
        return [row for row in rows if all(row[name] == value for name, value in where.items())]

    return found
