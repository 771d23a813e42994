"""Recalculating every score: batch by batch, each its own transaction.

docs/decisions/0013-scores.md says why not in one. A batch holds its leads' locks for as long as it takes (0.1 s),
leaves out leads that somebody else holds and comes back to them, and is halved when it fails until what fails is alone.
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
from crm.db.connection import ConnectionLost, Params, Statement, encode
from crm.db.database import Database, retried
from crm.db.row_lock import LockTaken, RowLock, lease
from crm.db.sqlstates import translated
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
# The server, not a lead: no use in going on.
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
    # As whom it keeps others out. The next try of the same work need not wait for what a dead one held.
    holder: UUID | None = None
    # So long nobody else who keeps a pause may begin another one.
    pause: float = 0.0
    # Asked in each batch's transaction, before the leads are locked.
    commit_guard: CommitGuard | None = None
    result: RecalculationResult = field(default_factory=RecalculationResult)
    _id: UUID = field(default_factory=uuid4)
    _locked: list[int] = field(default_factory=list)

    async def run(self) -> RecalculationResult:
        """Do it; a conflict while another process does, a refusal in the pause after one."""
        started = time.perf_counter()
        async with lease(self.database, LEASE, seconds=_LEASE_SECONDS, holder=self.holder) as held:
            paused = await self._paused() if self.pause else None
            try:
                await self._all(held)
            finally:
                if paused is not None:
                    await paused.renew()
                self.result.duration_ms = round((time.perf_counter() - started) * 1000)
                log.info("scores.recalculated", run=str(self._id), **vars(self.result))
        return self.result

    async def _paused(self) -> RowLock:
        """The pause, unless another run's is not over. The next try of the same work need not wait for its own."""
        paused = RowLock(self.database, _PAUSE, self.pause, self.holder)
        try:
            await paused.renew()
        except LockTaken:
            left = await paused.seconds_left()
            message = f"All scores were calculated anew a moment ago; that is possible again in {left} seconds."
            raise errors.RateLimited(message, retryAfterSeconds=left) from None
        return paused

    async def _all(self, held: RowLock) -> None:
        total = int(await self._value(statements.LIVING))
        at = await self._value(statements.NOW)
        last = b"0"
        while True:
            following = await self.database.write(statements.NEXT, [last, encode(self.batch)])
            ids, newest = following.get_value(0, 0), following.get_value(0, 1)
            if newest is None:
                break
            if ids is not None:
                await self._score(held, at, ids)
            last = newest
            self._progress(total)
        await self._score_locked(held, at)
        self._progress(total)

    async def _score(self, held: RowLock, at: bytes, ids: bytes) -> None:
        """Score these leads; if that fails, one half and then the other."""
        try:
            await self._batch(held, at, ids)
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
            await self._score(held, at, _array(numbers[:middle]))
            await self._score(held, at, _array(numbers[middle:]))

    async def _batch(self, held: RowLock, at: bytes, ids: bytes) -> None:
        """One transaction. A connection that breaks is replaced: doing a batch twice changes nothing."""
        params = [at, ids, encode(str(self._id)), encode(self.actor)]
        for attempt in range(1, _ATTEMPTS + 1):
            await held.renew()
            try:
                async with asyncio.timeout(_BATCH_SECONDS):
                    found = await retried(lambda: self._written(params))
                break
            except ConnectionLost as error:
                if attempt == _ATTEMPTS:
                    raise errors.Unavailable from error
        self.result.count += found["count"]
        self.result.changed += found["changed"]
        self._locked += _numbers((found["locked"] or "{}").encode())
        self.announce()

    async def _written(self, params: Params) -> dict[str, Any]:
        """What the batch's statement says. Its transaction ends without us: a thousand leads are locked meanwhile."""
        unit = UnitOfWork(self.database, PROGRAM)
        try:
            if self.commit_guard is not None:
                await self.commit_guard(unit)
            (found,) = await unit.finish(statements.BATCH, params)
        finally:
            await unit.close()
        return found

    async def _score_locked(self, held: RowLock, at: bytes) -> None:
        """Come back to the leads that others were changing; whoever holds one for seconds keeps it out of this run."""
        deadline = time.monotonic() + self.patience
        while self._locked:
            again, self._locked = self._locked, []
            for start in range(0, len(again), self.batch):
                await self._score(held, at, _array(again[start : start + self.batch]))
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
    return [int(one) for one in array.strip(b"{}").split(b",") if one]


def _array(numbers: Sequence[int]) -> bytes:
    return b"{%s}" % b",".join(b"%d" % one for one in numbers)
