"""The recalculation of all scores, batch by batch, each in a transaction of its own.

docs/decisions/0013-scores.md says why not in one. A batch locks its leads while it runs (0.1 s), leaves out leads that
others have locked and returns to them later; a failing batch is halved until the failing lead is alone.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
import structlog

from crm.core import errors
from crm.core.identity import PROGRAM
from crm.core.language import Phrase
from crm.db.connection import ConnectionLost
from crm.db.database import Database, retried
from crm.db.row_lock import LockTaken, RowLock, lease
from crm.db.sqlstates import translated
from crm.db.statement import Params, Statement, encode
from crm.db.unit_of_work import UnitOfWork
from crm.db.workflow import CommitGuard
from crm.sales.scoring import statements
from crm.sales.scoring.weights import WEIGHTS

log = structlog.get_logger()

LEASE: Final = "The recalculation of all scores"
_PAUSE: Final = "The pause after a recalculation of all scores"
BATCH: Final = 1000
_LEASE_SECONDS: Final = 30.0
_BATCH_SECONDS: Final = 20.0  # less than the lease, which is renewed before each
_LOCKED_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.1
_ATTEMPTS: Final = 3
# Errors of the server rather than of a lead: these end the recalculation.
_OUTAGES: Final = ("08", "53", "57P", "58")


@dataclass
class RecalculationResult:
    """What a recalculation did."""

    count: int = 0
    failed: int = 0
    changed: int = 0
    duration_ms: int = 0
    score_version: str = WEIGHTS.version


@dataclass(slots=True)
class Recalculation:
    """One run over every living lead, as of one instant."""

    database: Database
    actor: UUID | None = None
    announce: Callable[[], None] = lambda: None
    on_progress: Callable[[int, int], None] = lambda _done, _total: None
    batch: int = BATCH
    patience: float = _LOCKED_SECONDS
    # The holder of its lease. Another try with the same holder need not wait for a dead one's lease to expire.
    holder: UUID | None = None
    # Seconds after a run in which others with a pause may not begin another.
    pause: float = 0.0
    # Called in each batch's transaction, before the leads are locked.
    commit_guard: CommitGuard | None = None
    result: RecalculationResult = field(default_factory=RecalculationResult)
    _id: UUID = field(default_factory=uuid4)
    _locked: list[int] = field(default_factory=list)

    async def run(self) -> RecalculationResult:
        """Recalculate all scores; a conflict while another process does so, RateLimited in the pause after a run."""
        started = time.perf_counter()
        async with lease(self.database, LEASE, seconds=_LEASE_SECONDS, holder=self.holder) as lock:
            paused = await self._paused() if self.pause else None
            try:
                await self._all(lock)
            finally:
                if paused is not None:
                    await paused.renew()
                self.result.duration_ms = round((time.perf_counter() - started) * 1000)
                log.info("scores.recalculated", run=str(self._id), **vars(self.result))
        return self.result

    async def _paused(self) -> RowLock:
        """Take the pause, or raise RateLimited while another run's lasts; its own holder need not wait."""
        paused = RowLock(self.database, _PAUSE, self.pause, self.holder)
        try:
            await paused.renew()
        except LockTaken:
            left = await paused.seconds_left()
            message = Phrase(
                f"All scores were calculated anew a moment ago; that is possible again in {left} seconds.",
                f"Alla poäng räknades om nyss; det går igen om {left} sekunder.",
            )
            raise errors.RateLimited(message, retryAfterSeconds=left) from None
        return paused

    async def _all(self, lock: RowLock) -> None:
        total = int(await self._value(statements.LIVING))
        at = await self._value(statements.NOW)
        last = b"0"
        while True:
            following = await self.database.write(statements.NEXT, [last, encode(self.batch)])
            ids, newest = following.get_value(0, 0), following.get_value(0, 1)
            if newest is None:
                break
            if ids is not None:
                await self._score(lock, at, ids)
            last = newest
            self._progress(total)
        await self._score_locked(lock, at)
        self._progress(total)

    async def _score(self, lock: RowLock, at: bytes, ids: bytes) -> None:
        """Score these leads; if that fails, score each half by itself."""
        try:
            await self._batch(lock, at, ids)
        except LockTaken:
            raise
        except (psycopg.Error, errors.Conflict, TimeoutError) as error:
            if isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith(_OUTAGES):
                raise translated(error) from error
            numbers = _numbers(ids)
            middle = len(numbers) // 2
            if not middle:
                self.result.failed += 1
                log.warning("score.failed", lead=numbers[0], error=str(error).strip()[:300])
                return
            await self._score(lock, at, _array(numbers[:middle]))
            await self._score(lock, at, _array(numbers[middle:]))

    async def _batch(self, lock: RowLock, at: bytes, ids: bytes) -> None:
        """Score a batch in one transaction; repeat it if the connection breaks, which is safe."""
        params = [at, ids, encode(str(self._id)), encode(self.actor)]
        for attempt in range(1, _ATTEMPTS + 1):
            await lock.renew()
            try:
                async with asyncio.timeout(_BATCH_SECONDS):
                    counts = await retried(lambda: self._written(params))
                break
            except ConnectionLost as error:
                if attempt == _ATTEMPTS:
                    raise errors.Unavailable from error
        self.result.count += counts["count"]
        self.result.changed += counts["changed"]
        self._locked += _numbers((counts["locked"] or "{}").encode())
        self.announce()

    async def _written(self, params: Params) -> dict[str, Any]:
        """Run the batch's statement; it ends its transaction on the server, since it locks a thousand leads."""
        unit = UnitOfWork(self.database, PROGRAM)
        try:
            if self.commit_guard is not None:
                await self.commit_guard(unit)
            (counts,) = await unit.finish(statements.BATCH, params)
        finally:
            await unit.close()
        return counts

    async def _score_locked(self, lock: RowLock, at: bytes) -> None:
        """Score the leads that were locked before; those that stay locked for seconds count as failed."""
        deadline = time.monotonic() + self.patience
        while self._locked:
            again, self._locked = self._locked, []
            for start in range(0, len(again), self.batch):
                await self._score(lock, at, _array(again[start : start + self.batch]))
            if self._locked and time.monotonic() >= deadline:
                break
            await asyncio.sleep(_LOOK_SECONDS if self._locked else 0)
        for lead in self._locked:
            log.warning("score.failed", lead=lead, error="somebody kept it locked")
        self.result.failed += len(self._locked)

    def _progress(self, total: int) -> None:
        done = self.result.count + self.result.failed
        self.on_progress(done, max(total, done))
        log.debug("scores.progress", run=str(self._id), done=done, total=total)

    async def _value(self, statement: Statement) -> bytes:
        return (await self.database.write(statement)).get_value(0, 0) or b"0"


def _numbers(array: bytes) -> list[int]:
    """The numbers in PostgreSQL's text of an array."""
    return [int(number) for number in array.strip(b"{}").split(b",") if number]


def _array(numbers: Sequence[int]) -> bytes:
    return b"{%s}" % b",".join(b"%d" % number for number in numbers)
