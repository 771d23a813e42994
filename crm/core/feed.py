"""Following the event stream: waking up when something was written, and knowing how far it is safe to read.

NOTIFY only wakes readers, and a lost one costs a second at most: everybody looks by themselves now and then. What is
delivered is decided by the cursor alone, (transaction, event), below the oldest transaction still open.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

import psycopg
import structlog

from crm.core import errors
from crm.core.address import conninfo
from crm.core.database import Database
from crm.core.wire import Params, Statement, encode

if TYPE_CHECKING:
    from psycopg import pq

log = structlog.get_logger()

CHANNEL: Final = "crm_events"
LOOK_SECONDS: Final = 1.0
_DEBOUNCE_SECONDS: Final = 0.05  # the first goes at once
_RECONNECT_SECONDS: Final = 1.0
_PRUNE_SECONDS: Final = 3600.0
_PRUNE_BATCH: Final = 5000
_LAST_ID: Final = 2**63 - 1
_MOST_XID: Final = 2**64 - 1
# Nobody's deadline watches over what runs on its own, and a frozen server or a network that swallows packets never
# answers.
_PATIENCE_SECONDS: Final = 20.0

_NOTIFY: Final = Statement(f"SELECT pg_notify('{CHANNEL}', '')")
_STATE: Final = Statement(
    """
    SELECT epoch::text, pg_snapshot_xmin(snapshot)::text, pg_snapshot_xmax(snapshot)::text, purged_xid::text,
      (SELECT xid FROM events ORDER BY xid DESC, id DESC LIMIT 1)::text
    FROM event_epoch, pg_current_snapshot() AS snapshot
    """
)
_PRUNE: Final = Statement(
    """
    WITH old AS (
      SELECT id FROM events WHERE occurred_at < now() - make_interval(days => $1::integer)
      ORDER BY id LIMIT $2::integer FOR UPDATE SKIP LOCKED
    ), gone AS (
      DELETE FROM events USING old WHERE events.id = old.id RETURNING events.xid
    ), marked AS (
      UPDATE event_epoch SET purged_xid = greatest(purged_xid, (SELECT max(xid) FROM gone))
      WHERE EXISTS (SELECT FROM gone)
    )
    SELECT count(*)::text FROM gone
    """
)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the stream: everything up to and including this event has been seen."""

    xid: int
    id: int

    @classmethod
    def before(cls, safe: int, newest: int) -> "Position":
        """The end of what is safe to read: before the oldest open transaction, and not beyond the newest event.

        Beyond it there may be ids of transactions that wrote nothing, and after a crash PostgreSQL gives those out
        again: to a server that lived through the crash, events of theirs would lie in the past.
        """
        return cls(min(safe - 1, newest), _LAST_ID)


@dataclass(frozen=True, slots=True)
class _State:
    """The stream as it is now."""

    epoch: UUID
    safe: int  # the oldest transaction still open
    next: int  # the first transaction that has not begun
    purged: int
    newest: int


class Feed:
    """One process's view of the stream."""

    def __init__(self, database: Database, listen_url: str, retention_days: int) -> None:
        self.database = database
        self._listen_url = listen_url
        self._retention_days = retention_days
        self._woken: asyncio.Event | None = None
        self._notifying: asyncio.TimerHandle | None = None
        self._notified = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Listen, and prune, until `stop`."""
        for work in (self._listen(), self._prune()):
            self._keep(asyncio.create_task(work))

    async def stop(self) -> None:
        """End everything."""
        if self._notifying is not None:
            self._notifying.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def announce(self) -> None:
        """Something was written here: wake readers in this process now, and the other processes' in a moment."""
        self.wake()
        if self._notifying is None:
            pause = self._notified + _DEBOUNCE_SECONDS - time.monotonic()
            self._notifying = asyncio.get_running_loop().call_later(max(pause, 0), self._notify)

    def wake(self) -> None:
        """Wake everybody who waits."""
        if self._woken is not None:
            self._woken.set()
            self._woken = None

    @property
    def woken(self) -> asyncio.Event:
        """Set at the next wake. Take it before a read, so that a wake during the read is not lost."""
        if self._woken is None:
            self._woken = asyncio.Event()
        return self._woken

    async def wait(self, woken: asyncio.Event, seconds: float = LOOK_SECONDS) -> None:
        """Until something may have been written, or for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await woken.wait()

    async def now(self) -> Position:
        """The end of what is safe to read."""
        state = await self._state()
        return Position.before(state.safe, state.newest)

    async def position(self, cursor: str) -> Position:
        """The place that a client's cursor stands for."""
        try:
            stream, xid, key = cursor.split(".")
            epoch, found = UUID(stream), Position(_number(xid, _MOST_XID), _number(key, _LAST_ID))
        except ValueError:
            message = "This is not a cursor; take `cursor` of a change."
            raise errors.BadUserInput(message, field="after") from None
        state = await self._state()
        # Of the newest transaction that lost events, some may be left: whoever stopped in its middle would miss others.
        if epoch != state.epoch or found.xid <= state.purged or found.xid >= state.next:
            raise errors.CursorExpired(field="after")
        # A timeline shows changes that are ahead of a transaction still open. What commits there comes after them,
        # so begin before it: rather a change twice than one never.
        return found if found.xid < state.safe else Position.before(state.safe, state.newest)

    async def read(self, statement: Statement, params: Params) -> "pq.abc.PGresult":
        """Read for a subscriber, within some time."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await self.database.read(statement, params)
        except TimeoutError:
            raise errors.Unavailable from None

    async def _state(self) -> _State:
        result = await self.read(_STATE, ())
        epoch, *numbers = (result.get_value(0, column) or b"0" for column in range(5))
        return _State(UUID(epoch.decode()), *map(int, numbers))

    def _notify(self) -> None:
        self._notifying = None
        self._notified = time.monotonic()
        self._keep(asyncio.create_task(self._send_notification()))

    async def _send_notification(self) -> None:
        with suppress(errors.CrmError, psycopg.Error, TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self.database.write(_NOTIFY)

    async def _listen(self) -> None:
        while True:
            try:
                async with await self._connected() as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    self.wake()
                    async for _ in connection.notifies():
                        self.wake()
            except (psycopg.Error, OSError) as error:
                log.info("feed.reconnecting", error=str(error).strip().splitlines()[:1])
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _connected(self) -> "psycopg.AsyncConnection[tuple[object, ...]]":
        return await psycopg.AsyncConnection.connect(
            conninfo(self._listen_url, timeout=_PATIENCE_SECONDS), autocommit=True
        )

    async def _prune(self) -> None:
        while True:
            with suppress(errors.CrmError, psycopg.Error, TimeoutError):
                while await self.prune_once() == _PRUNE_BATCH:
                    await asyncio.sleep(0.1)
            await asyncio.sleep(_PRUNE_SECONDS)

    async def prune_once(self) -> int:
        """Remove a batch of events that are past their time; returns how many."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            result = await self.database.write(_PRUNE, [encode(self._retention_days), encode(_PRUNE_BATCH)])
        return int(result.get_value(0, 0) or b"0")

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _number(text: str, most: int) -> int:
    """A whole number in plain digits, within PostgreSQL's range."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most):
        raise ValueError
    return int(text)
