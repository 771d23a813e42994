"""Channels: streams of events that several subscriptions follow, read once and kept for a while."""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any, Final

import psycopg
import structlog

from crm.core import errors
from crm.core.fair_slots import FairSlots
from crm.core.identity import Viewer
from crm.core.portions import News, Portions
from crm.db.event_feed import EventFeed
from crm.db.stream_position import Position
from crm.graph.compile.selection import Selected
from crm.graph.live.event_filter import EventFilter, EventHeader, ProjectedEvent
from crm.graph.live.event_projection import EventBatch, EventProjection, EventReader, StreamQuery
from crm.graph.live.remembered import EventMemory, PrivateMemory, first_of

log = structlog.get_logger()

_REMEMBERED: Final = 1000
_REMEMBERED_BYTES: Final = 8 * 1024 * 1024
_DELETED: Final = ".deleted"
# The most seconds that a channel waits, before it reads on, until all followers have sent the events read before.
_PATIENCE_SECONDS: Final = 1.0

# The context in which a follower takes an event and its client reads most of it.
Room = AbstractAsyncContextManager[Any]
# Makes a context that holds some events in memory, or as many of them as may be held.
HoldEvents = Callable[[Sequence[ProjectedEvent]], AbstractContextManager[deque[ProjectedEvent]]]


@dataclass(eq=False)
class SharedState:
    """The feed, the queues and the memory that all channels share."""

    feed: EventFeed
    reads: FairSlots
    portions: Portions = field(default_factory=Portions)
    remembered: EventMemory = field(default_factory=EventMemory)
    private: PrivateMemory = field(default_factory=PrivateMemory)


