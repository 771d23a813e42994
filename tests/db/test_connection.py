import asyncio
import random
import time
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from crm.core import errors
from crm.db.address import PostgresAddress
from crm.db.connection import NOTHING_PREPARED, ConnectionLost, PostgresConnection, PreparedLimits, StatementStale
from crm.db.database import Database
from crm.db.pool import Busy, Pool
from crm.db.statement import BEGIN, COMMIT, ROLLBACK, Statement, encode
from tests.support.servers import free_port
from tests.support.waiting import eventually

PID = Statement("SELECT pg_backend_pid()")
ONE = Statement("SELECT 1")


def value(result):
    return result.get_value(0, 0)


@pytest.fixture
async def connect(database_url):
    """Open a wire; all are closed afterwards."""
    opened = []

    async def one(prepared_max=500, url=database_url):
        wire = await PostgresConnection.connect(PostgresAddress(url), PreparedLimits(prepared_max))
        opened.append(wire)
        return wire

    yield one
    for wire in opened:
        wire.close()


@pytest.fixture
async def wire(connect):
    return await connect()


@pytest.fixture
def pool(database_url):
    found = Pool(database_url, size=10, timeout=5)
    yield found
    found.close()


class Colour(StrEnum):
    RED = "red"


class TestEncode:
    @pytest.mark.parametrize(
        ("kind", "given", "expected"),
        [
            ("boolean", True, True),
            ("boolean", False, False),
            ("integer", -(2**31), -(2**31)),
            ("bigint", 2**63 - 1, 2**63 - 1),
            ("text", "", ""),
            ("text", 'Åsa "O\'Brien" \\ 100 % 😀 \u202eRTL\n\t', 'Åsa "O\'Brien" \\ 100 % 😀 \u202eRTL\n\t'),
            ("text", Colour.RED, "red"),
            ("numeric", Decimal("-123456789012.34"), Decimal("-123456789012.34")),
            ("numeric", Decimal("1E+3"), Decimal(1000)),
            ("double precision", 0.1, 0.1),
            ("timestamptz", datetime(2026, 1, 31, 9, 30, 0, 123456, UTC), datetime(2026, 1, 31, 9, 30, 0, 123456, UTC)),
            (
                "timestamptz",
                datetime(2026, 1, 31, 9, 30, tzinfo=timezone(timedelta(hours=5, minutes=45))),
                datetime(2026, 1, 31, 3, 45, tzinfo=UTC),
            ),
            ("date", date(1999, 12, 31), date(1999, 12, 31)),
            (
                "uuid",
                UUID("0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f10"),
                UUID("0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f10"),
            ),
            ("bytea", b"\\x00ff", b"\x00\xff"),
            ("jsonb", {"a": [1, None, 'Å"\\']}, {"a": [1, None, 'Å"\\']}),
            ("text[]", [], []),
            ("text[]", ("a", None, "NULL", "", " "), ["a", None, "NULL", "", " "]),
            (
                "text[]",
                ['quote " here', "back\\slash", "{brace}", "com,ma", "Å😀"],
                ['quote " here', "back\\slash", "{brace}", "com,ma", "Å😀"],
            ),
            ("integer[]", [1, -2, None], [1, -2, None]),
            ("boolean[]", [True, False], [True, False]),
            ("uuid[]", [UUID(int=1)], [UUID(int=1)]),
            ("timestamptz[]", [datetime(2026, 1, 1, tzinfo=UTC)], [datetime(2026, 1, 1, tzinfo=UTC)]),
            ("text", None, None),
        ],
    )
    async def test_is_understood_by_the_server(self, wire, database_url, kind, given, expected):
        result = await wire.execute(Statement(f"SELECT $1::{kind}::text"), [encode(given)])
        with psycopg.connect(database_url) as connection:
            adapted = Jsonb(expected) if isinstance(expected, dict) else expected
            plain = connection.execute(f"SELECT %s::{kind}::text, %s::{kind}", (adapted, adapted)).fetchone()
        assert (value(result) or b"").decode() == (plain[0] or "")
        assert plain[1] == expected

    def test_refuses_what_it_does_not_know(self):
        with pytest.raises(TypeError, match="object"):
            encode(object())


