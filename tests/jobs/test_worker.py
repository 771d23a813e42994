"""Jobs, run by real worker processes. Each trap of procrastinate that we know of has a test."""

import asyncio
import hashlib
import itertools
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from functools import partial

import procrastinate
import psycopg
import pytest
from procrastinate.schema import SchemaManager

from crm.core.identity import PROGRAM
from crm.db.unit_of_work import UnitOfWork
from crm.jobs import Job, cancel, depth, enqueue, prioritise
from crm.jobs.worker import worker_pool

from .conftest import WithOneCrew

pytestmark = pytest.mark.waits(40)


def echo(about, **options):
    return Job("echo", {"about": about}, **options)


IMPATIENT = {"CRM_CONNECT_TIMEOUT_SECONDS": "0.5"}


def _soon():
    return datetime.now(UTC) + timedelta(seconds=1.5)


def _end_connections(jobs_db):
    jobs_db.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


class TestEnqueue:
    async def test_leaves_no_job_when_the_transaction_is_rolled_back(self, database, jobs_db):
        unit = UnitOfWork(database, PROGRAM)
        await enqueue(unit, echo("never"), echo("neither"))
        await unit.close()
        assert jobs_db.execute("SELECT count(*) AS n FROM procrastinate_jobs").fetchone()["n"] == 0

    async def test_returns_the_ids_in_order(self, put, jobs_db):
        ids = await put(*(echo(str(number)) for number in range(100)))
        rows = jobs_db.execute("SELECT id, args->>'about' AS about FROM procrastinate_jobs ORDER BY id").fetchall()
        assert [(row["id"], row["about"]) for row in rows] == [(key, str(n)) for n, key in enumerate(ids)]

    async def test_each_job_has_its_own_priority_time_and_queue(self, put, jobs_db):
        at = datetime(2027, 1, 1, tzinfo=UTC)
        await put(echo("a", priority=3), echo("b", at=at, queue="other", lock="one"), echo('c"\\{}, %s å'))
        rows = jobs_db.execute("SELECT * FROM procrastinate_jobs ORDER BY id").fetchall()
        assert [row["priority"] for row in rows] == [3, 0, 0]
        assert (rows[1]["scheduled_at"], rows[1]["queue_name"], rows[1]["lock"]) == (at, "other", "one")
        assert rows[2]["args"] == {"about": 'c"\\{}, %s å'}

    async def test_can_be_counted_moved_and_taken_out(self, database, put, jobs_db):
        first, second = await put(echo("first"), echo("second"))
        unit = UnitOfWork(database, PROGRAM)
        assert await depth(unit) == 2
        await prioritise(unit, [second], 7)
        await cancel(unit, [first])
        await unit.save()
        await unit.close()
        rows = jobs_db.execute("SELECT id, priority FROM procrastinate_jobs").fetchall()
        assert rows == [{"id": second, "priority": 7}]