@dataclass(eq=False)
class Channel:
    """A stream that several subscriptions follow: read once, and kept for a while."""

    stream: EventProjection
    shared: SharedState
    variables: Mapping[str, Any]
    viewer: Viewer
    event_filter: EventFilter
    followers: int = 0
    size: int = 0  # the memory that it takes, on the account of its viewer
    start: Position = field(default_factory=lambda: Position(0, 0))
    seen: Position = field(default_factory=lambda: Position(0, 0))
    left: Position | None = None  # how far it had read when the stream forked
    items: deque[ProjectedEvent] = field(default_factory=deque)
    held: int = 0
    outdated: int = 0  # how often the events kept until then were outdated by a deletion
    due: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    ended: errors.CrmError | None = None

    def __post_init__(self) -> None:
        self._feed = self.shared.feed
        self._portions = self.shared.portions
        self._news = News(self._portions)
        self._is_beginning = False

    @property
    def root(self) -> Selected:
        """The subscription's field."""
        return self.stream.root

    async def follow(self, position: Position, viewer: Viewer, room: Room) -> AsyncGenerator[ProjectedEvent, None]:
        """Every event after a position, for ever. A slow follower delays no other: it reads from its own position.

        Until its client can take an event, a follower keeps only its position.
        """
        behind = EventReader(self.stream, StreamQuery(self._feed, self.variables, viewer, viewer.owner))
        news_round: int | None = None
        while True:
            position = self._carried(position)
            if not self._has_more(position):
                position = max(position, self.seen)
                if self.ended is not None:
                    raise type(self.ended)(self.ended.phrase, **self.ended.details)
                news_round = await self._news.wait()
                continue
            async with room:
                batch, hold = await self._next(position, behind)
                with hold(batch.items) as events:
                    position = batch.seen if len(events) == len(batch.items) else events[-1].position
                    del batch
                    while events:
                        if news_round != self._portions.round:
                            await self._portions.turn(len(events[0].json))
                        news_round = None
                        yield events.popleft()

    def _carried(self, position: Position) -> Position:
        """The same position in the present epoch, if the channel knows that the fork lost nothing before it."""
        if self.left is not None and position.epoch == self.left.epoch and position <= self.left:
            return replace(position, epoch=self.seen.epoch)
        return position

    async def _next(self, position: Position, behind: EventReader) -> tuple[EventBatch, HoldEvents]:
        """The events after a position: the kept ones, or else read for this follower alone."""
        while self.task is None:
            await self._begin(position, behind)
        position = self._carried(position)
        if not self._is_behind(position):
            return self._after(position), _shared
        batch = await behind.read(position)
        if batch.seen.epoch != self.seen.epoch:  # the channel has not noticed the fork yet
            self.due.set()
            await self._feed.wait(self._feed.woken)
        return batch, self.shared.private.held

    async def _begin(self, position: Position, behind: EventReader) -> None:
        """Read for the first follower, and keep the events for followers that came with it and wait."""
        if self._is_beginning:
            await self._news.wait()
            return
        self._is_beginning, outdated = True, self.outdated
        try:
            batch = await behind.read(position)
            self.seen = batch.seen
            self.start = position if position.epoch == batch.seen.epoch else batch.seen
            self._take(batch)
            self.task = asyncio.create_task(self._pump())
        finally:
            self._is_beginning = False
            self._news.tell(0)
        if outdated != self.outdated:
            self._drop_soon()

    def _is_behind(self, position: Position) -> bool:
        return position < self.start or self.task is None or position.epoch != self.seen.epoch

    def _has_more(self, position: Position) -> bool:
        return self._is_behind(position) or (bool(self.items) and self.items[-1].position > position)

    def _after(self, position: Position) -> EventBatch:
        newer = bisect_right(self.items, position, key=lambda item: item.position)
        items = list(islice(self.items, newer, None))
        portion = first_of(items)
        is_all = len(portion) == len(items)
        return EventBatch(portion, max(position, self.seen) if is_all else portion[-1].position, stalled=False)

    async def _pump(self) -> None:
        """Read for all followers: as the program, but within the time limit of a viewer's read."""
        reader = EventReader(self.stream, StreamQuery(self._feed, self.variables, self.viewer), self.shared.reads)
        while True:
            self.due.clear()
            outdated = self.outdated
            try:
                batch = await reader.read(self.seen)
            except (psycopg.Error, errors.Unavailable) as error:
                log.info("subscription.waiting", error=str(error)[:200])
                await self._feed.wait(self._feed.woken)
                continue
            except errors.CrmError as error:
                self._end_with(error)
                return
            self._take(batch)
            if outdated != self.outdated:  # for followers that wait, not for those that come later
                self._drop_soon()
            with suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await self._portions.quiet()
            is_full = batch.is_full
            del batch  # while it waits
            if not is_full:
                await self.due.wait()

    def hear(self, heads: Sequence[EventHeader], since: Position, until: Position) -> None:
        """Take the headers of all events between two positions: read them if the filter includes one, or skip them."""
        if any(head.type.endswith(_DELETED) for head in heads):
            self.forget()
        if since.epoch != self.seen.epoch:
            self.due.set()
            return
        if self.seen >= until or self.task is None:
            return
        if self.seen < since or any(head.position > self.seen and self.event_filter.includes(head) for head in heads):
            self.due.set()
        elif not self.due.is_set():
            self.seen = until

    def forget(self) -> None:
        """Drop the events read up to now, and being read: they may contain a record that was deleted since.

        Events read from now on show it as deleted. Followers behind these, and those that come back, read anew.
        """
        self.outdated += 1
        self._drop_soon()

    def _drop_soon(self) -> None:
        """Drop the events after the followers being woken have taken theirs, or each of them would have to read."""
        self._portions.then(partial(self._drop, self.seen))

    def _drop(self, until: Position) -> None:
        while self.items and self.items[0].position <= until:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        oldest = self.items.popleft()
        self.start = oldest.position
        self.held -= len(oldest.json)
        self.shared.remembered.remove(oldest)

    def _take(self, batch: EventBatch) -> None:
        if batch.seen.epoch != self.seen.epoch:  # the stream forked, and nothing was lost of what had been read
            self._drop(self.seen)
            self.left, self.start = self.seen, replace(self.seen, epoch=batch.seen.epoch)
        self.seen = batch.seen
        if not batch.items:
            return
        for item in batch.items:
            self.items.append(item)
            self.held += len(item.json)
            self.shared.remembered.add(item, self._forget_oldest)
        while len(self.items) > _REMEMBERED or (self.held > _REMEMBERED_BYTES and len(self.items) > 1):
            self._forget_oldest()
        self._news.tell(len(batch.items[0].json))

    def _end_with(self, error: errors.CrmError) -> None:
        """End with an error; followers behind get the kept events first, unless some are lost."""
        log.warning("subscription.ended", error=str(error.__cause__ or error)[:200])
        self.ended = error
        if isinstance(error, errors.CursorExpired):
            self._clear()
        self._news.tell(0)

    def end(self) -> None:
        """Stop reading: the last follower has left."""
        if self.task is not None:
            self.task.cancel()
            self.task = None
        self._clear()

    def _clear(self) -> None:
        while self.items:
            self._forget_oldest()


def _shared(items: Sequence[ProjectedEvent]) -> AbstractContextManager[deque[ProjectedEvent]]:
    return nullcontext(deque(items))
