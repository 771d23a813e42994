"""Connections to PostgreSQL, and what its errors mean."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import psycopg
import structlog

from crm.core import errors
from crm.core.commits import SharedCommits
from crm.core.wire import ConnectionLost, Params, Statement, StatementStale, Wire

if TYPE_CHECKING:
    from psycopg import pq

log = structlog.get_logger()
T = TypeVar("T")

SERIALIZATION_STATES: Final = frozenset({"40001", "40P01"})
_UNIQUE_VIOLATION: Final = "23505"
_ATTEMPTS: Final = 6
_TAKEN_ATTEMPTS: Final = 3  # each time it may be another one who takes one of many values
_AWAY: Final = ("08", "57P", "53", "58", "XX")


def sqlalchemy_url(url: str) -> str:
    """The same address, as SQLAlchemy wants it."""
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url


class Pool:
    """Connections to one server, opened when needed and dropped when they break."""

    def __init__(self, url: str, *, size: int, prepared_max: int, timeout: float) -> None:
        self.url = url
        self._size = size
        self._prepared_max = prepared_max
        self._timeout = timeout
        self._idle: list[Wire] = []
        self._open = 0
        # Whoever waits gets a connection handed over, or None: the right to open one.
        self._waiting: deque[asyncio.Future[Wire | None]] = deque()
        self._generation = 0
        self._generations: dict[Wire, int] = {}
        self._closed = False

    @asynccontextmanager
    async def wire(self) -> AsyncIterator[Wire]:
        """A connection for a while."""
        wire = await self.acquire()
        try:
            yield wire
        finally:
            self.release(wire)

    async def acquire(self) -> Wire:
        """A connection, until `release`."""
        if self._closed:
            raise errors.Unavailable
        while self._idle:
            wire = self._idle.pop()
            if self._fit(wire):
                return wire
            self._forget(wire)
        if self._open < self._size:
            self._open += 1
            return await self._connect()
        return await self._handed_over() or await self._connect()

    def release(self, wire: Wire) -> None:
        """Give a connection back."""
        if wire.stale:
            self._generation += 1
        if not self._fit(wire):
            self._forget(wire)
            return
        waiter = self._next_waiter()
        if waiter is None:
            self._idle.append(wire)
        else:
            waiter.set_result(wire)

    def close(self) -> None:
        """Close what is idle now, and the rest when it comes back."""
        self._closed = True
        while self._idle:
            self._forget(self._idle.pop())

    async def _connect(self) -> Wire:
        """Open a connection; the caller has counted it already."""
        generation = self._generation
        try:
            async with asyncio.timeout(self._timeout):
                wire = await Wire.connect(self.url, self._prepared_max, self._timeout)
        except (psycopg.OperationalError, TimeoutError, OSError) as error:
            self._one_less()
            log.warning("database.unreachable", error=str(error).strip().splitlines()[:1])
            raise errors.Unavailable from error
        except BaseException:
            self._one_less()
            raise
        self._generations[wire] = generation
        return wire

    async def _handed_over(self) -> Wire | None:
        waiter: asyncio.Future[Wire | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(self._timeout):
                return await waiter
        except BaseException as error:
            self._pass_on(waiter)
            if not isinstance(error, TimeoutError):
                raise
            message = "All connections to the database are busy; try again shortly."
            raise errors.Unavailable(message) from None

    def _pass_on(self, waiter: "asyncio.Future[Wire | None]") -> None:
        """What was handed to somebody who gave up in that very moment is for the next."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)
        elif not waiter.cancelled():
            wire = waiter.result()
            if wire is None:
                self._one_less()
            else:
                self.release(wire)

    def _next_waiter(self) -> "asyncio.Future[Wire | None] | None":
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                return waiter
        return None

    def _fit(self, wire: Wire) -> bool:
        """Whether a connection may be used once more."""
        lost = wire.broken or wire.closing or self._closed
        return not lost and self._generations[wire] == self._generation

    def _forget(self, wire: Wire) -> None:
        del self._generations[wire]
        wire.close()
        self._one_less()

    def _one_less(self) -> None:
        self._open -= 1
        waiter = self._next_waiter()
        if waiter is not None:
            self._open += 1
            waiter.set_result(None)