class TestWorker(WithOneCrew):
    async def test_starts_a_job_within_milliseconds_of_the_commit(self, put, journal, eventually):
        await put(echo("warm"))
        eventually(lambda: journal("ran"))
        waits = []
        for number in range(10):
            began = datetime.now(UTC)
            await put(echo(str(number)))
            rows = eventually(lambda number=number: [row for row in journal("ran") if row["about"] == str(number)])
            waits.append((rows[0]["at"] - began).total_seconds())
        assert sorted(waits)[5] < 0.1, waits

    async def test_leaves_nothing_behind_of_what_is_done(self, put, journal, jobs_db, eventually):
        await put(*(echo(str(number)) for number in range(20)))
        eventually(lambda: len(journal("ran")) == 20)
        for table in ("procrastinate_jobs", "procrastinate_events"):
            eventually(lambda table=table: not jobs_db.execute(f"SELECT FROM {table}").fetchall(), 3)

    async def test_finds_a_job_that_became_due_though_nobody_tells(self, put, journal, eventually):
        at = datetime.now(UTC) + timedelta(seconds=1)
        await put(echo("due", at=at))
        eventually(lambda: journal("ran"))
        assert 0 <= (journal("ran")[0]["at"] - at).total_seconds() < 0.8

    async def test_runs_one_job_of_a_lock_at_a_time(self, put, journal, eventually):
        await put(*(Job("slow", {"about": str(n), "seconds": 0.2}, lock="one") for n in range(3)))
        eventually(lambda: len(journal("ended")) == 3)
        assert [row["what"] for row in journal()] == ["began", "ended"] * 3

    async def test_is_told_to_stop_a_running_job(self, put, database, journal, jobs_db, eventually):
        (key,) = await put(Job("slow", {"about": "x", "seconds": 30}))
        eventually(lambda: journal("began"))
        unit = UnitOfWork(database, PROGRAM)
        await cancel(unit, [key])
        await unit.save()
        await unit.close()
        asked = time.monotonic()
        eventually(lambda: journal("cut"))
        assert time.monotonic() - asked < 1
        eventually(lambda: not jobs_db.execute("SELECT FROM procrastinate_jobs").fetchall(), 3)

    def test_runs_a_job_that_it_has_taken_and_knows_nothing_of(self, one_crew, journal, jobs_db, eventually):
        """Its connection broke when the job was handed over: the worker lives, so nobody else takes the job."""
        before = len(one_crew.log())
        eventually(lambda: jobs_db.execute("SELECT FROM procrastinate_workers").fetchall())
        with jobs_db.transaction():  # so the worker does not see it before it is taken
            (key,) = (
                jobs_db.execute(
                    "SELECT unnest(procrastinate_defer_jobs_v1(ARRAY[ROW('default', 'echo', 0, NULL, NULL, %s, NULL)"
                    "::procrastinate_job_to_defer_v1])) AS id",
                    ('{"about": "handed over"}',),
                )
                .fetchone()
                .values()
            )
            jobs_db.execute(
                "UPDATE procrastinate_jobs SET status = 'doing', "
                "worker_id = (SELECT max(id) FROM procrastinate_workers) WHERE id = %s",
                (key,),
            )
        eventually(lambda: [row["about"] for row in journal("ran")] == ["handed over"])
        eventually(lambda: not jobs_db.execute("SELECT FROM procrastinate_jobs").fetchall(), 3)
        assert '"job.rescued"' in one_crew.log()[before:]

    async def test_leaves_alone_what_runs(self, one_crew, put, journal, eventually):
        before = len(one_crew.log())
        await put(Job("slow", {"about": "x", "seconds": 2}))
        eventually(lambda: journal("ended"))
        assert len(journal("began")) == 1
        assert '"job.rescued"' not in one_crew.log()[before:]

    async def test_wakes_up_without_its_listener(self, put, journal, jobs_db, eventually):
        jobs_db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND query LIKE 'LISTEN%' OR query = 'SELECT 1'"
        )
        began = time.monotonic()
        await put(echo("quiet"))
        eventually(lambda: journal("ran"))
        assert time.monotonic() - began < 2


class TestWorkerOfItsOwn:
    async def test_runs_the_urgent_first_and_equal_ones_in_order(self, crew, put, journal, eventually):
        await put(echo("low", priority=1), echo("a", priority=2), echo("b", priority=2), echo("urgent", priority=9))
        crew(settings={"CRM_WORKER_CONCURRENCY": "1"})
        eventually(lambda: len(journal("ran")) == 4)
        assert [row["about"] for row in journal("ran")] == ["urgent", "a", "b", "low"]

    async def test_survives_the_end_of_all_its_connections(self, crew, put, journal, jobs_db, eventually):
        one = crew(chore=True)
        eventually(lambda: journal("chore"))
        _end_connections(jobs_db)
        jobs_db.execute("TRUNCATE journal")
        await put(echo("after"))
        eventually(lambda: journal("ran") and journal("chore"))
        assert one.stop() == 0

    async def test_does_not_wait_for_each_dead_connection_of_its_pool(self, jobs_url, jobs_db):
        """As procrastinate makes it, four of them cost seven seconds."""
        pool = partial(worker_pool, 5)
        connector = procrastinate.PsycopgConnector(conninfo=jobs_url, min_size=4, max_size=4, pool_factory=pool)
        app = procrastinate.App(connector=connector)
        async with app.open_async():
            _end_connections(jobs_db)
            began = time.monotonic()
            assert await app.check_connection_async()
            assert time.monotonic() - began < 2