class TestStatements:
    async def test_are_prepared_on_their_second_use(self, wire):
        statement, names = Statement("SELECT $1::int + 1"), Statement("SELECT count(*) FROM pg_prepared_statements")
        assert value(await wire.execute(statement, [b"1"])) == b"2"
        assert value(await wire.execute(names)) == b"0"
        assert value(await wire.execute(statement, [b"2"])) == b"3"
        assert value(await wire.execute(statement, [b"3"])) == b"4"
        assert value(await wire.execute(Statement(names.text.decode()))) == b"1"

    async def test_make_room_for_others_at_the_limit(self, connect):
        wire = await connect(prepared_max=3)
        statements = [Statement(f"SELECT {number}") for number in range(10)]
        for _ in range(3):
            for number, statement in enumerate(statements):
                assert value(await wire.execute(statement)) == b"%d" % number
        count = await wire.execute(Statement("SELECT count(*) FROM pg_prepared_statements"))
        assert value(count) == b"3"

    async def test_take_no_more_memory_than_they_may(self, database_url):
        """Long ones push out many short ones, and one that is longer than all may be is not prepared at all."""
        wire = await PostgresConnection.connect(PostgresAddress(database_url), PreparedLimits(500, 1_000_000))
        short = [Statement(f"SELECT {number}") for number in range(100)]
        long = [Statement(f"SELECT {number}, {'1+' * 450} 1") for number in range(20)]
        longest = Statement(f"SELECT {'1+' * 3000} 1")
        for statement in [*short * 2, *long * 2, longest, longest, longest]:
            await wire.execute(statement)
        found = await wire.execute(
            Statement("SELECT sum(length(statement)), max(length(statement)) FROM pg_prepared_statements")
        )
        total, most = (int(found.get_value(0, column) or 0) for column in range(2))
        assert 0 < total * 200 <= 1_000_000
        assert most < 2000
        memory = await wire.execute(
            Statement("SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name LIKE 'CachedPlan%'")
        )
        assert int(value(memory) or 0) < 2_000_000
        wire.close()

    async def test_are_never_prepared_when_that_is_off(self, connect):
        wire = await connect(prepared_max=0)
        for _ in range(4):
            await wire.execute(ONE)
            await wire.run([(ONE, ()), (ONE, ())])
        assert value(await wire.execute(Statement("SELECT count(*) FROM pg_prepared_statements"))) == b"0"

    @pytest.mark.parametrize("prepared_max", [1, 2, 3])
    async def test_stay_usable_after_a_batch_that_failed_while_preparing(self, connect, prepared_max):
        wire = await connect(prepared_max)
        good = [Statement(f"SELECT {number}") for number in range(4)]
        bad = Statement("SELECT 1 / $1::int")
        for _ in range(2):
            for statement in good:
                await wire.execute(statement)
        for _ in range(3):
            with pytest.raises(psycopg.errors.DivisionByZero):
                await wire.run([(good[0], ()), (bad, [b"0"]), *((statement, ()) for statement in good)])
            for number, statement in enumerate(good):
                assert value(await wire.execute(statement)) == b"%d" % number
        assert [value(one) for one in await wire.run([(one, ()) for one in good])] == [b"0", b"1", b"2", b"3"]

    async def test_that_do_not_parse_leave_the_wire_usable(self, wire):
        wrong = Statement("SELECT nonsense")
        for _ in range(3):
            with pytest.raises(psycopg.errors.UndefinedColumn):
                await wire.execute(wrong)
            with pytest.raises(psycopg.errors.UndefinedColumn):
                await wire.run([(ONE, ()), (wrong, ()), (ONE, ())])
            assert value(await wire.execute(ONE)) == b"1"

    async def test_take_five_megabytes_and_give_them_back(self, wire):
        text = "Å😀" * 850_000
        echo = Statement("SELECT $1::text")
        for _ in range(3):
            assert value(await wire.execute(echo, [encode(text)])) == text.encode()
        results = await wire.run([(echo, [encode(text)])] * 4)
        assert [len(value(one)) for one in results] == [len(text.encode())] * 4

    async def test_give_many_rows(self, wire):
        result = await wire.execute(Statement("SELECT repeat('x', 100) FROM generate_series(1, 200000)"))
        assert result.ntuples == 200_000


class TestTransactions:
    async def test_undo_all_when_one_statement_of_a_batch_fails(self, wire, db):
        insert = Statement("INSERT INTO leads (first_name, last_name) VALUES ($1, $1)")
        with pytest.raises(psycopg.errors.DivisionByZero):
            await wire.run([(BEGIN, ()), (insert, [b"a"]), (Statement("SELECT 1/0"), ()), (COMMIT, ())])
        await wire.execute(ROLLBACK)
        await wire.run([(BEGIN, ()), (insert, [b"b"]), (COMMIT, ())])
        assert [row["first_name"] for row in db.execute("SELECT first_name FROM leads").fetchall()] == ["b"]


