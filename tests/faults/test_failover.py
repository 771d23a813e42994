"""The primary is lost and its standby takes over: writes go on, and no reader of the event stream skips anything.

Asynchronously, what the standby had not received is lost; transaction ids and keys are then given out again. A
subscriber either goes on whole or is told to load afresh. In both cases it ends up with what the table holds.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from tests.faults.journal import Writers, compare, until
from tests.faults.keeper import Keeper
from tests.faults.ledger import Crew, Ledger
from tests.faults.pair import Pair
from tests.support.servers import Server
from tests.support.tools import postgres_15

pytestmark = pytest.mark.waits(25)

_SETTINGS: dict[str, Any] = {
    "CRM_CONNECT_TIMEOUT_SECONDS": "2",
    "CRM_REQUEST_TIMEOUT_SECONDS": "4",
    "CRM_LOG_FORMAT": "json",
}
_LOST_SECONDS = 0.8
_BACK_SECONDS = 20
_ALLOWED = {"UNAVAILABLE", "TIMEOUT", "CURSOR_EXPIRED"}


@pytest.fixture(scope="module")
def pair():
    found = Pair(postgres_15())
    found.start()
    with psycopg.connect(found.url, autocommit=True) as connection:
        connection.execute("INSERT INTO events (type, entity, entity_id) VALUES ('user.noted', 'user', '0')")
    yield found
    found.remove()


@dataclass
class House:
    """A server, a worker, and a client that keeps a copy of the events."""

    pair: Pair
    server: Server
    crew: Crew
    ledger: Ledger

    @classmethod
    async def opened(cls, pair, folder):
        server = await asyncio.to_thread(Server(pair.url, folder / "log", **_SETTINGS).start)
        try:
            crew = await Crew(pair.url, folder, 0, _SETTINGS).started()
        except BaseException:
            server.kill()
            raise
        return cls(pair, server, crew, Ledger(pair.primary.url, folder))

    def close(self):
        self.server.kill()
        self.crew.end()
        self.ledger.close()

    async def round(self, way: str, *, lost: bool) -> dict:
        """One failover under writers; returns what came of it."""
        async with Keeper(self.server, self.pair) as keeper:
            writers = self._writers()
            async with writers:
                await writers.go_on(1)
                if lost:
                    await asyncio.to_thread(self.pair.cut)
                    await writers.go_on(_LOST_SECONDS)
                await asyncio.to_thread(self.pair.fail_over, way)
                promoted = time.monotonic()
            self.ledger.move(self.pair.primary.url)
            later = self._writers()
            async with later:
                await until(lambda: _written(later), _BACK_SECONDS)
                going_on = time.monotonic() - promoted
                await self._task_done()
                task_done = time.monotonic() - promoted
                await asyncio.sleep(1)
            compare(later.journal, self.pair.primary.url)
            if not lost:
                compare(writers.journal, self.pair.primary.url)
            missing, extra = await keeper.differences()
            codes = {code for one in (writers, later) for answer in one.journal.answers for code in answer.codes}
            return {
                "acknowledged": len(writers.journal.acknowledged) + len(later.journal.acknowledged),
                "lost": self._lost(writers),
                "events": len(keeper.copy),
                "missing": missing,
                "extra": extra,
                "expired": keeper.codes.count("CURSOR_EXPIRED"),
                "unscored": await self._unscored(),
                "codes": sorted(codes | set(keeper.codes)),
                "writes_again_s": going_on,
                "task_done_s": task_done,
            }

    def _writers(self):
        return Writers(self.server.url, self.server.token(), self.pair.primary.url, count=6)

    async def _task_done(self):
        """An AI task is created, and done."""
        (key,) = await until_answered(lambda: self.ledger.create(self.server, "sleep"))
        await self.ledger.until(lambda: key in {task for task, _ in self.ledger.journal("ended")})

    async def _unscored(self, seconds: float = 15) -> int:
        """How many leads have no score when the follower had its time."""
        statement = "SELECT count(*) AS n FROM leads WHERE score_calculated_at IS NULL"
        deadline = time.monotonic() + seconds
        while (found := self.pair.primary.ask(statement)[0]["n"]) and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        return found

    def _lost(self, writers: Writers) -> int:
        """How many acknowledged leads of these writers are gone."""
        rows = self.pair.primary.ask("SELECT DISTINCT split_part(first_name, '/', 1) AS mark FROM leads")
        there = {row["mark"] for row in rows}
        asked = {*writers.journal.asked["lead"], *writers.journal.asked["batch"]}
        return len((asked & writers.journal.acknowledged) - there)


async def until_answered(attempt):
    """What a request answers as soon as it is answered with data."""
    found = None

    async def tried():
        nonlocal found
        try:
            found = await attempt()
        except (KeyError, TypeError) as refused:
            raise AssertionError from refused

    await until(tried, _BACK_SECONDS)
    return found


async def _written(writers):
    assert writers.journal.acknowledged


@pytest.fixture
async def house(pair, tmp_path):
    found = await House.opened(pair, tmp_path)
    yield found
    found.close()


@pytest.mark.timeout(1200)
class TestFailover:
    async def test_asynchronous_with_lost_writes(self, pair, house, rounds, report):
        for number in range(max(1, rounds // 4)):
            await asyncio.to_thread(pair.be_whole)
            figures = await house.round(_way(number), lost=True)
            report(f"asynchronous failover ({_way(number)})", **figures)
            assert figures["lost"] > 0
            _assert_whole(figures)
            assert figures["expired"] >= 1

    async def test_synchronous(self, pair, house, rounds, report):
        for number in range(max(1, rounds // 4)):
            await asyncio.to_thread(pair.be_whole)
            await asyncio.to_thread(lambda: pair.be_synchronous(on=True))
            figures = await house.round(_way(number), lost=False)
            report(f"synchronous failover ({_way(number)})", **figures)
            _assert_whole(figures)
            assert (figures["lost"], figures["expired"]) == (0, 0)


def _way(number: int) -> str:
    return ("crash", "freeze")[number % 2]


def _assert_whole(figures: dict) -> None:
    assert (figures["missing"], figures["extra"], figures["unscored"]) == (0, 0, 0), figures
    assert set(figures["codes"]) <= _ALLOWED, figures
