"""A stream of events that several subscriptions follow: read once, and remembered for a while."""

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
from crm.graph.live.event_projection import Ask, EventBatch, EventProjection, EventReader
from crm.graph.live.remembered import Private, Remembered, first_of

log = structlog.get_logger()

_REMEMBERED: Final = 1000
_REMEMBERED_BYTES: Final = 8 * 1024 * 1024
_DELETED: Final = ".deleted"
# How long a channel waits with reading on until all followers of all channels had what was read before.
_PATIENCE_SECONDS: Final = 1.0

# What a follower enters before it takes something for its client, and leaves when the client has most of it.
Room = AbstractAsyncContextManager[Any]
# What holds some events, or as many of them as may be held.
Hold = Callable[[Sequence[ProjectedEvent]], AbstractContextManager[deque[ProjectedEvent]]]


@dataclass(eq=False)
class Hall:
    """What all channels share."""

    feed: EventFeed
    reads: FairSlots
    portions: Portions = field(default_factory=Portions)
    remembered: Remembered = field(default_factory=Remembered)
    private: Private = field(default_factory=Private)


@dataclass(eq=False)
class Channel:
    """A stream that several sockets follow: read once, remembered for a while."""

    stream: EventProjection
    hall: Hall
    variables: Mapping[str, Any]
    viewer: Viewer
    interest: EventFilter
    followers: int = 0
    size: int = 0  # the memory that it takes, on the account of its viewer
    start: Position = field(default_factory=lambda: Position(0, 0))
    seen: Position = field(default_factory=lambda: Position(0, 0))
    left: Position | None = None  # how far it had read when the stream forked
    items: deque[ProjectedEvent] = field(default_factory=deque)
    held: int = 0
    outdated: int = 0  # how often what was read until then may not be remembered
    due: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    ended: errors.CrmError | None = None

    def __post_init__(self) -> None:
        self._feed = self.hall.feed
        self._portions = self.hall.portions
        self._news = News(self._portions)
        self._is_beginning = False

    @property
    def root(self) -> Selected:
        """The subscription's field."""
        return self.stream.root

    async def follow(self, position: Position, viewer: Viewer, room: Room) -> AsyncGenerator[ProjectedEvent, None]:
        """Every event after a position, for ever. A slow reader holds nothing up: it reads from where it is.

        Until its client has room a follower holds nothing but its place.
        """
        behind = EventReader(self.stream, Ask(self._feed, self.variables, viewer, viewer.owner))
        its_round: int | None = None
        while True:
            position = self._carried(position)
            if not self._has_more(position):
                position = max(position, self.seen)
                if self.ended is not None:
                    raise type(self.ended)(self.ended.message, **self.ended.details)
                its_round = await self._news.wait()
                continue
            async with room:
                batch, hold = await self._next(position, behind)
                with hold(batch.items) as found:
                    position = batch.seen if len(found) == len(batch.items) else found[-1].position
                    del batch
                    while found:
                        if its_round != self._portions.round:
                            await self._portions.turn(len(found[0].json))
                        its_round = None
                        yield found.popleft()

    def _carried(self, position: Position) -> Position:
        """The same place in the stream as it is now, where the channel found out for all places before its own."""
        if self.left is not None and position.epoch == self.left.epoch and position <= self.left:
            return replace(position, epoch=self.seen.epoch)
        return position

    async def _next(self, position: Position, behind: EventReader) -> tuple[EventBatch, Hold]:
        """What comes after a place: what is remembered, or else read for this follower alone."""
        while self.task is None:
            await self._begin(position, behind)
        position = self._carried(position)
        if not self._is_behind(position):
            return self._after(position), _shared
        batch = await behind.read(position)
        if batch.seen.epoch != self.seen.epoch:  # before the others noticed
            self.due.set()
            await self._feed.wait(self._feed.woken)
        return batch, self.hall.private.held

    async def _begin(self, position: Position, behind: EventReader) -> None:
        """Read for the first follower, and remember it for those who came with it: they wait."""
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
        found = first_of(items)
        is_all = len(found) == len(items)
        return EventBatch(found, max(position, self.seen) if is_all else found[-1].position, stalled=False)

    async def _pump(self) -> None:
        """Read for all followers: on nobody's account, but within the time that a viewer's read has."""
        reader = EventReader(self.stream, Ask(self._feed, self.variables, self.viewer), self.hall.reads)
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
            if outdated != self.outdated:  # for those who wait for it, and for nobody who comes later
                self._drop_soon()
            with suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await self._portions.quiet()
            is_full = batch.is_full
            del batch  # while it waits
            if not is_full:
                await self.due.wait()

    def hear(self, heads: Sequence[EventHeader], since: Position, until: Position) -> None:
        """These are all events between two places: read them if one is asked for, or else pass them over."""
        if any(head.type.endswith(_DELETED) for head in heads):
            self.forget()
        if since.epoch != self.seen.epoch:
            self.due.set()
            return
        if self.seen >= until or self.task is None:
            return
        if self.seen < since or any(head.position > self.seen and self.interest.includes(head) for head in heads):
            self.due.set()
        elif not self.due.is_set():
            self.seen = until

    def forget(self) -> None:
        """Forget what was read up to now, and is being read: it may show a record that was deleted since.

        What is read from now on shows it as deleted. Followers behind it, and those who come back, read anew.
        """
        self.outdated += 1
        self._drop_soon()

    def _drop_soon(self) -> None:
        """Those who are being woken take theirs first, or each of them would have to read."""
        self._portions.then(partial(self._drop, self.seen))

    def _drop(self, until: Position) -> None:
        while self.items and self.items[0].position <= until:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        oldest = self.items.popleft()
        self.start = oldest.position
        self.held -= len(oldest.json)
        self.hall.remembered.remove(oldest)

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
            self.hall.remembered.add(item, self._forget_oldest)
        while len(self.items) > _REMEMBERED or (self.held > _REMEMBERED_BYTES and len(self.items) > 1):
            self._forget_oldest()
        self._news.tell(len(batch.items[0].json))

    def _end_with(self, error: errors.CrmError) -> None:
        """Nobody can follow any further; who is behind gets there first, unless some of it is gone."""
        log.warning("subscription.ended", error=str(error.__cause__ or error)[:200])
        self.ended = error
        if isinstance(error, errors.CursorExpired):
            self._clear()
        self._news.tell(0)

    def end(self) -> None:
        """Nobody follows any more."""
        if self.task is not None:
            self.task.cancel()
            self.task = None
        self._clear()

    def _clear(self) -> None:
        while self.items:
            self._forget_oldest()


def _shared(items: Sequence[ProjectedEvent]) -> AbstractContextManager[deque[ProjectedEvent]]:
    return nullcontext(deque(items))
