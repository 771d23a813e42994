"""The event feed: wakes readers when events were written, and reads the stream as far as that is safe.

NOTIFY only wakes readers, and a lost notification costs a second at most, since readers also look once a second. Only
the cursor (transaction, event) decides which events are delivered, below the oldest transaction still open.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from uuid import UUID

import psycopg
import structlog

from crm.core import errors
from crm.core.detached import KeptTasks
from crm.db.database import Database
from crm.db.impatient import Connection, impatient
from crm.db.lanes import PROGRAM
from crm.db.statement import Params, Statement, encode
from crm.db.stream_epoch import RENEW
from crm.db.stream_position import LAST_ID, MARK, Position, StreamMark

if TYPE_CHECKING:
    from psycopg import pq

log = structlog.get_logger()

CHANNEL: Final = "crm_events"
LOOK_SECONDS: Final = 1.0
_DEBOUNCE_SECONDS: Final = 0.05  # the first goes at once
_RECONNECT_SECONDS: Final = 1.0
_PRUNE_SECONDS: Final = 3600.0
_PRUNE_BATCH: Final = 5000
_MOST_XID: Final = 2**64 - 1
# A limit of its own for statements without a request's deadline: a frozen server, or a network that drops packets,
# never answers.
_ANSWER_SECONDS: Final = 20.0
# Attempts to renew the epoch: between a read and the renewal the server may have changed once more.
_RENEWALS: Final = 3
_LOST: Final = (
    "The database went back to an earlier state (a failover, a restore), and what you saw may be gone: "
    "load afresh, follow from there."
)

_NOTIFY: Final = Statement(f"SELECT pg_notify('{CHANNEL}', '')")
_STATE: Final = Statement(
    f"""
    SELECT {MARK}, purged_xid::text,
      (SELECT kept_xid FROM event_forks WHERE event_forks.epoch = $1::uuid AND successor = event_epoch.epoch)::text
    FROM event_epoch
    """  # noqa: S608  (a constant of ours)
)
_PRUNE: Final = Statement(
    """
    WITH old AS (
      SELECT id FROM events WHERE occurred_at < now() - make_interval(days => $1::integer)
      ORDER BY id LIMIT $2::integer FOR UPDATE SKIP LOCKED
    ), gone AS (
      DELETE FROM events USING old WHERE events.id = old.id RETURNING events.xid, events.via
    ), marked AS (
      UPDATE event_epoch  -- nobody was told of demo data, so nobody misses any
      SET purged_xid = greatest(purged_xid, (SELECT max(xid) FROM gone WHERE via IS DISTINCT FROM 'demo'))
      WHERE EXISTS (SELECT FROM gone)
    )
    SELECT count(*)::text FROM gone
    """
)


@dataclass(frozen=True, slots=True)
class _StreamState:
    """The present state of the stream."""

    mark: StreamMark
    purged: int
    kept: int  # the last transaction up to which the requested epoch agrees with this one


class EventFeed:
    """One process's view of the stream."""

    def __init__(self, database: Database, listen_url: str, retention_days: int) -> None:
        self.database = database
        self._listen_url = listen_url
        self._retention_days = retention_days
        self._woken: asyncio.Event | None = None
        self._notifying: asyncio.TimerHandle | None = None
        self._notified = 0.0
        self._tasks = KeptTasks()

    def start(self) -> None:
        """Listen, and prune, until `stop`."""
        for work in (self._listen(), self._prune()):
            self._tasks.start(work)

    async def stop(self) -> None:
        """End everything."""
        if self._notifying is not None:
            self._notifying.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def announce(self) -> None:
        """Wake readers in this process now, and those of other processes in a moment: this process wrote events."""
        self.wake()
        if self._notifying is None:
            pause = self._notified + _DEBOUNCE_SECONDS - time.monotonic()
            self._notifying = asyncio.get_running_loop().call_later(max(pause, 0), self._notify)

    def wake(self) -> None:
        """Wake all readers that wait."""
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
        """Wait until events may have been written, or for so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await woken.wait()

    async def now(self) -> Position:
        """The end of what is safe to read."""
        return (await self._state()).mark.end

    async def position(self, cursor: str) -> Position:
        """The position of a client's cursor."""
        try:
            stream, xid, key = cursor.split(".")
            position = Position(_number(xid, _MOST_XID), _number(key, LAST_ID), str(UUID(stream)))
        except ValueError:
            message = "This is not a cursor; take `cursor` of a change."
            raise errors.BadUserInput(message, field="after") from None
        state = await self._state(position.epoch)
        # Of the newest purged transaction some events may be left: a reader in its middle would miss the purged ones.
        if position.xid <= state.purged or not _is_kept(position, state):
            raise errors.CursorExpired(field="after")
        # A timeline shows changes that are ahead of a transaction still open. Events that it commits come after them,
        # so begin before it: a change may be sent twice, but none is lost.
        return replace(position, epoch=state.mark.epoch) if position.xid < state.mark.safe else state.mark.end

    async def carried(self, position: Position) -> Position:
        """The same position in the present epoch; CursorExpired if events read before it were lost."""
        state = await self._state(position.epoch)
        if _is_kept(position, state):
            return replace(position, epoch=state.mark.epoch)
        if position.epoch == state.mark.epoch:  # a restore that renewed nothing
            log.error("feed.ahead", seen=position.xid, next=state.mark.next)
        raise errors.CursorExpired(_LOST)

    async def read(
        self, statement: Statement, params: Params, owner: int = PROGRAM, *, limited: bool = False
    ) -> "pq.abc.PGresult":
        """Read, with a time limit; a read of one viewer's selection counts as that viewer's (`owner`).

        A read that several viewers share is the program's, but has the time limit of a viewer's (`limited`).
        """
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await self.database.read(statement, params, owner=owner, limited=limited)
        except TimeoutError:
            raise errors.Unavailable from None

    async def renew(self) -> None:
        """Begin a new epoch if the server is on another timeline than the one that it recorded."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                result = await self.database.write(RENEW)
        except (psycopg.Error, TimeoutError) as error:  # for one, a standby that was not promoted yet
            raise errors.Unavailable from error
        if result.ntuples:
            epoch, timeline, kept = ((result.get_value(0, column) or b"").decode() for column in range(3))
            log.warning("feed.forked", epoch=epoch, timeline=int(timeline), kept_xid=int(kept))

    async def renewed(self, statement: Statement, params: Params) -> "tuple[pq.abc.PGresult, str | None]":
        """Read a row that begins with the epoch, once the server has one; without an epoch if there is no row."""
        for _ in range(_RENEWALS):
            result = await self.read(statement, params)
            if not result.ntuples:
                return result, None
            epoch = result.get_value(0, 0)
            if epoch is not None:
                return result, epoch.decode()
            await self.renew()
        raise errors.Unavailable

    async def _state(self, epoch: str = "") -> _StreamState:
        """The present state of the stream, and how far another epoch agrees with it."""
        result, current = await self.renewed(_STATE, [epoch.encode() or None])
        if current is None:
            raise errors.Unavailable
        return _StreamState(StreamMark.of(result, 0), *(int(result.get_value(0, column) or b"0") for column in (4, 5)))

    def _notify(self) -> None:
        self._notifying = None
        self._notified = time.monotonic()
        self._tasks.start(self._send_notification())

    async def _send_notification(self) -> None:
        with suppress(errors.CrmError, psycopg.Error, TimeoutError):
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self.database.write(_NOTIFY)

    async def _listen(self) -> None:
        while True:
            try:
                async with await self._connected() as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    await self._settle()
                    self.wake()
                    await self._wake_on(connection)
            except (psycopg.Error, OSError) as error:
                log.info("feed.reconnecting", error=str(error).strip().splitlines()[:1])
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _wake_on(self, connection: Connection) -> None:
        """Wake all readers at each notification; every now and then check that the server still answers."""
        while True:
            async for _ in connection.notifies(timeout=_ANSWER_SECONDS):
                self.wake()
            await connection.execute("SELECT 1")

    async def _settle(self) -> None:
        """Notice a new timeline at once, even without readers: cursors given out before would be of no use."""
        with suppress(errors.CrmError, psycopg.Error):
            await self._state()

    async def _connected(self) -> Connection:
        return await impatient(_ANSWER_SECONDS).connect(
            self.database.conninfo(self._listen_url, timeout=_ANSWER_SECONDS), autocommit=True
        )

    async def _prune(self) -> None:
        while True:
            with suppress(errors.CrmError, psycopg.Error, TimeoutError):
                while await self.prune_once() == _PRUNE_BATCH:
                    await asyncio.sleep(0.1)
            await asyncio.sleep(_PRUNE_SECONDS)

    async def prune_once(self) -> int:
        """Remove a batch of events that are older than the retention, and return their number."""
        async with asyncio.timeout(_ANSWER_SECONDS):
            result = await self.database.write(_PRUNE, [encode(self._retention_days), encode(_PRUNE_BATCH)])
        return int(result.get_value(0, 0) or b"0")


def _is_kept(position: Position, state: _StreamState) -> bool:
    """Whether all events read up to a position still exist: docs/decisions/0018-positions-and-timelines.md."""
    if position.epoch != state.mark.epoch and position.xid > state.kept:
        return False
    return position.xid < state.mark.next


def _number(text: str, most: int) -> int:
    """A whole number in plain digits, within PostgreSQL's range."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most):
        raise ValueError
    return int(text)
