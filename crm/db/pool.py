"""A pool of connections to one PostgreSQL: opened when needed, closed after a while unused, dropped when they break."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cached_property
from typing import Final

import psycopg
import structlog

from crm.core import errors
from crm.db.address import PostgresAddress
from crm.db.connection import PostgresConnection, PreparedLimits
from crm.db.connection_queue import Waiter
from crm.db.lanes import PROGRAM, STOP_AFTER_SECONDS, LaneLimits, Lanes
from crm.db.refusals import log_seldom
from crm.db.statement import Lane, Work

log = structlog.get_logger()

# After so long without an answer, a server that has a substitute is probed (crm.db.liveness).
_DOUBT_SECONDS: Final = 0.5
# A server that stays read-only must not end all connections at each write.
_RENEW_SECONDS: Final = 1.0
# Parts of the server's messages: an error before authentication carries no SQLSTATE.
_FULL: Final = ("too many clients", "too many connections", "remaining connection slots")
_FULL_SECONDS: Final = 5.0
_QUICK: Final = Lane.QUICK


class Busy(errors.Unavailable):
    """All connections to the database are busy; try again shortly."""


class SlowBusy(Busy):
    """Requests that take long wait for each other, and this one waited for too long; try again, or ask for less."""


class Pool:
    """Connections to one server."""

    def __init__(  # noqa: PLR0913
        self,
        url: str,
        *,
        size: int = 10,
        prepared_limits: PreparedLimits | None = None,
        timeout: float = 5,
        connect_timeout: float | None = None,
        limits: LaneLimits | None = None,
        writes: bool = True,
    ) -> None:
        self.url = url
        self.address = PostgresAddress(url, timeout=connect_timeout or timeout, writes=writes)
        # Called every now and then while the server does not answer a statement.
        self.on_doubt: Callable[[], None] | None = None
        self._size = size
        self._prepared_limits = PreparedLimits() if prepared_limits is None else prepared_limits
        self._timeout = timeout
        self._idle: list[PostgresConnection] = []
        self.open = 0
        self._generation = 0
        self._renewable_at = 0.0
        self._closed = False
        self._full_until = 0.0
        self._limits = limits or LaneLimits()
        self.lanes = Lanes(size, self._limits)
        self._looking = False
        self._trimming = False

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()  # on Python 3.11 that is a system call (getpid)

    @asynccontextmanager
    async def connection(self, owner: int = PROGRAM) -> AsyncIterator[PostgresConnection]:
        """A connection within the context."""
        connection = await self.acquire(owner)
        try:
            yield connection
        finally:
            self.release(connection)

    def take(self, owner: int = PROGRAM, work: Work | None = None) -> PostgresConnection | None:
        """An idle connection, until `release`, if there is one and the owner may have it.

        With `work`, the viewer's read or write may be stopped, and a read has a time limit.
        """
        lane = work.slow_lane if work is not None and work.slow_for == owner else _QUICK
        if not self.lanes.strict or self.lanes.allows(owner, lane=lane):
            while self._idle:
                connection = self._idle.pop()
                if connection.broken or connection.generation != self._generation:
                    self._forget(connection)
                    continue
                self._begin(connection, owner, work, lane=lane)
                return connection
        return None

    async def acquire(self, owner: int = PROGRAM, work: Work | None = None) -> PostgresConnection:
        """A connection, until `release`: an idle one, a new one, or one that another task releases."""
        return self.take(owner, work) or await self.wait(owner, work)

    async def wait(self, owner: int = PROGRAM, work: Work | None = None) -> PostgresConnection:
        """A connection, until `release`, after `take` found none idle: a new one, or one that is released."""
        if self._closed:
            raise errors.Unavailable
        lane = work.slow_lane if work is not None and work.slow_for == owner else _QUICK
        if self._may_open() and (not self.lanes.strict or self.lanes.allows(owner, lane=lane)):
            self._grant(owner, lane=lane)
            return await self._connect(owner, work, lane=lane)
        return await self._handed_over(owner, work, lane=lane)

    def _begin(self, connection: PostgresConnection, owner: int, work: Work | None, *, lane: Lane) -> None:
        self.lanes.begin(connection, owner, work, self._loop.time(), lane=lane)
        if not self._looking:
            self._keep_looking()

    @asynccontextmanager
    async def spare(self) -> AsyncIterator[PostgresConnection]:
        """A connection without waiting: an idle one, or one beyond the pool's size."""
        idle = self.take()
        connection = idle or await PostgresConnection.connect(self.address)
        try:
            yield connection
        finally:
            if idle is None:
                connection.close()
            else:
                self.release(connection)

    def release(self, connection: PostgresConnection) -> None:
        """Give a connection back."""
        self.lanes.end(connection, self._loop)
        if connection.broken or connection.closing or connection.generation != self._generation:
            self._drop(connection)
            self._serve()
        elif not (self.lanes.waiting and self._hand_over(connection)):
            self._idle.append(connection)
            if not self._trimming:
                self._trim_later()

    def seconds_of(self, connection: PostgresConnection) -> float:
        """The seconds for which a connection has been in use."""
        return self._loop.time() - connection.since

    def time_is_up(self, seconds: float) -> bool:
        """Whether a viewer's read may take no longer than this."""
        return 0 < self._limits.read_seconds <= seconds

    def close(self) -> None:
        """Close the idle connections now, and the others when they are released."""
        self._closed = True
        self._end_generation()

    def lose_all(self) -> None:
        """Break all connections, since the server no longer answers: tasks that wait for it get ConnectionLost."""
        self._end_generation()
        for connection in self.lanes.busy:
            connection.lose()

    # Getting a connection

    async def _handed_over(self, owner: int, work: Work | None, *, lane: Lane) -> PostgresConnection:
        """Wait for a connection that is released, or for the right to open one."""
        now = self._loop.time()
        seconds = max(self._timeout, self._limits.read_seconds) if lane else self._timeout
        waiter = Waiter(self._loop.create_future(), owner, work, now + seconds, lane=lane)
        self.lanes.wait(waiter, now)
        self._keep_looking()
        try:
            connection = await waiter.future
        except asyncio.CancelledError:
            self._pass_on(waiter)
            raise
        return connection or await self._connect(owner, work, lane=lane)

    def _may_open(self) -> bool:
        return self.open < self._size and (not self.open or self._loop.time() >= self._full_until)

    def _grant(self, owner: int, *, lane: Lane) -> None:
        """Count a connection that is to be opened."""
        self.open += 1
        self.lanes.grant(owner, lane=lane)

    async def _connect(self, owner: int, work: Work | None, *, lane: Lane) -> PostgresConnection:
        """Open a connection; it is counted already."""
        generation = self._generation
        try:
            async with asyncio.timeout(self.address.seconds):
                connection = await PostgresConnection.connect(self.address, self._prepared_limits)
        except (psycopg.OperationalError, TimeoutError, OSError) as error:
            self.lanes.revoke(owner, lane=lane)
            reason = " ".join(str(error).split()) or "no answer in time"
            log_seldom("database.unreachable", self.url, error=reason[:300])
            is_full = any(words in reason for words in _FULL)
            if is_full:
                self._full_until = self._loop.time() + _FULL_SECONDS
            self._one_less()
            if is_full and self.open:  # the open connections have to do
                return await self._handed_over(owner, work, lane=lane)
            raise errors.Unavailable from error
        except BaseException:
            self.lanes.revoke(owner, lane=lane)
            self._one_less()
            raise
        connection.generation = generation
        self.lanes.revoke(owner, lane=lane)
        self._begin(connection, owner, work, lane=lane)
        return connection

    # Handing connections on

    def _hand_over(self, connection: PostgresConnection) -> bool:
        """Give a connection to the next waiter; False if no waiter may have it."""
        waiter = self.lanes.next()
        if waiter is None:
            return False
        self._begin(connection, waiter.owner, waiter.work, lane=waiter.lane)
        waiter.future.set_result(connection)
        return True

    def _serve(self) -> None:
        """Give connections that are idle, or may be opened, to the next waiters."""
        while self.lanes.waiting and self._idle:
            connection = self._idle.pop()
            if connection.broken or connection.generation != self._generation:
                self._forget(connection)
            elif not self._hand_over(connection):
                self._idle.append(connection)
                return
        while self.lanes.waiting and self._may_open():
            waiter = self.lanes.next()
            if waiter is None:
                return
            self._grant(waiter.owner, lane=waiter.lane)
            waiter.future.set_result(None)

    def _pass_on(self, waiter: Waiter) -> None:
        """Give on a connection that was handed to a waiter just when it was cancelled."""
        if self.lanes.leave(waiter) or waiter.future.cancelled() or waiter.future.exception() is not None:
            return
        connection = waiter.future.result()
        if connection is None:
            self.lanes.revoke(waiter.owner, lane=waiter.lane)
            self._one_less()
        else:
            self.release(connection)

    def _end_generation(self) -> None:
        """Never reuse the connections that are open now."""
        self._generation += 1
        while self._idle:
            self._forget(self._idle.pop())

    def _drop(self, connection: PostgresConnection) -> None:
        """Close a connection that is no longer of use, and the others of its generation if they have the same fault."""
        if connection.mixed_up:
            self._prepare_no_more()
        if connection.demoted and not connection.broken and self._loop.time() < self._renewable_at:
            connection.demoted = connection.closing = False  # the new connections led to the same server
            self._idle.append(connection)
            return
        if connection.demoted:
            self._renewable_at = self._loop.time() + _RENEW_SECONDS
        if (connection.stale or connection.demoted) and connection.generation == self._generation:
            self._end_generation()
        self._forget(connection)

    def _forget(self, connection: PostgresConnection) -> None:
        connection.close()
        self.open -= 1

    def _one_less(self) -> None:
        self.open -= 1
        self._serve()

    # Watching the connections

    def _keep_looking(self) -> None:
        if not self._looking:
            self._looking = True
            self._loop.call_later(STOP_AFTER_SECONDS, self._look)

    def _look(self) -> None:
        """While connections are in use: stop long statements, expire waiters, notice a server that does not answer."""
        now, lanes = self._loop.time(), self.lanes
        self._looking = False
        if lanes.busy or lanes.waiting or lanes.strict:
            self._keep_looking()
        lanes.look(now)
        for waiter in lanes.expired(now):
            waiter.future.set_exception(SlowBusy() if waiter.lane else Busy())
        self._serve()
        if self.on_doubt is not None and any(now - connection.since > _DOUBT_SECONDS for connection in lanes.busy):
            self.on_doubt()

    def _trim_later(self) -> None:
        if self._limits.idle_seconds:
            self._trimming = True
            self._loop.call_later(self._limits.idle_seconds / 4, self._trim)

    def _trim(self) -> None:
        """Close connections that were not used for a while: PostgreSQL has only so many, and others may need them."""
        self._trimming = False
        before = self._loop.time() - self._limits.idle_seconds
        used = [connection for connection in self._idle if connection.since >= before]
        for connection in set(self._idle).difference(used):
            self._forget(connection)
        self._idle = used
        if self._idle:
            self._trim_later()

    def _prepare_no_more(self) -> None:
        """Stop preparing statements: a pooler connects each transaction to another of the server's sessions."""
        if self._prepared_limits.statements:
            self._prepared_limits = replace(self._prepared_limits, statements=0)
            log.warning(
                "database.pooler",
                message="The pooler between here and PostgreSQL does not keep prepared statements; reads go on without "
                "them, and are slower. Set CRM_PREPARED_MAX=0, or give PgBouncer (1.21 or newer) "
                "max_prepared_statements = 500.",
            )
