import ast
import asyncio
from pathlib import Path

import psycopg
import pytest
from structlog.testing import capture_logs

from crm.core import errors
from crm.core.settings import Settings
from crm.db.capacity import Capacity
from crm.db.database import Database, retried
from crm.db.lanes import LaneLimits
from crm.db.sqlstates import translated
from crm.db.statement import Statement
from tests.support.proxy import Proxy


class TestTranslated:
    @pytest.mark.parametrize(
        ("sql", "code"),
        [
            ("SELECT 1/0", "BAD_USER_INPUT"),
            ("SELECT 'x'::int", "BAD_USER_INPUT"),
            ("SELECT 10::int4 ^ 400", "BAD_USER_INPUT"),
            ("INSERT INTO leads (first_name) VALUES ('x')", "BAD_USER_INPUT"),
            ("INSERT INTO leads (first_name, last_name, budget) VALUES ('x', 'y', -1)", "BAD_USER_INPUT"),
            ("INSERT INTO tasks (title, lead_id) VALUES ('x', 99)", "NOT_FOUND"),
            ("SELECT crm_too_large('Too many.')", "TOO_LARGE"),
            ("SELECT nonsense", "INTERNAL"),
            ("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '57014'; END $$", "TIMEOUT"),
            ("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53300'; END $$", "UNAVAILABLE"),
            ("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '54001'; END $$", "TOO_COMPLEX"),
        ],
    )
    @pytest.mark.usefixtures("db")
    async def test_gives_every_error_its_code(self, database_url, sql, code):
        database = Database(database_url)
        with pytest.raises(psycopg.Error) as caught:
            await database.read(Statement(sql), ())
        assert translated(caught.value).code == code
        database.close()

    def test_names_the_column(self, db):
        with pytest.raises(psycopg.Error) as caught:
            db.execute("INSERT INTO leads (first_name) VALUES ('x')")
        assert translated(caught.value).details == {"field": "last_name"}


class TestRefusals:
    """What an answering server refuses is in the log, and does not fill it."""

    async def test_are_logged_once_a_second_and_state(self, database_url):
        database = Database(database_url, size=5)
        full, hungry = (
            Statement(f"DO $$ BEGIN RAISE EXCEPTION 'no room left' USING ERRCODE = '{state}'; END $$")
            for state in ("53100", "53200")
        )
        with capture_logs() as logs:
            for statement in (full, hungry) * 100:
                with pytest.raises(psycopg.Error):
                    await database.read(statement, ())
        database.close()
        told = [line for line in logs if line["event"] == "database.refused"]
        assert {line["state"] for line in told} == {"53100", "53200"}
        assert 2 <= len(told) <= 40
        assert told[0]["error"] == "no room left"

    async def test_of_a_statement_of_ours_are_not_the_servers(self, database_url):
        database = Database(database_url)
        with capture_logs() as logs, pytest.raises(psycopg.Error):
            await database.read(Statement("SELECT 1/0"), ())
        database.close()
        assert not [line for line in logs if line["event"] == "database.refused"]


class TestAServerThatStaysReadOnly:
    async def test_costs_nobody_the_connections_at_each_write(self, database_url):
        async with Proxy(database_url) as proxy:
            url = f"postgresql://postgres@{proxy.host}/crm?options=-c%20default_transaction_read_only%3Don"
            database = Database(url, size=5)
            await asyncio.gather(*(database.read(Statement("SELECT pg_sleep(0.1)"), ()) for _ in range(5)))
            insert = Statement("INSERT INTO leads (first_name, last_name) VALUES ('a', 'b')")
            for _ in range(50):
                with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                    await database.write(insert)
            assert proxy.connections < 20
            database.close()


class TestRetried:
    async def test_runs_a_write_once_more_where_a_primary_became_a_standby(self):
        attempts = []

        async def attempt():
            attempts.append(1)
            if len(attempts) == 1:
                raise psycopg.errors.ReadOnlySqlTransaction
            return "written"

        assert await retried(attempt) == "written"

    async def test_does_not_insist(self):
        async def attempt():
            raise psycopg.errors.ReadOnlySqlTransaction

        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await retried(attempt)