class TestRetries(WithOneCrew):
    async def test_come_after_one_and_two_seconds(self, put, journal, jobs_db, eventually):
        await put(Job("fail", {"about": "x"}))
        eventually(lambda: len(journal("failed")) == 3)
        times = [row["at"] for row in journal("failed")]
        pauses = [(later - sooner).total_seconds() for sooner, later in itertools.pairwise(times)]
        assert 1 <= pauses[0] < 1.8
        assert 2 <= pauses[1] < 2.8
        eventually(lambda: not jobs_db.execute("SELECT FROM procrastinate_jobs").fetchall(), 3)

    async def test_come_when_the_job_asks_for_them(self, put, journal, eventually):
        await put(Job("later", {"about": "x"}))
        eventually(lambda: len(journal("postponed")) == 3)
        times = [row["at"] for row in journal("postponed")]
        assert all((after - before).total_seconds() < 1 for before, after in itertools.pairwise(times))

    async def test_give_up_an_unknown_job_aloud(self, one_crew, put, jobs_db, eventually):
        await put(Job("nobody knows", {}))
        eventually(lambda: "nobody knows" in one_crew.log())
        eventually(lambda: not jobs_db.execute("SELECT FROM procrastinate_jobs").fetchall(), 3)


class TestKilledWorker:
    async def test_loses_no_job(self, crew, put, journal, eventually):
        first = crew()
        await put(Job("slow", {"about": "x", "seconds": 1}))
        eventually(lambda: journal("began"))
        first.kill()
        killed = time.monotonic()
        crew()
        eventually(lambda: journal("ended"))
        assert time.monotonic() - killed < 10
        assert len(journal("began")) == 2
        assert len(journal("ended")) == 1

    async def test_is_found_soon_though_the_last_look_took_long(self, crew, put, journal, jobs_url, eventually):
        """Each look then paused for fifty times as long as it had taken: on a busy machine, up to half a minute."""
        first = crew()
        await put(Job("slow", {"about": "x", "seconds": 5}))
        eventually(lambda: journal("began"))
        crew()
        with psycopg.connect(jobs_url) as holder:
            holder.execute("LOCK TABLE procrastinate_workers")
            await asyncio.sleep(1.2)
        first.kill()
        eventually(lambda: len(journal("began")) == 2, 10)

    async def test_does_not_go_on_for_ever(self, crew, put, journal, jobs_db, eventually):
        """A job that kills every worker is given up in the end."""
        (key,) = await put(Job("kill", {"about": "x"}))
        jobs_db.execute("UPDATE procrastinate_jobs SET attempts = 9 WHERE id = %s", (key,))
        for number in (1, 2):
            one = crew()
            eventually(lambda number=number: len(journal("killing")) == number)
            one.process.wait(10)
        last = crew()
        last.wait_for('"job.given_up"')
        assert not jobs_db.execute("SELECT FROM procrastinate_jobs").fetchall()
        assert len(journal("killing")) == 2

    async def test_frozen_and_woken_up_does_no_harm(self, crew, put, journal, jobs_db, eventually):
        first = crew()
        await put(Job("slow", {"about": "x", "seconds": 0.5}))
        eventually(lambda: journal("began"))
        os.kill(first.process.pid, signal.SIGSTOP)
        crew()
        eventually(lambda: journal("ended"))
        os.kill(first.process.pid, signal.SIGCONT)
        eventually(lambda: len(journal("ended")) == 2)
        await put(echo("first still works"))
        eventually(lambda: journal("ran"))
        eventually(lambda: not jobs_db.execute("SELECT FROM procrastinate_jobs").fetchall(), 3)


