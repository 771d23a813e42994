"""Following the event stream: each event once, its work and the follower's place saved in one transaction.

docs/decisions/0007-jobs-and-followers.md says why the stream is followed instead of a job put into each write.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog

from crm.core import errors
from crm.db.connection import ConnectionLost, Statement, encode
from crm.db.event_feed import LOOK_SECONDS, Position
from crm.db.stream_epoch import EPOCH
from crm.db.unit_of_work import UnitOfWork
from crm.jobs.worker_plan import ConsumedBatch, EventConsumer, WorkerContext

if TYPE_CHECKING:
    from psycopg import pq

log = structlog.get_logger()

# A batch that fails is tried so often, ever smaller; then the event that is left alone is passed over, with an error.
TRIES: Final = 8
_SHRINK: Final = 10
_STALLED_SECONDS: Final = 0.05
_TAKEN_SECONDS: Final = 0.2
# Wake-ups come in bursts; one look serves those of so long.
_BREATH_SECONDS: Final = 0.05
_REMEMBER_SECONDS: Final = 60.0
_MOST_ERROR: Final = 2000
_TELL_SECONDS: Final = 60.0
_NOWHERE: Final = Position(0, -1)

_JOIN: Final = Statement(
    """
    INSERT INTO event_followers (name, xid, id)
    SELECT $1::text, CASE WHEN $2::boolean THEN pg_snapshot_xmin(pg_current_snapshot()) ELSE '0'::xid8 END, -1
    ON CONFLICT DO NOTHING
    """
)
_STATE: Final = Statement(
    f"""
    SELECT {EPOCH}, place.xid::text, place.id::text, coalesce(place.batch, $2::integer)::text,
      coalesce(extract(epoch FROM place.retry_at - clock_timestamp()), 0)::text,
      pg_snapshot_xmin(pg_current_snapshot())::text, pg_snapshot_xmax(pg_current_snapshot())::text,
      (SELECT xid FROM events ORDER BY xid DESC, id DESC LIMIT 1)::text
    FROM event_followers AS place WHERE place.name = $1::text
    """  # noqa: S608  (a constant of ours)
)
# Ordered by the table's columns: `xid` and `id` alone would be the texts that this selects.
_EVENTS: Final = Statement(
    """
    SELECT xid::text, id::text, type, entity, entity_id, lead_id::text, extract(epoch FROM occurred_at)::text
    FROM events
    WHERE (xid, id) > ($1::xid8, $2::bigint) AND xid < $3::xid8 AND type = ANY($4::text[])
    ORDER BY events.xid, events.id LIMIT $5::integer
    """
)
# What was read on one server is not done on another one that was promoted meanwhile, and does not hold all of it.
_AT: Final = f"name = $1::text AND xid = $2::xid8 AND id = $3::bigint AND {EPOCH} = $4::text"
# Of the processes that found the same events, one gets the row; whoever comes later finds that the place has moved.
_TAKE: Final = Statement(
    f"""
    SELECT 1 AS taken FROM event_followers
    WHERE {_AT} AND (retry_at IS NULL OR retry_at <= clock_timestamp())
    FOR UPDATE SKIP LOCKED
    """  # noqa: S608  (constants of ours)
)
_ADVANCE: Final = Statement(
    f"""
    UPDATE event_followers SET xid = $5::xid8, id = $6::bigint, failures = 0, retry_at = NULL, error = NULL,
      batch = CASE WHEN batch * 2 < $7::integer THEN batch * 2 END, skipped = skipped + $8::integer,
      updated_at = now()
    WHERE {_AT}
    """  # noqa: S608
)
_FAIL: Final = Statement(
    f"""
    UPDATE event_followers SET failures = failures + 1, error = $5::text, batch = $6::integer,
      retry_at = clock_timestamp() + make_interval(secs => least($7::float * 2 ^ failures, $8::float)),
      failed_at = now(), updated_at = now()
    WHERE {_AT}
    RETURNING failures::text
    """  # noqa: S608
)


@dataclass(frozen=True, slots=True)
class _State:
    place: Position
    batch: int
    rest: float  # seconds until a failed batch may be tried again
    safe: int
    next: int
    newest: int

    @property
    def end(self) -> Position:
        return Position.before(self.safe, self.newest, self.place.epoch)


class _Taken(Exception):
    """Another process does these events, or did."""


class Following:
    """One follower at work in this process; of the processes that run it, one at a time has a batch."""

    def __init__(self, follower: EventConsumer, shop: WorkerContext) -> None:
        self._follower = follower
        self._shop = shop
        self._joined = False
        # No event of ours up to here, though the place that is saved may be behind.
        self._looked = _NOWHERE
        self._remembered = 0.0
        self._told = -_TELL_SECONDS

    async def run(self) -> None:
        """Follow until cancelled."""
        feed = self._shop.feed
        while True:
            woken = feed.woken
            try:
                pause = await self.step()
            except (ConnectionLost, errors.Unavailable) as error:
                log.info("follower.waiting", follower=self._follower.name, error=str(error)[:200])
                pause = LOOK_SECONDS
            except Exception:
                log.exception("follower.broken", follower=self._follower.name)
                pause = LOOK_SECONDS
            if pause:
                await feed.wait(woken, pause)
                await asyncio.sleep(_BREATH_SECONDS)

    async def step(self) -> float:
        """Do the next batch, if there is one; how long to wait then."""
        if not self._joined:
            await self._shop.database.write(_JOIN, [self._name, encode(self._follower.from_now)])
            self._joined = True
        state = await self._state()
        if state.rest > 0:
            return min(state.rest, LOOK_SECONDS)
        self._check_place(state)
        after = max(state.place, self._looked)
        found = await self._events(after, state) if state.end > after else []
        if not found:
            await self._remember(state, max(after, state.end))
            return _STALLED_SECONDS if state.newest >= state.safe else LOOK_SECONDS
        until = Position(found[-1].xid, found[-1].id) if len(found) == state.batch else state.end
        try:
            await self._work(state.place, found, until)
        except _Taken:
            return _TAKEN_SECONDS
        except (ConnectionLost, errors.Unavailable):
            raise
        except Exception as error:  # noqa: BLE001  (whatever it is: later again, and never passed over in silence)
            await self._failed(state.place, found, error)
        return 0.0

    def _check_place(self, state: _State) -> None:
        """Begin at the saved place again where what this process remembers is of another life of the stream.

        The saved place travels with the database, so it is never ahead of what the database holds.
        """
        ahead = self._looked.xid >= state.next
        now = asyncio.get_running_loop().time()
        if ahead and now - self._told > _TELL_SECONDS:  # a dump of another cluster stays so until somebody mends it
            self._told = now
            about = {"seen": self._looked.xid, "saved": state.place.xid, "next": state.next}
            log.error("follower.ahead", follower=self._follower.name, **about)
        if ahead or self._looked.epoch != state.place.epoch:
            self._looked, self._remembered = state.place, 0.0

    async def _work(self, place: Position, found: Sequence[ConsumedBatch], until: Position, skipped: int = 0) -> None:
        """The work and the step in one transaction."""
        follower = self._follower

        async def both(unit: UnitOfWork) -> None:
            if not await unit.execute(_TAKE, self._at(place)):
                raise _Taken
            if not skipped:
                await follower.work(unit, found)
            where = [encode(until.xid), encode(until.id), encode(follower.batch), encode(skipped)]
            await unit.execute(_ADVANCE, [*self._at(place), *where])

        await self._shop.writer().run(both)

    async def _failed(self, place: Position, found: Sequence[ConsumedBatch], error: Exception) -> None:
        about = {"follower": self._follower.name, "events": len(found), "first": found[0].id, "type": found[0].type}
        smaller = max(1, len(found) // _SHRINK)
        pauses = [encode(self._follower.pause), encode(self._follower.longest_pause)]
        text = f"{type(error).__name__}: {error}"[:_MOST_ERROR].replace("\x00", "")
        params = [*self._at(place), encode(text), encode(smaller), *pauses]
        result = await self._shop.database.write(_FAIL, params)
        failures = int(result.get_value(0, 0) or b"0") if result.ntuples else 0
        if failures < TRIES or len(found) > 1:
            log.warning("follower.failed", **about, failures=failures, error=text, exc_info=error)
            return
        await self._pass_over(place, found[0])
        log.error("follower.skipped", **about, entity=found[0].entity, entity_id=found[0].entity_id, error=text)

    async def _pass_over(self, place: Position, event: ConsumedBatch) -> None:
        at = self._at(place)
        where = [encode(event.xid), encode(event.id), encode(self._follower.batch), encode(1)]
        await self._shop.database.write(_ADVANCE, [*at, *where])

    async def _state(self) -> _State:
        result, epoch = await self._shop.feed.renewed(_STATE, [self._name, encode(self._follower.batch)])
        if epoch is None:
            self._joined = False
            raise errors.Unavailable
        xid, key, batch, rest, *marks = (result.get_value(0, column) or b"0" for column in range(1, 8))
        return _State(Position(int(xid), int(key), epoch), int(batch), float(rest), *map(int, marks))

    async def _events(self, after: Position, state: _State) -> list[ConsumedBatch]:
        types = encode(list(self._follower.types))
        where = [encode(after.xid), encode(after.id), encode(state.safe), types, encode(state.batch)]
        result = await self._shop.feed.read(_EVENTS, where)
        return [_followed(result, row) for row in range(result.ntuples)]

    async def _remember(self, state: _State, end: Position) -> None:
        """Nothing of ours up to `end`: known here at once, and now and then to those who start after us."""
        self._looked = end
        now = asyncio.get_running_loop().time()
        if end > state.place and now - self._remembered > _REMEMBER_SECONDS:
            self._remembered = now
            where = [encode(end.xid), encode(end.id), encode(self._follower.batch), encode(0)]
            await self._shop.database.write(_ADVANCE, [*self._at(state.place), *where])

    @property
    def _name(self) -> bytes:
        return self._follower.name.encode()

    def _at(self, place: Position) -> list[bytes | None]:
        return [self._name, encode(place.xid), encode(place.id), place.epoch.encode()]


def _followed(result: "pq.abc.PGresult", row: int) -> ConsumedBatch:
    xid, key, kind, entity, entity_id, lead_id, occurred = (result.get_value(row, column) for column in range(7))
    return ConsumedBatch(
        int(xid or b"0"),
        int(key or b"0"),
        (kind or b"").decode(),
        (entity or b"").decode(),
        (entity_id or b"").decode(),
        None if lead_id is None else int(lead_id),
        datetime.fromtimestamp(float(occurred or b"0"), UTC),
    )