class TestCapacity:
    @pytest.fixture
    def narrow_url(self, database_url):
        """A user who may open 30 connections."""
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("DROP ROLE IF EXISTS narrow")
            connection.execute("CREATE ROLE narrow LOGIN CONNECTION LIMIT 30")
        yield database_url.replace("postgres@", "narrow@")
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("DROP OWNED BY narrow")
            connection.execute("DROP ROLE narrow")

    def test_warns_with_numbers_where_the_pools_may_want_more_than_there_is(self, narrow_url):
        with capture_logs() as logs:
            Capacity(pool_size=10, worker_concurrency=10).warn(narrow_url, web=2)
        (told,) = logs
        assert (told["wanted"], told["allowed"]) == (2 * 11 + 12 + 8, 30)
        assert "CRM_POOL_SIZE" in told["message"]

    def test_counts_the_workers_that_run_and_those_in_the_processes(self, narrow_url, database_url):
        capacity = Capacity(pool_size=10, worker_concurrency=10)
        with psycopg.connect(database_url, autocommit=True) as connection, capture_logs() as logs:
            connection.execute("GRANT SELECT ON procrastinate_workers TO narrow")
            connection.execute("DELETE FROM procrastinate_workers")
            connection.execute("INSERT INTO procrastinate_workers DEFAULT VALUES")
            connection.execute(
                "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '5 minutes'), (now())"
            )
            capacity.warn(narrow_url, web=2)
            capacity.warn(narrow_url, web=2, new_workers=2)
            connection.execute("DELETE FROM procrastinate_workers")
            capacity.warn(narrow_url, web=2, new_workers=2)
        assert [told["wanted"] for told in logs] == [2 * 11 + count * 20 for count in (2, 4, 2)]

    def test_says_nothing_where_there_is_enough(self, narrow_url):
        with capture_logs() as logs:
            Capacity(pool_size=5, worker_concurrency=3).warn(narrow_url)
        assert logs == []


class TestDatabase:
    async def test_is_unavailable_once_closed(self, database_url):
        database = Database(database_url)
        database.close()
        with pytest.raises(errors.Unavailable):
            await database.read(Statement("SELECT 1"), ())


KEPT_BY_ALL = {"prepared_max": 11, "prepared_bytes": 13, "timeout": 8}


class Given(Database):
    """Notes what it is made from."""

    def __init__(self, *urls, **options):
        self.urls, self.options = urls, options


class TestSettings:
    CONFIG = Settings(
        database_url="postgresql:///a",
        database_read_url="postgresql:///b",
        pool_size=7,
        prepared_max=11,
        prepared_bytes=13,
        viewer_connections=2,
        slow_reads=4,
        read_timeout_seconds=5,
        mutation_read_timeout_seconds=1,
        mutation_timeout_seconds=3,
        pool_idle_seconds=6,
        connect_timeout_seconds=8,
        read_max_lag_seconds=9,
    )

    def test_hold_for_what_viewers_ask(self):
        limits = LaneLimits(each=2, slow=4, read_seconds=5, mutation_read_seconds=1, mutation_seconds=3, idle_seconds=6)
        made = Given.for_viewers(self.CONFIG)
        assert made.urls == ("postgresql:///a", "postgresql:///b")
        assert made.options == {**KEPT_BY_ALL, "size": 7, "most_lag": 9, "limits": limits}

    def test_hold_for_the_programs_own_work_but_for_viewers_limits(self):
        made = Given.for_program(self.CONFIG, "postgresql:///c", size=3)
        assert made.urls == ("postgresql:///c",)
        assert made.options == {**KEPT_BY_ALL, "size": 3, "limits": LaneLimits(idle_seconds=6)}

    def test_are_never_left_out(self):
        """Whoever makes a database by hand forgets one of them."""
        made = [
            f"{path}:{node.lineno}"
            for path in (Path(__file__).parents[2] / "crm").rglob("*.py")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Database"
        ]
        assert made == []
