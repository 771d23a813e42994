"""Connections to one PostgreSQL: opened when needed, given back when nobody needs them, dropped when they break."""

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
from crm.db.connection import Connection, Lane, Room, Work
from crm.db.connection_queue import Waiter
from crm.db.lanes import PROGRAM, STOP_AFTER_SECONDS, LaneLimits, Lanes
from crm.db.refusals import log_seldom

log = structlog.get_logger()

# Without an answer for so long, a server that has a substitute is asked whether it lives.
_DOUBT_SECONDS: Final = 0.5
# A server that stays read-only must not cost everybody's connections at each write.
_RENEW_SECONDS: Final = 1.0
# The server's own words: what it refuses before it lets us in carries no SQLSTATE.
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
        room: Room | None = None,
        timeout: float = 5,
        connect_timeout: float | None = None,
        limits: LaneLimits | None = None,
        writes: bool = True,
    ) -> None:
        self.url = url
        self.address = PostgresAddress(url, timeout=connect_timeout or timeout, writes=writes)
        # Called now and then while the server leaves somebody without an answer.
        self.on_doubt: Callable[[], None] | None = None
        self._size = size
        self._room = Room() if room is None else room
        self._timeout = timeout
        self._idle: list[Connection] = []
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
    async def connection(self, owner: int = PROGRAM) -> AsyncIterator[Connection]:
        """A connection for a while."""
        wire = await self.acquire(owner)
        try:
            yield wire
        finally:
            self.release(wire)

    def take(self, owner: int = PROGRAM, work: Work | None = None) -> Connection | None:
        """An idle connection, until `release`, if there is one and the owner may have it.

        A viewer's read or write that is named may be stopped; a read has a time limit.
        """
        lane = work.slow_lane if work is not None and work.slow_for == owner else _QUICK
        if not self.lanes.strict or self.lanes.allows(owner, lane=lane):
            while self._idle:
                wire = self._idle.pop()
                if wire.broken or wire.generation != self._generation:
                    self._forget(wire)
                    continue
                self._begin(wire, owner, work, lane=lane)
                return wire
        return None

    async def acquire(self, owner: int = PROGRAM, work: Work | None = None) -> Connection:
        """A connection, until `release`: idle, new, or another's who gives it back."""
        return self.take(owner, work) or await self.wait(owner, work)

    async def wait(self, owner: int = PROGRAM, work: Work | None = None) -> Connection:
        """The same, for those who found none idle."""
        if self._closed:
            raise errors.Unavailable
        lane = work.slow_lane if work is not None and work.slow_for == owner else _QUICK
        if self._may_open() and (not self.lanes.strict or self.lanes.allows(owner, lane=lane)):
            self._grant(owner, lane=lane)
            return await self._connect(owner, work, lane=lane)
        return await self._handed_over(owner, work, lane=lane)

    def _begin(self, wire: Connection, owner: int, work: Work | None, *, lane: Lane) -> None:
        self.lanes.begin(wire, owner, work, self._loop.time(), lane=lane)
        if not self._looking:
            self._keep_looking()

    @asynccontextmanager
    async def spare(self) -> AsyncIterator[Connection]:
        """A connection that does not have to be waited for: an idle one, or one beyond the pool's size."""
        idle = self.take()
        wire = idle or await Connection.connect(self.address)
        try:
            yield wire
        finally:
            if idle is None:
                wire.close()
            else:
                self.release(wire)

    def release(self, wire: Connection) -> None:
        """Give a connection back."""
        self.lanes.end(wire, self._loop)
        if wire.broken or wire.closing or wire.generation != self._generation:
            self._drop(wire)
            self._serve()
        elif not (self.lanes.waiting and self._hand_over(wire)):
            self._idle.append(wire)
            if not self._trimming:
                self._trim_later()

    def seconds_of(self, wire: Connection) -> float:
        """For how long a connection has been in use."""
        return self._loop.time() - wire.since

    def time_is_up(self, seconds: float) -> bool:
        """Whether a viewer's read may take no longer than this."""
        return 0 < self._limits.read_seconds <= seconds

    def close(self) -> None:
        """Close what is idle now, and the rest when it comes back."""
        self._closed = True
        self._end_generation()

    def lose_all(self) -> None:
        """The server says nothing any more: whoever waits for an answer is told that the connection broke."""
        self._end_generation()
        for wire in self.lanes.busy:
            wire.lose()

    # Getting one

    async def _handed_over(self, owner: int, work: Work | None, *, lane: Lane) -> Connection:
        """Wait for another's connection, or for the right to open one."""
        now = self._loop.time()
        seconds = max(self._timeout, self._limits.read_seconds) if lane else self._timeout
        waiter = Waiter(self._loop.create_future(), owner, work, now + seconds, lane=lane)
        self.lanes.wait(waiter, now)
        self._keep_looking()
        try:
            wire = await waiter.future
        except asyncio.CancelledError:
            self._pass_on(waiter)
            raise
        return wire or await self._connect(owner, work, lane=lane)

    def _may_open(self) -> bool:
        return self.open < self._size and (not self.open or self._loop.time() >= self._full_until)

    def _grant(self, owner: int, *, lane: Lane) -> None:
        """Count a connection that is to be opened."""
        self.open += 1
        self.lanes.grant(owner, lane=lane)

    async def _connect(self, owner: int, work: Work | None, *, lane: Lane) -> Connection:
        """Open a connection; it is counted already."""
        generation = self._generation
        try:
            async with asyncio.timeout(self.address.seconds):
                wire = await Connection.connect(self.address, self._room)
        except (psycopg.OperationalError, TimeoutError, OSError) as error:
            self.lanes.revoke(owner, lane=lane)
            said = " ".join(str(error).split()) or "no answer in time"
            log_seldom("database.unreachable", self.url, error=said[:300])
            full = any(words in said for words in _FULL)
            if full:
                self._full_until = self._loop.time() + _FULL_SECONDS
            self._one_less()
            if full and self.open:  # make do with what there is
                return await self._handed_over(owner, work, lane=lane)
            raise errors.Unavailable from error
        except BaseException:
            self.lanes.revoke(owner, lane=lane)
            self._one_less()
            raise
        wire.generation = generation
        self.lanes.revoke(owner, lane=lane)
        self._begin(wire, owner, work, lane=lane)
        return wire

    # Handing on

    def _hand_over(self, wire: Connection) -> bool:
        """Give a connection to whom it is due; false if it is nobody's turn."""
        waiter = self.lanes.next()
        if waiter is None:
            return False
        self._begin(wire, waiter.owner, waiter.work, lane=waiter.lane)
        waiter.future.set_result(wire)
        return True

    def _serve(self) -> None:
        """Give what is free, or may be opened, to those whose turn it is."""
        while self.lanes.waiting and self._idle:
            wire = self._idle.pop()
            if wire.broken or wire.generation != self._generation:
                self._forget(wire)
            elif not self._hand_over(wire):
                self._idle.append(wire)
                return
        while self.lanes.waiting and self._may_open():
            waiter = self.lanes.next()
            if waiter is None:
                return
            self._grant(waiter.owner, lane=waiter.lane)
            waiter.future.set_result(None)

    def _pass_on(self, waiter: Waiter) -> None:
        """What was handed to somebody who gave up in that very moment is for the next."""
        if self.lanes.leave(waiter) or waiter.future.cancelled() or waiter.future.exception() is not None:
            return
        wire = waiter.future.result()
        if wire is None:
            self.lanes.revoke(waiter.owner, lane=waiter.lane)
            self._one_less()
        else:
            self.release(wire)

    def _end_generation(self) -> None:
        """Use no connection again that is open now."""
        self._generation += 1
        while self._idle:
            self._forget(self._idle.pop())

    def _drop(self, wire: Connection) -> None:
        """Close a connection that is of no use any more, and others with it if they are like it."""
        if wire.mixed_up:
            self._prepare_no_more()
        if wire.demoted and not wire.broken and self._loop.time() < self._renewable_at:
            wire.demoted = wire.closing = False  # the new connections led to the same server
            self._idle.append(wire)
            return
        if wire.demoted:
            self._renewable_at = self._loop.time() + _RENEW_SECONDS
        if (wire.stale or wire.demoted) and wire.generation == self._generation:
            self._end_generation()
        self._forget(wire)

    def _forget(self, wire: Connection) -> None:
        wire.close()
        self.open -= 1

    def _one_less(self) -> None:
        self.open -= 1
        self._serve()

    # Looking after them

    def _keep_looking(self) -> None:
        if not self._looking:
            self._looking = True
            self._loop.call_later(STOP_AFTER_SECONDS, self._look)

    def _look(self) -> None:
        """While any is in use: what takes long, who waits, whether there is an answer at all."""
        now, lanes = self._loop.time(), self.lanes
        self._looking = False
        if lanes.busy or lanes.waiting or lanes.strict:
            self._keep_looking()
        lanes.look(now)
        for waiter in lanes.expired(now):
            waiter.future.set_exception(SlowBusy() if waiter.lane else Busy())
        self._serve()
        if self.on_doubt is not None and any(now - wire.since > _DOUBT_SECONDS for wire in lanes.busy):
            self.on_doubt()

    def _trim_later(self) -> None:
        if self._limits.idle_seconds:
            self._trimming = True
            self._loop.call_later(self._limits.idle_seconds / 4, self._trim)

    def _trim(self) -> None:
        """Close what nobody has used for a while: others may need it, and PostgreSQL has only so many."""
        self._trimming = False
        before = self._loop.time() - self._limits.idle_seconds
        used = [wire for wire in self._idle if wire.since >= before]
        for wire in set(self._idle).difference(used):
            self._forget(wire)
        self._idle = used
        if self._idle:
            self._trim_later()

    def _prepare_no_more(self) -> None:
        """A pooler gives us now this server's session, now that one's."""
        if self._room.statements:
            self._room = replace(self._room, statements=0)
            log.warning(
                "database.pooler",
                message="The pooler between here and PostgreSQL does not keep prepared statements; reads go on without "
                "them, and are slower. Set CRM_PREPARED_MAX=0, or give PgBouncer (1.21 or newer) "
                "max_prepared_statements = 500.",
            )