class TestCancellation:
    async def test_stops_the_statement_at_the_server(self, wire, db):
        task = asyncio.create_task(wire.execute(Statement("SELECT pg_sleep(60)")))
        pid = wire.connection.pgconn.backend_pid
        await eventually(lambda: state(db, pid) == "active")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert wire.broken
        await eventually(lambda: state(db, pid) is None)

    async def test_in_the_middle_of_a_large_result_leaks_nothing(self, database_url, db):
        database = Database(database_url, size=2)
        large = Statement("SELECT repeat('x', 1000) FROM generate_series(1, 100000)")
        before = connections(db)
        for delay in (0.0, 0.001, 0.01, 0.05):
            task = asyncio.create_task(database.read(large, ()))
            await asyncio.sleep(delay)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        assert value(await database.read(ONE, ())) == b"1"
        database.close()
        await eventually(lambda: connections(db) <= before)


class TestLostConnections:
    async def test_an_idle_backend_that_was_killed_is_noticed_before_it_is_used(self, pool, db):
        async with pool.connection() as wire:
            pid = int(value(await wire.execute(PID)))
        db.execute("SELECT pg_terminate_backend(%s)", (pid,))
        await eventually(lambda: wire.broken)
        async with pool.connection() as other:
            assert int(value(await other.execute(PID))) != pid

    async def test_a_read_heals_when_every_backend_was_killed_a_moment_ago(self, database_url, db):
        database = Database(database_url, size=5)
        pids = await asyncio.gather(
            *(database.read(Statement("SELECT pg_backend_pid(), pg_sleep(0.05)"), ()) for _ in range(5))
        )
        for pid in pids:
            db.execute("SELECT pg_terminate_backend(%s, 1000)", (int(value(pid)),))
        assert value(await database.read(ONE, ())) == b"1"
        database.close()

    async def test_a_read_whose_backend_is_killed_meanwhile_runs_again(self, database_url, db):
        database = Database(database_url, size=2)
        task = asyncio.create_task(database.read(Statement("SELECT 'slept' FROM pg_sleep(0.5)"), ()))
        await eventually(lambda: sleeping(db))
        db.execute("SELECT pg_terminate_backend(%s)", (sleeping(db),))
        assert value(await task) == b"slept"
        database.close()

    async def test_sending_on_a_dead_connection_is_a_lost_connection(self, connect, db):
        for way in ("execute", "run"):
            wire = await connect()
            await wire.execute(ONE)
            db.execute("SELECT pg_terminate_backend(%s, 1000)", (wire.connection.pgconn.backend_pid,))
            with pytest.raises(ConnectionLost):
                await (wire.execute(ONE) if way == "execute" else wire.run([(ONE, ())]))
            with pytest.raises(ConnectionLost):
                await (wire.execute(ONE) if way == "execute" else wire.run([(ONE, ())]))

    async def test_an_unreachable_server_is_unavailable(self):
        database = Database(f"postgresql://nobody@127.0.0.1:{free_port()}/crm", timeout=2)
        for _ in range(15):
            with pytest.raises(errors.Unavailable):
                await database.read(ONE, ())


class TestChangedTables:
    async def test_a_read_survives_a_migration_under_its_prepared_statement(self, database_url, db):
        db.execute("DROP TABLE IF EXISTS migrating")
        db.execute("CREATE TABLE migrating (a int)")
        database = Database(database_url, size=4)
        statement = Statement("SELECT * FROM migrating, pg_sleep(0.02)")
        try:
            for _ in range(2):
                await asyncio.gather(*(database.read(statement, ()) for _ in range(4)))
            db.execute("ALTER TABLE migrating ADD COLUMN b int")
            found = await asyncio.gather(*(database.read(statement, ()) for _ in range(20)))
            assert {one.nfields for one in found} == {3}
        finally:
            database.close()
            db.execute("DROP TABLE migrating")

    async def test_what_is_not_supported_at_all_stays_that_error(self, connect):
        wire = await connect()
        statement = Statement("SELECT 1 FOR UPDATE OF x")
        for _ in range(3):
            with pytest.raises(psycopg.Error) as caught:
                await wire.execute(statement)
            assert not isinstance(caught.value, StatementStale)
        assert not wire.stale