class TestStop:
    async def test_lets_what_runs_end(self, crew, put, journal, eventually):
        one = crew()
        await put(*(Job("slow", {"about": str(n), "seconds": 1}) for n in range(10)))
        eventually(lambda: len(journal("began")) == 10)
        assert one.stop() == 0
        assert len(journal("ended")) == 10
        assert not journal("cut")

    async def test_puts_back_what_does_not(self, crew, put, journal, jobs_db, eventually):
        one = crew(settings={"CRM_WORKER_GRACE_SECONDS": "0.3"})
        await put(Job("slow", {"about": "long", "seconds": 1.5}), echo("waiting", at=datetime(2100, 1, 1, tzinfo=UTC)))
        eventually(lambda: journal("began"))
        assert one.stop() == 0
        assert [row["about"] for row in journal("cut")] == ["long"]
        rows = jobs_db.execute("SELECT task_name, status FROM procrastinate_jobs ORDER BY id").fetchall()
        assert rows == [{"task_name": "slow", "status": "todo"}, {"task_name": "echo", "status": "todo"}]
        crew()
        eventually(lambda: journal("ended"))

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
    async def test_takes_no_more_work(self, crew, put, journal, eventually, number):
        one = crew()
        await put(Job("slow", {"about": "x", "seconds": 1}))
        eventually(lambda: journal("began"))
        one.process.send_signal(number)
        await asyncio.sleep(0.2)
        await put(echo("late"))
        assert one.process.wait(10) == 0
        assert not journal("ran")
        assert len(journal("ended")) == 1


class TestOutliving:
    """What runs when PostgreSQL goes away: the queue is taken up again, and what says so is not cut short."""

    @pytest.fixture
    def go(self, tmp_path):
        """The file for which the steady job waits."""
        return tmp_path / "go"

    async def test_goes_on(self, crew, put, journal, outage, jobs_db, eventually, go):
        crew(settings={"CRM_WORKER_GRACE_SECONDS": "0.1", **IMPATIENT})
        steady = Job("steady", {"about": "steady", "go": str(go)})
        await put(steady, Job("slow", {"about": "slow", "seconds": 20}), echo("after", at=_soon()))
        eventually(lambda: len(journal("began")) == 2)
        await outage()
        eventually(lambda: journal("ran") and len(journal("began")) == 3)
        assert not journal("ended")
        *together, again = [row["about"] for row in journal("began")]
        assert sorted(together) == ["slow", "steady"]  # one worker takes both, and either may be the first to say so
        assert again == "slow"
        go.touch()
        eventually(lambda: [row["about"] for row in journal("ended")] == ["steady"])
        left = "SELECT FROM procrastinate_jobs WHERE task_name = 'steady'"
        eventually(lambda: not jobs_db.execute(left).fetchall(), 3)

    @pytest.mark.parametrize(("grace", "what"), [("10", "ended"), ("0.2", "cut")])
    async def test_has_the_grace_when_its_worker_stops(self, crew, put, journal, outage, eventually, go, grace, what):
        one = crew(settings={"CRM_WORKER_GRACE_SECONDS": grace, **IMPATIENT})
        await put(Job("steady", {"about": "steady", "go": str(go)}), echo("after", at=_soon()))
        eventually(lambda: journal("began"))
        await outage()
        eventually(lambda: journal("ran"))
        one.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(1)  # longer than the short grace
        go.touch()
        assert one.process.wait(20) == 0
        assert [row["what"] for row in journal() if row["about"] == "steady"] == ["began", what]


class TestPeriodic:
    async def test_runs_once_a_tick_though_there_are_two_workers(self, crew, journal, eventually):
        crew(tick=True)
        crew(tick=True)
        eventually(lambda: len(journal("tick")) >= 4)
        seconds = [row["at"].replace(microsecond=0) for row in journal("tick")]
        assert len(set(seconds)) >= len(seconds) - 1  # at the start, one that is late comes close to the next


class TestSchema:
    def test_is_the_one_that_our_revision_was_written_for(self):
        """Another release of procrastinate? Write a revision with its numbered files, and see 0005_jobs."""
        text = SchemaManager.get_schema()
        assert hashlib.sha256(text.encode()).hexdigest()[:16] == "c70ec4b400a60ad9"

    @pytest.mark.parametrize("table", ["procrastinate_jobs", "procrastinate_workers", "event_followers"])
    def test_stands_in_the_database(self, jobs_db, table):
        assert jobs_db.execute("SELECT to_regclass(%s) IS NOT NULL AS there", (table,)).fetchone()["there"]
