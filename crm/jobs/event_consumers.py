"""Runs event consumers: each event once, with the work and the consumer's position saved in one transaction.

docs/decisions/0007-jobs-and-followers.md says why consumers read the stream, instead of each write adding a job.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog

from crm.core import errors
from crm.db.connection import ConnectionLost
from crm.db.event_feed import LOOK_SECONDS
from crm.db.statement import Statement, encode
from crm.db.stream_epoch import EPOCH
from crm.db.stream_position import MARK, WATERMARK, Position, StreamMark, between_text
from crm.db.unit_of_work import UnitOfWork
from crm.jobs.worker_plan import ConsumedEvent, EventConsumer, WorkerContext

if TYPE_CHECKING:
    from psycopg import pq

log = structlog.get_logger()

# A failing batch is tried so often, ever smaller; then the single event that is left is skipped, with a logged error.
TRIES: Final = 8
_SHRINK: Final = 10
_STALLED_SECONDS: Final = 0.05
_TAKEN_SECONDS: Final = 0.2
# Wake-ups come in bursts; one read serves all that come within this time.
_GATHER_SECONDS: Final = 0.05
_SAVE_SECONDS: Final = 60.0
_MOST_ERROR: Final = 2000
_WARN_SECONDS: Final = 60.0
_START: Final = Position(0, -1)

_JOIN: Final = Statement(
    f"""
    INSERT INTO event_followers (name, xid, id)
    SELECT $1::text, CASE WHEN $2::boolean THEN {WATERMARK} ELSE '0'::xid8 END, -1
    ON CONFLICT DO NOTHING
    """
)
_STATE: Final = Statement(
    f"""
    SELECT {MARK}, place.xid::text, place.id::text, coalesce(place.batch, $2::integer)::text,
      coalesce(extract(epoch FROM place.retry_at - clock_timestamp()), 0)::text
    FROM event_followers AS place WHERE place.name = $1::text
    """  # noqa: S608  (a constant of ours)
)
# Ordered by the table's columns: `xid` and `id` alone would be the texts that this selects.
_EVENTS: Final = Statement(
    f"""
    SELECT xid::text, id::text, type, entity, entity_id, lead_id::text, extract(epoch FROM occurred_at)::text
    FROM events
    WHERE {between_text("$3::xid8")} AND type = ANY($4::text[]) AND via IS DISTINCT FROM 'demo'
    ORDER BY events.xid, events.id LIMIT $5::integer
    """  # noqa: S608  (a constant of ours)
)
# The epoch: events read on one server must not be done on another that was promoted meanwhile and may lack some.
_AT: Final = f"name = $1::text AND xid = $2::xid8 AND id = $3::bigint AND {EPOCH} = $4::text"
# Of the processes that read the same events, one gets the row; later ones find that the position has moved.
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
class _ConsumerState:
    mark: StreamMark
    place: Position
    batch: int
    pause: float  # seconds until a failed batch may be tried again


class _BatchTaken(Exception):
    """Another process handles these events, or has handled them."""


class ConsumerRunner:
    """Runs one consumer in this process; of all processes that run it, one at a time has a batch."""

    def __init__(self, consumer: EventConsumer, context: WorkerContext) -> None:
        self._consumer = consumer
        self._context = context
        self._joined = False
        # Up to here there is no event for this consumer; the saved position may be behind.
        self._read_up_to = _START
        self._saved_at = 0.0
        self._warned_at = -_WARN_SECONDS

    async def run(self) -> None:
        """Handle batches until cancelled."""
        feed = self._context.feed
        while True:
            woken = feed.woken
            try:
                pause = await self.step()
            except (ConnectionLost, errors.Unavailable) as error:
                log.info("follower.waiting", follower=self._consumer.name, error=str(error)[:200])
                pause = LOOK_SECONDS
            except Exception:
                log.exception("follower.broken", follower=self._consumer.name)
                pause = LOOK_SECONDS
            if pause:
                await feed.wait(woken, pause)
                await asyncio.sleep(_GATHER_SECONDS)

    async def step(self) -> float:
        """Handle the next batch, if there is one; returns how many seconds to wait afterwards."""
        if not self._joined:
            await self._context.database.write(_JOIN, [self._name, encode(self._consumer.from_now)])
            self._joined = True
        state = await self._state()
        if state.pause > 0:
            return min(state.pause, LOOK_SECONDS)
        self._check_place(state)
        after = max(state.place, self._read_up_to)
        events = await self._events(after, state) if state.mark.end > after else []
        if not events:
            await self._skip_to(state, max(after, state.mark.end))
            return _STALLED_SECONDS if state.mark.stalled else LOOK_SECONDS
        until = Position(events[-1].xid, events[-1].id) if len(events) == state.batch else state.mark.end
        try:
            await self._run_batch(state.place, events, until)
        except _BatchTaken:
            return _TAKEN_SECONDS
        except (ConnectionLost, errors.Unavailable):
            raise
        except Exception as error:  # noqa: BLE001  (any error: retry later, and never skip an event in silence)
            await self._failed(state.place, events, error)
        return 0.0

    def _check_place(self, state: _ConsumerState) -> None:
        """Return to the saved position if the one in memory belongs to another epoch of the stream.

        The saved position is restored with the database, so it is never ahead of the events in it.
        """
        ahead = self._read_up_to.xid >= state.mark.next
        now = asyncio.get_running_loop().time()
        if (
            ahead and now - self._warned_at > _WARN_SECONDS
        ):  # true of a dump of another cluster, until an operator mends it
            self._warned_at = now
            about = {"seen": self._read_up_to.xid, "saved": state.place.xid, "next": state.mark.next}
            log.error("follower.ahead", follower=self._consumer.name, **about)
        if ahead or self._read_up_to.epoch != state.place.epoch:
            self._read_up_to, self._saved_at = state.place, 0.0

    async def _run_batch(
        self, place: Position, events: Sequence[ConsumedEvent], until: Position, skipped: int = 0
    ) -> None:
        """Do the work and advance the position, in one transaction."""
        consumer = self._consumer

        async def both(unit: UnitOfWork) -> None:
            if not await unit.execute(_TAKE, self._at(place)):
                raise _BatchTaken
            if not skipped:
                await consumer.work(unit, events)
            where = [encode(until.xid), encode(until.id), encode(consumer.batch), encode(skipped)]
            await unit.execute(_ADVANCE, [*self._at(place), *where])

        await self._context.writer().run(both)

    async def _failed(self, place: Position, events: Sequence[ConsumedEvent], error: Exception) -> None:
        about = {"follower": self._consumer.name, "events": len(events), "first": events[0].id, "type": events[0].type}
        smaller_batch = max(1, len(events) // _SHRINK)
        pauses = [encode(self._consumer.pause), encode(self._consumer.longest_pause)]
        message = f"{type(error).__name__}: {error}"[:_MOST_ERROR].replace("\x00", "")
        params = [*self._at(place), encode(message), encode(smaller_batch), *pauses]
        result = await self._context.database.write(_FAIL, params)
        failures = int(result.get_value(0, 0) or b"0") if result.ntuples else 0
        if failures < TRIES or len(events) > 1:
            log.warning("follower.failed", **about, failures=failures, error=message, exc_info=error)
            return
        await self._pass_over(place, events[0])
        log.error("follower.skipped", **about, entity=events[0].entity, entity_id=events[0].entity_id, error=message)

    async def _pass_over(self, place: Position, event: ConsumedEvent) -> None:
        at = self._at(place)
        where = [encode(event.xid), encode(event.id), encode(self._consumer.batch), encode(1)]
        await self._context.database.write(_ADVANCE, [*at, *where])

    async def _state(self) -> _ConsumerState:
        result, epoch = await self._context.feed.renewed(_STATE, [self._name, encode(self._consumer.batch)])
        if epoch is None:
            self._joined = False
            raise errors.Unavailable
        xid, key, batch, pause = (result.get_value(0, column) or b"0" for column in range(4, 8))
        place = Position(int(xid), int(key), epoch)
        return _ConsumerState(StreamMark.of(result, 0), place, int(batch), float(pause))

    async def _events(self, after: Position, state: _ConsumerState) -> list[ConsumedEvent]:
        types = encode(list(self._consumer.types))
        where = [encode(after.xid), encode(after.id), encode(state.mark.safe), types, encode(state.batch)]
        result = await self._context.feed.read(_EVENTS, where)
        return [_event_from(result, row) for row in range(result.ntuples)]

    async def _skip_to(self, state: _ConsumerState, end: Position) -> None:
        """Remember that no event for this consumer comes before `end`; save that once a minute, for later processes."""
        self._read_up_to = end
        now = asyncio.get_running_loop().time()
        if end > state.place and now - self._saved_at > _SAVE_SECONDS:
            self._saved_at = now
            where = [encode(end.xid), encode(end.id), encode(self._consumer.batch), encode(0)]
            await self._context.database.write(_ADVANCE, [*self._at(state.place), *where])

    @property
    def _name(self) -> bytes:
        return self._consumer.name.encode()

    def _at(self, place: Position) -> list[bytes | None]:
        return [self._name, encode(place.xid), encode(place.id), place.epoch.encode()]


def _event_from(result: "pq.abc.PGresult", row: int) -> ConsumedEvent:
    xid, key, kind, entity, entity_id, lead_id, occurred = (result.get_value(row, column) for column in range(7))
    return ConsumedEvent(
        int(xid or b"0"),
        int(key or b"0"),
        (kind or b"").decode(),
        (entity or b"").decode(),
        (entity_id or b"").decode(),
        None if lead_id is None else int(lead_id),
        datetime.fromtimestamp(float(occurred or b"0"), UTC),
    )
