"""Through a pooler in transaction mode: each transaction may run on another of PostgreSQL's connections.

It needs DATABASE_LISTEN_URL for a direct connection (LISTEN is session state); nothing else keeps session state.
"""

import asyncio

from structlog.testing import capture_logs

from crm.db.database import Database
from crm.db.statement import BEGIN, COMMIT, ROLLBACK, Statement
from tests.support.pooler import pooler
from tests.support.waiting import eventually

ONE = Statement("SELECT 1")


def value(result):
    return result.get_value(0, 0)


def sleeping(db):
    return db.execute("SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'").fetchone()


class TestWithItsOwnSettings:
    """PgBouncer before 1.21 keeps no prepared statements, and we prepare them."""

    async def test_reads_go_on_unprepared_and_the_log_says_once_what_helps(self, database_url):
        statements = [Statement(f"SELECT $1::int + {number}") for number in range(5)]
        with pooler(database_url) as url, capture_logs() as logs:
            database = Database(url, size=20)
            for _ in range(5):
                reads = [database.read(statements[n % 5], [b"%d" % n]) for n in range(60)]
                found = await asyncio.gather(*reads)
                assert [int(value(one)) for one in found] == [n + n % 5 for n in range(60)]
            database.close()
        (told,) = [line for line in logs if line["event"] == "database.pooler"]
        assert "CRM_PREPARED_MAX=0" in told["message"]

    async def test_writes_go_on_and_happen_once(self, database_url, db):
        insert = Statement("INSERT INTO leads (first_name, last_name) VALUES ($1, $1) RETURNING id")
        with pooler(database_url) as url:
            database = Database(url, size=20)
            for _ in range(4):
                await asyncio.gather(*(database.write(insert, [b"%d" % number]) for number in range(30)))
            database.close()
        assert db.execute("SELECT count(*) AS count FROM leads").fetchone()["count"] == 120

    async def test_another_process_s_statement_is_never_run_for_ours(self, database_url):
        """A pooler mixes up the sessions of several processes: a name must stand for one text everywhere."""
        one, same, other = Statement("SELECT 1"), Statement("SELECT 1"), Statement("SELECT 2")
        assert one.name == same.name
        assert one.name != other.name
        with pooler(database_url) as url:
            databases = [Database(url, size=5) for _ in range(2)]
            for _ in range(10):
                found = await asyncio.gather(
                    *(database.read(statement, ()) for database in databases for statement in (one, other) * 5)
                )
                assert [value(result) for result in found] == [b"1", b"2"] * 10
            for database in databases:
                database.close()


class TestThroughAPooler:
    async def test_works_without_prepared_statements(self, database_url, db):
        with pooler(database_url) as url:
            database = Database(url, size=20, prepared_max=0)
            statement = Statement("SELECT $1::int")
            for _ in range(5):
                found = await asyncio.gather(*(database.read(statement, [b"%d" % n]) for n in range(60)))
                assert [int(value(one)) for one in found] == list(range(60))
            await asyncio.gather(*(self._write(database, number) for number in range(40)))
            assert db.execute("SELECT count(*) AS count FROM leads").fetchone()["count"] == 20
            database.close()

    async def test_cancels_at_the_server(self, database_url, db):
        with pooler(database_url) as url:
            database = Database(url, size=5, prepared_max=0)
            task = asyncio.create_task(database.read(Statement("SELECT pg_sleep(60)"), ()))
            await eventually(lambda: sleeping(db))
            task.cancel()
            await eventually(lambda: not sleeping(db))
            assert value(await database.read(ONE, ())) == b"1"
            database.close()

    @staticmethod
    async def _write(database, number):
        insert = Statement("INSERT INTO leads (first_name, last_name) VALUES ($1, $1)")
        end = COMMIT if number % 2 else ROLLBACK
        async with database.primary.connection() as wire:
            await wire.run([(BEGIN, ()), (insert, [b"%d" % number])])
            await asyncio.sleep(0.001)
            await wire.run([(end, ())])
