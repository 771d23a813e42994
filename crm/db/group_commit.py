"""Group commit: writes of several requests that share one commit.

A mutation that inserts one row is one statement, and most of its cost is not the statement: it is the commit, which
waits for the disk, and the round trip. So writes that arrive while others are under way are sent together, as one
pipeline with one commit; a write that arrives alone is sent alone, at once. If any statement fails, or has to wait for
a lock, the batch is rolled back and each runs alone; callers see only their own result.
docs/decisions/0014-shared-commits.md.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import psycopg

from crm.core.detached import KeptTasks
from crm.db.connection import ConnectionLost
from crm.db.lanes import PROGRAM
from crm.db.outcome import OutcomeUnknown, committing, mark_as_perhaps_saved
from crm.db.statement import WAIT_BRIEFLY, Params, Statement

if TYPE_CHECKING:
    from psycopg import pq

    from crm.db.pool import Pool

_LANES: Final = 2  # one is with PostgreSQL while this process serves the other
_MOST: Final = 16
_SLOW_SECONDS: Final = 0.05
# In a batch no statement waits for a lock, which would delay the others.
_SHORT_LOCK_TIMEOUT: Final = Statement("SELECT set_config('lock_timeout', '20ms', true)")


@dataclass(slots=True)
class _Write:
    statement: Statement
    params: Params
    owner: int
    done: "asyncio.Future[pq.abc.PGresult]"


class GroupCommit:
    """Runs statements that are whole transactions, in batches if several wait."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._waiting: list[_Write] = []
        self._lanes = 0
        self._tasks = KeptTasks()

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()  # on Python 3.11 that is a system call (getpid)

    async def execute(self, statement: Statement, params: Params, owner: int = PROGRAM) -> "pq.abc.PGresult":
        """Run one statement and commit it; a viewer's that has to wait for a lock raises LockNotAvailable."""
        if self._lanes >= _LANES:
            write = _Write(statement, params, owner, self._loop.create_future())
            self._waiting.append(write)
            try:
                return await write.done
            except asyncio.CancelledError as error:
                if write not in self._waiting:  # it goes on without its caller
                    mark_as_perhaps_saved(error)
                raise
        with self._lane():
            return await self._alone(statement, params, owner)

    async def _alone(self, statement: Statement, params: Params, owner: int) -> "pq.abc.PGresult":
        limit = [(WAIT_BRIEFLY, ())] if owner else []
        connection = await self._pool.acquire(owner)
        try:
            with committing:
                return (await connection.run([*limit, (statement, params)]))[-1]
        finally:
            self._pool.release(connection)

    def _lane(self) -> "_Lane":
        self._lanes += 1
        return _Lane(self._loop, self._leave)

    def _leave(self) -> None:
        """Free a lane, and start a batch of the writes that came meanwhile."""
        self._lanes -= 1
        if self._waiting:
            batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            self._start(self._together(batch, self._lane()))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.keep(self._loop.create_task(work))

    async def _together(self, batch: list[_Write], lane: "_Lane") -> None:
        with lane:
            batch = [write for write in batch if not write.done.done()]
            if len(batch) == 1:
                await self._settle(batch[0])
            elif batch:
                await self._commit(batch)

    async def _commit(self, batch: list[_Write]) -> None:
        steps = [(_SHORT_LOCK_TIMEOUT, ()), *((write.statement, write.params) for write in batch)]
        try:
            async with self._pool.connection() as connection:
                results = (await connection.run(steps))[1:]
        except ConnectionLost as error:
            for write in batch:
                _fail(write, OutcomeUnknown(str(error)))
        except psycopg.Error:
            for write in batch:
                self._start(self._settle(write))
        except Exception as error:  # noqa: BLE001  (no connection: each caller is told)
            for write in batch:
                _fail(write, error)
        else:
            for write, result in zip(batch, results, strict=True):
                if not write.done.done():
                    write.done.set_result(result)

    async def _settle(self, write: _Write) -> None:
        """Run a write of a batch alone; its caller gets its own result or error."""
        try:
            result = await self._alone(write.statement, write.params, write.owner)
        except Exception as error:  # noqa: BLE001
            _fail(write, error)
        else:
            if not write.done.done():
                write.done.set_result(result)


class _Lane:
    """A slot for a batch under way; freed early if it takes long (a lock is held), so that others can pass."""

    def __init__(self, loop: asyncio.AbstractEventLoop, leave: Callable[[], None]) -> None:
        self._leave: Callable[[], None] | None = leave
        self._timer = loop.call_later(_SLOW_SECONDS, self._end)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._end()

    def _end(self) -> None:
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()


def _fail(write: _Write, error: Exception) -> None:
    if not write.done.done():
        write.done.set_exception(error)
