"""A connection that uses libpq directly: prepared statements in, bytes out.

psycopg's cursors cost about 90 us of Python a statement, more than PostgreSQL needs to answer most of the statements.
psycopg still connects, makes errors and loads types; its public libpq wrapper (`psycopg.pq`) sends and receives.
docs/decisions/0003-libpq.md has the figures.
"""

import asyncio
import select
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result

from crm.core.detached import detached
from crm.db.address import PostgresAddress
from crm.db.refusals import log_refusal
from crm.db.statement import (
    Lane,
    Params,
    Statement,
    Work,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

_FAILED: Final = frozenset({pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE})
# The server is closing this connection: shutdown, crash, or an administrator's command.
_CLOSING: Final = frozenset({"57P01", "57P02", "57P03", "57P05"})
# The statement is not prepared, or no longer: a pooler switched to another of the server's sessions.
_UNPREPARED: Final = frozenset({"26000", "42P05"})
_CANCELLED: Final = "57014"
# The primary has become a standby: after a switch-over this connection is of no use for writes.
_READ_ONLY: Final = "25006"
_LARGEST_SHARE: Final = 4  # one statement may take a quarter of the bytes
_STOP_SECONDS: Final = 2.0  # a server that is alive cancels in milliseconds

T = TypeVar("T")
Undo = Callable[[], object]


@dataclass(frozen=True, slots=True)
class PreparedLimits:
    """The statements that a connection may keep prepared, and about the bytes that they may take in PostgreSQL."""

    statements: int = 500
    size: int = 64 * 1024 * 1024


NOTHING_PREPARED: Final = PreparedLimits(0, 0)


class ConnectionLost(psycopg.OperationalError):
    """The connection to PostgreSQL broke while a statement was under way, or before."""


class StatementStale(psycopg.DatabaseError):
    """A prepared statement no longer fits its tables; on a new connection it will. Nothing was changed."""


class TookTooLong(psycopg.errors.QueryCanceled):
    """The statement was stopped: its time was up."""


class LastedTooLong(psycopg.errors.QueryCanceled):
    """The transaction was ended before its commit: its time was up, waiting for others included."""


class MadeRoom(psycopg.errors.QueryCanceled):
    """The statement was stopped for others who wait; it may run again."""


class PostgresConnection:
    """A connection that runs one batch of statements at a time."""

    def __init__(
        self, connection: "psycopg.AsyncConnection[tuple[object, ...]]", prepared_limits: PreparedLimits
    ) -> None:
        self.connection = connection
        self.broken = False
        self.closing = False  # the server still answers, but the connection must not be reused
        self.stale = False  # do not reuse; the pool drops every connection of this generation
        self.demoted = False  # the server has become read-only; the pool drops this generation, once a while
        self.mixed_up = False  # a pooler switches between the server's sessions
        self.stopped: type[TookTooLong | LastedTooLong | MadeRoom] | None = None
        # Set by the pool: the owner, the time since which it has the connection, and the work that may be stopped.
        self.generation = 0
        self.owner = 0
        self.since = 0.0
        self.work: Work | None = None
        self.lane = Lane.QUICK
        self.undoable = False  # a write is under way, but not its commit
        self._pg = connection.pgconn
        self._prepared: OrderedDict[bytes, int] = OrderedDict()
        self._prepared_size = 0
        self._prepared_limits = prepared_limits
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._socket = self._pg.socket
        self._ended = select.poll()
        self._ended.register(self._socket, 0)  # errors and hang-ups are always reported
        self._reading = True
        self._leaving = False
        self._loop.add_reader(self._socket, self._on_readable)

    @classmethod
    async def connect(
        cls, address: PostgresAddress, prepared_limits: PreparedLimits = NOTHING_PREPARED
    ) -> "PostgresConnection":
        """Open a connection, or raise psycopg.OperationalError."""
        connection = await psycopg.AsyncConnection.connect(address.conninfo, autocommit=True)
        address.answered(connection.info.host, connection.info.port)
        return cls(connection, prepared_limits)

    async def execute(self, statement: Statement, params: Params = ()) -> "pq.abc.PGresult":
        """Run one statement."""
        if statement.name not in self._prepared and statement.uses and self._fits(statement):
            return (await self.run([(statement, params)]))[0]
        self._sending(self._send, statement, params)
        result = await self._next_result()
        while (await self._next_result()) is not None:
            pass
        if self._stopping is not None:
            await self._settle()
        if result is None:
            raise ConnectionLost
        if result.status in _FAILED:
            raise self._failure(result)
        return result

    async def run(self, batch: "Iterable[tuple[Statement, Params]]") -> "list[pq.abc.PGresult]":
        """Run several statements in one round trip; the first that fails is raised, and those after it do not run."""
        steps = self._sending(self._send_batch, list(batch))
        results: list[pq.abc.PGresult] = []
        failure: psycopg.Error | None = None
        undone: list[Undo] = []
        for step in steps:
            result = await self._next_result()
            if result is None:
                raise ConnectionLost
            if result.status in _FAILED:
                failure = failure or self._failure(result)
            elif step is None and result.status != pq.ExecStatus.PIPELINE_ABORTED:
                results.append(result)
            if step is not None and result.status != pq.ExecStatus.COMMAND_OK:
                undone.append(step)
            await self._next_result()  # the None that ends each step
        await self._next_result()  # the answer to the sync
        self._pg.exit_pipeline_mode()
        for undo in reversed(undone):
            undo()
        if self._stopping is not None:
            await self._settle()
        if failure is not None:
            raise failure
        return results

    def _sending(self, send: Callable[..., T], *arguments: Any) -> T:
        """Call a function that sends; a connection that breaks meanwhile raises ConnectionLost."""
        if self.broken:
            raise ConnectionLost
        try:
            return send(*arguments)
        except psycopg.OperationalError as error:
            raise self._lost(error) from error

    def _send_batch(self, batch: "list[tuple[Statement, Params]]") -> "list[Undo | None]":
        """Send a batch. For each result to come: None, or for a PREPARE or DEALLOCATE the undo if it fails."""
        pg = self._pg
        steps: list[Undo | None] = []
        pg.enter_pipeline_mode()
        for statement, params in batch:
            if statement.name not in self._prepared and statement.uses and self._fits(statement):
                steps.extend(self._prepare(statement))
            self._send(statement, params)
            steps.append(None)
        pg.pipeline_sync()
        return steps

    def _send(self, statement: Statement, params: Params) -> None:
        statement.uses += 1
        if statement.name in self._prepared:
            self._prepared.move_to_end(statement.name)
            self._pg.send_query_prepared(statement.name, params)
        else:
            self._pg.send_query_params(statement.text, params)

    def _fits(self, statement: Statement) -> bool:
        """Whether a statement may be prepared: one that would displace most others is not."""
        return (
            bool(self._prepared_limits.statements) and statement.weight * _LARGEST_SHARE <= self._prepared_limits.size
        )

    def _prepare(self, statement: Statement) -> "list[Undo]":
        steps: list[Undo] = []
        while self._prepared and (
            len(self._prepared) >= self._prepared_limits.statements
            or self._prepared_size + statement.weight > self._prepared_limits.size
        ):
            oldest, weight = next(iter(self._prepared.items()))
            self._forget(oldest)
            self._pg.send_query_params(b"DEALLOCATE " + oldest, None)
            steps.append(partial(self._remember, oldest, weight))
        self._pg.send_prepare(statement.name, statement.text)
        self._remember(statement.name, statement.weight)
        return [*steps, partial(self._forget, statement.name)]

    def _remember(self, name: bytes, weight: int) -> None:
        if name not in self._prepared:
            self._prepared[name] = weight
            self._prepared_size += weight

    def _forget(self, name: bytes) -> None:
        self._prepared_size -= self._prepared.pop(name, 0)

    def _failure(self, result: "pq.abc.PGresult") -> psycopg.Error:
        """A failed statement's error; a connection that will not work again is marked."""
        error = error_from_result(result)
        # The tables changed under a prepared statement; the message is translated, the function's name is not.
        replanned = error.sqlstate == "0A000" and error.diag.source_function == "RevalidateCachedQuery"
        unprepared = error.sqlstate in _UNPREPARED and self._prepared_limits.statements > 0
        if replanned or unprepared:
            self.stale = self.closing = True
            self.mixed_up = unprepared
            return StatementStale(str(error))
        if error.sqlstate == _CANCELLED and self.stopped is not None:
            return self.stopped(str(error))
        if error.sqlstate == _READ_ONLY:
            self.demoted = self.closing = True
        log_refusal(error)
        if error.sqlstate in _CLOSING or error.sqlstate is None:  # without one it is libpq's own: the socket broke
            self.closing = True
            return ConnectionLost(str(error))
        return error

    async def _next_result(self) -> "pq.abc.PGresult | None":
        pg = self._pg
        try:
            while pg.flush():
                await self._writable()
            while pg.is_busy():
                await self._readable()
            return pg.get_result()
        except psycopg.OperationalError as error:
            raise self._lost(error) from error
        except asyncio.CancelledError:
            self.abandon()
            raise

    def _lost(self, error: psycopg.OperationalError) -> ConnectionLost:
        """The connection broke: close it."""
        self.close()
        return ConnectionLost(str(error))

    def _on_readable(self) -> None:
        try:
            self._pg.consume_input()
            # If data and an error come at once (the server died with a request unread), uvloop calls this only once:
            # read on to the end, or the wait for the end never ends.
            while self._ended.poll(0):
                self._pg.consume_input()
        except psycopg.OperationalError:
            self.broken = True
            self._stop_reading()
        waiter = self._waiter
        if waiter is not None and not waiter.done() and (self.broken or not self._pg.is_busy()):
            waiter.set_result(None)

    async def _readable(self) -> None:
        if self.broken:
            raise ConnectionLost
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def _writable(self) -> None:
        if self.broken:
            raise ConnectionLost
        self._waiter = self._loop.create_future()
        self._loop.add_writer(self._socket, _finish, self._waiter)
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._loop.remove_writer(self._socket)

    def stop(self, error: "type[TookTooLong | LastedTooLong | MadeRoom]") -> None:
        """Cancel the statement under way: it fails with this error, and the connection may be used again."""
        if self._stopping is None and not self.broken:
            self.stopped = error
            self._stopping = self._loop.create_task(self._cancel())

    async def _cancel(self) -> None:
        """Ask the server to cancel; if it does not, it is frozen or gone, and the connection is lost."""
        try:
            await self.connection.cancel_safe(timeout=_STOP_SECONDS)
        except psycopg.Error:
            self.lose()
        else:
            self._loop.call_later(_STOP_SECONDS, self._lose_if_stopping, self._stopping)

    def _lose_if_stopping(self, stopping: "asyncio.Task[None] | None") -> None:
        if self._stopping is stopping:
            self.lose()

    async def _settle(self) -> None:
        """Wait, after the statement has ended, for its cancellation, which must not hit the next statement."""
        assert self._stopping is not None
        try:
            await asyncio.shield(self._stopping)
        except BaseException:
            self.close()
            raise
        self._stopping = None

    def lose(self) -> None:
        """Break the connection of a server that does not answer: waiting coroutines get ConnectionLost."""
        self.broken = True
        self._stop_reading()
        if self._waiter is not None:
            _finish(self._waiter)

    def abandon(self) -> None:
        """Cancel the statement under way at the server, and close, without waiting for either."""
        self.broken = True
        self._leaving = True
        self._stop_reading()
        detached(self._cancel_and_close())

    async def _cancel_and_close(self) -> None:
        with suppress(psycopg.Error):
            await self.connection.cancel_safe(timeout=2)
        self._pg.finish()

    def close(self) -> None:
        """Close at once, unless a cancellation is under way that closes later."""
        self.broken = True
        self._stop_reading()
        if not self._leaving:
            self._pg.finish()

    def _stop_reading(self) -> None:
        """Remove the reader, only once: after closing, the socket's number may be another connection's."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._socket)


def _finish(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