class TestPool:
    async def test_answers_two_hundred_reads_at_once_over_ten_connections(self, database_url, db):
        database = Database(database_url, size=10)
        before = connections(db)
        statement = Statement("SELECT $1::int FROM pg_sleep(0.01)")
        found = await asyncio.gather(*(database.read(statement, [b"%d" % number]) for number in range(200)))
        assert [int(value(one)) for one in found] == list(range(200))
        assert connections(db) - before <= 10
        database.close()

    async def test_says_unavailable_in_time_when_all_are_busy(self, database_url):
        pool = Pool(database_url, size=2, prepared_limits=NOTHING_PREPARED, timeout=0.5)
        held = [await pool.acquire(), await pool.acquire()]
        started = time.monotonic()
        outcomes = await asyncio.gather(*(pool.acquire() for _ in range(20)), return_exceptions=True)
        assert 0.4 < time.monotonic() - started < 2
        assert {type(one) for one in outcomes} == {Busy}
        for wire in held:
            pool.release(wire)
        assert await asyncio.wait_for(pool.acquire(), 1) in held
        pool.close()

    async def test_serves_those_who_wait_in_their_order(self, database_url):
        pool = Pool(database_url, size=1, prepared_limits=NOTHING_PREPARED, timeout=5)
        wire = await pool.acquire()
        served = []

        async def one(number):
            async with pool.connection():
                served.append(number)
                await asyncio.sleep(0)

        waiting = [asyncio.create_task(one(number)) for number in range(50)]
        await asyncio.sleep(0)
        pool.release(wire)
        await asyncio.gather(*waiting)
        assert served == list(range(50))
        pool.close()

    async def test_hands_on_what_somebody_was_given_in_the_moment_of_giving_up(self, database_url):
        pool = Pool(database_url, size=1, prepared_limits=NOTHING_PREPARED, timeout=3)
        wire = await pool.acquire()
        first, second = asyncio.create_task(pool.acquire()), asyncio.create_task(pool.acquire())
        await asyncio.sleep(0)
        pool.release(wire)
        first.cancel()
        assert await asyncio.wait_for(second, 1) is wire
        pool.close()

    async def test_leaks_nothing_whatever_is_cancelled_or_killed_when(self, database_url, db):
        before = connections(db)
        pool = Pool(database_url, size=5, prepared_limits=PreparedLimits(5), timeout=5)
        dice = random.Random(7)
        statements = [Statement(f"SELECT {n}, pg_sleep(0.00{n % 3})") for n in range(12)]
        wrong = Statement("SELECT 1 / $1::int")

        async def use():
            async with pool.connection() as wire:
                await asyncio.sleep(dice.choice([0, 0, 0.001]))
                kind = dice.random()
                if kind < 0.05:
                    db.execute("SELECT pg_terminate_backend(%s)", (wire.connection.pgconn.backend_pid,))
                if kind < 0.4:
                    await wire.run([(BEGIN, ()), *((dice.choice(statements), ()) for _ in range(3)), (COMMIT, ())])
                elif kind < 0.5:
                    await wire.execute(wrong, [b"0"])
                else:
                    number = dice.randrange(12)
                    assert value(await wire.execute(statements[number])) == b"%d" % number

        running = set()
        for _ in range(1500):
            task = asyncio.create_task(use())
            running.add(task)
            task.add_done_callback(running.discard)
            if dice.random() < 0.3:
                await asyncio.sleep(dice.random() * 0.004)
            if running and dice.random() < 0.4:
                dice.choice(sorted(running, key=id)).cancel()
        outcomes = await asyncio.gather(*running, return_exceptions=True)
        unexpected = (AssertionError, errors.Unavailable, KeyError, TypeError)
        assert not [one for one in outcomes if isinstance(one, unexpected)]
        held = [await asyncio.wait_for(pool.acquire(), 5) for _ in range(5)]
        assert [value(await wire.execute(ONE)) for wire in held] == [b"1"] * 5
        for wire in held:
            pool.release(wire)
        pool.close()
        await eventually(lambda: connections(db) <= before)


def state(db, pid):
    row = db.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone()
    return row and row["state"]


def sleeping(db):
    row = db.execute("SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'").fetchone()
    return row and row["pid"]


def connections(db):
    row = db.execute("SELECT count(*) AS count FROM pg_stat_activity WHERE backend_type = 'client backend'").fetchone()
    return row["count"]