class Database:
    """Where reads and writes go."""

    def __init__(
        self,
        url: str,
        read_url: str | None = None,
        *,
        size: int = 10,
        prepared_max: int = 500,
        timeout: float = 5,
    ) -> None:
        self.url = url
        self.primary = Pool(url, size=size, prepared_max=prepared_max, timeout=timeout)
        self.commits = SharedCommits(self.primary)
        self.replica = (
            Pool(read_url, size=size, prepared_max=prepared_max, timeout=timeout) if read_url else self.primary
        )

    async def read(self, statement: Statement, params: Params, *, stale: bool = False) -> "pq.abc.PGresult":
        """Run one read. A connection that turns out to be dead is replaced, once."""
        pool = self.replica if stale else self.primary
        for attempt in (1, 2):
            wire = await pool.acquire()
            try:
                return await wire.execute(statement, params)
            except (ConnectionLost, StatementStale) as error:
                if attempt == 2:  # noqa: PLR2004
                    raise errors.Unavailable from error
            finally:
                pool.release(wire)
        raise errors.Unavailable

    async def write(self, statement: Statement, params: Params = ()) -> "pq.abc.PGresult":
        """Run one statement that changes something by itself."""
        async with self.primary.wire() as wire:
            return await wire.execute(statement, params)

    def close(self) -> None:
        """Close every connection."""
        self.primary.close()
        self.replica.close()


async def retried(attempt: Callable[[], Awaitable[T]]) -> T:
    """Run a write, and run it again from the start when that can help.

    PostgreSQL asks for it (40001, 40P01); a statement was prepared before its tables changed; or somebody else took a
    unique value between a service's check and its insert: run again, the check finds who.
    """
    for number in range(_ATTEMPTS):
        try:
            return await attempt()
        except psycopg.Error as error:
            taken = error.sqlstate == _UNIQUE_VIOLATION and number < _TAKEN_ATTEMPTS
            if not (taken or isinstance(error, StatementStale) or error.sqlstate in SERIALIZATION_STATES):
                raise
            await asyncio.sleep(random.uniform(0, 0.01) * 2**number)  # noqa: S311
    message = "Too many others are changing this record right now; try again."
    raise errors.Conflict(message)


Translation = Callable[[psycopg.Error], errors.CrmError]
_CONSTRAINTS: dict[str, Translation] = {}


def on_violation(constraint: str, translation: Translation) -> None:
    """Say what breaking this constraint means to a user. Each domain does, once, by name."""
    _CONSTRAINTS[constraint] = translation


def translated(error: psycopg.Error) -> errors.CrmError:
    """PostgreSQL's error as ours."""
    if isinstance(error, ConnectionLost):
        return errors.Unavailable()
    state = error.sqlstate or ""
    known = _CONSTRAINTS.get(error.diag.constraint_name or "")
    if known is not None:
        return known(error)
    for prefix, translation in _STATES.items():
        if state.startswith(prefix):
            return translation(error)
    return errors.Internal()


def is_away(error: BaseException) -> bool:
    """Whether PostgreSQL could not be reached, or went away meanwhile: in a moment the same may work."""
    found = translated(error) if isinstance(error, psycopg.Error) else error
    return isinstance(found, errors.Unavailable)


def _column(error: psycopg.Error) -> dict[str, object]:
    return {"field": error.diag.column_name} if error.diag.column_name else {}


_STATES: Final[dict[str, Translation]] = {
    "CRM01": lambda error: errors.TooLarge(error.diag.message_primary),
    "CRM02": lambda error: errors.CursorExpired(None, **_column(error)),
    "57014": lambda _: errors.Timeout(),
    "23503": lambda _: errors.NotFound("The record that this one belongs to does not exist."),
    "23": lambda error: errors.BadUserInput(None, **_column(error)),
    "22": lambda error: errors.BadUserInput(
        f"A value is out of range or malformed: {error.diag.message_primary}.",
        **_column(error),
    ),
    "54": lambda _: errors.TooComplex(),
    **dict.fromkeys(_AWAY, lambda _: errors.Unavailable()),
}
