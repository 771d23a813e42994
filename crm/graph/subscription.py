"""Subscriptions: the changes of the event stream, projected once for everybody who asked the same."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any, Final

import orjson
import psycopg
import structlog
from graphql import VariableNode

from crm.core import errors
from crm.core.epoch import EPOCH
from crm.core.feed import LOOK_SECONDS, Feed, Forked, Position
from crm.core.identity import Viewer
from crm.core.side_thread import SideThread
from crm.core.turns import Turns
from crm.core.wire import Statement, encode
from crm.graph.allotment import Budget
from crm.graph.interest import Head, Interest, Item
from crm.graph.latest import Pulse
from crm.graph.selection import Selected
from crm.graph.streaming import Ask, Batch, First, Mark, Reader, Stream

log = structlog.get_logger()

_REMEMBERED: Final = 1000
_REMEMBERED_BYTES: Final = 8 * 1024 * 1024
_STALLED_SECONDS: Final = 0.02
_AFTER: Final = "after"
_LOOKED_AT: Final = 1000
_DELETED: Final = ".deleted"
# Reads of channels at once: a write that many of them wait for must not take every connection from the writers.
_READS_AT_ONCE: Final = 2

_HEADS: Final = Statement(
    f"""
    SELECT head.xid::text, head.id::text, head.lead_id::text, head.type, mark.safe::text, mark.newest::text,
      mark.epoch, mark.next::text, head.entity, head.entity_id
    FROM (
      SELECT {EPOCH} AS epoch, pg_snapshot_xmin(pg_current_snapshot()) AS safe,
        pg_snapshot_xmax(pg_current_snapshot()) AS next,
        (SELECT xid FROM events ORDER BY xid DESC, id DESC LIMIT 1) AS newest
    ) AS mark
    LEFT JOIN LATERAL (
      SELECT xid, id, lead_id, type, entity, entity_id FROM events
      WHERE (xid, id) > ($1::xid8, $2::bigint) AND xid < pg_snapshot_xmin(pg_current_snapshot())
      ORDER BY xid, id LIMIT {_LOOKED_AT}
    ) AS head ON true
    ORDER BY head.xid, head.id
    """  # noqa: S608  (constants of ours)
)


@dataclass(eq=False)
class Channel:
    """A stream that several sockets follow: read once, remembered for a while."""

    stream: Stream
    feed: Feed
    variables: Mapping[str, Any]
    viewer: Viewer
    interest: Interest
    reads: Turns
    followers: int = 0
    start: Position = field(default_factory=lambda: Position(0, 0))
    seen: Position = field(default_factory=lambda: Position(0, 0))
    left: Position | None = None  # how far it had read when the stream forked
    items: deque[Item] = field(default_factory=deque)
    held: int = 0
    outdated: int = 0  # how often what was read until then may not be remembered
    news: asyncio.Event = field(default_factory=asyncio.Event)
    due: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    ended: errors.CrmError | None = None

    async def follow(self, position: Position, viewer: Viewer) -> AsyncIterator[Item]:
        """Every event after a position, for ever. A slow reader holds nothing up: it reads from where it is."""
        behind = Reader(self.stream, Ask(self.feed, self.variables, viewer, viewer.owner))
        while True:
            position = self._carried(position)
            if position < self.start or self.task is None or position.epoch != self.seen.epoch:
                batch = await behind.read(position)
                found, position = batch.items, batch.seen
                if self.task is None:
                    self.start = self.seen = position
                    self.task = asyncio.create_task(self._pump())
                elif position.epoch != self.seen.epoch:  # before the others noticed
                    self.due.set()
                    await self.feed.wait(self.feed.woken)
            else:
                news = self.news
                found = self._after(position)
                position = max(position, self.seen)
                if not found:
                    if self.ended is not None:
                        raise type(self.ended)(self.ended.message, **self.ended.details)
                    await news.wait()
                    continue
            for item in found:
                yield item

    def _carried(self, position: Position) -> Position:
        """The same place in the stream as it is now, where the channel found out for all places before its own."""
        if self.left is not None and position.epoch == self.left.epoch and position <= self.left:
            return replace(position, epoch=self.seen.epoch)
        return position

    def _after(self, position: Position) -> Sequence[Item]:
        newer = list(takewhile(lambda item: item.position > position, reversed(self.items)))
        return newer[::-1]

    async def _pump(self) -> None:
        """Read for all followers: on nobody's account, but within the time that a viewer's read has."""
        reader = Reader(self.stream, Ask(self.feed, self.variables, self.viewer), self.reads)
        while True:
            self.due.clear()
            outdated = self.outdated
            try:
                batch = await reader.read(self.seen)
            except (psycopg.Error, errors.Unavailable) as error:
                log.info("subscription.waiting", error=str(error)[:200])
                await self.feed.wait(self.feed.woken)
                continue
            except errors.CrmError as error:
                self._end_with(error)
                return
            self._take(batch)
            if outdated != self.outdated:  # for those who wait for it, and for nobody who comes later
                self._drop_soon()
            if not batch.is_full:
                await self.due.wait()

    def hear(self, heads: Sequence[Head], since: Position, until: Position) -> None:
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
        asyncio.get_running_loop().call_soon(self._drop, self.seen)

    def _drop(self, until: Position) -> None:
        while self.items and self.items[0].position <= until:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        oldest = self.items.popleft()
        self.start = oldest.position
        self.held -= len(oldest.json)

    def _take(self, batch: Batch) -> None:
        if batch.seen.epoch != self.seen.epoch:  # the stream forked, and nothing was lost of what had been read
            self._drop(self.seen)
            self.left, self.start = self.seen, replace(self.seen, epoch=batch.seen.epoch)
        self.seen = batch.seen
        if not batch.items:
            return
        self.items.extend(batch.items)
        self.held += sum(len(item.json) for item in batch.items)
        while self.items and (len(self.items) > _REMEMBERED or self.held > _REMEMBERED_BYTES):
            self._forget_oldest()
        self._tell()

    def _end_with(self, error: errors.CrmError) -> None:
        """Nobody can follow any further; who is behind gets there first, unless some of it is gone."""
        log.warning("subscription.ended", error=str(error.__cause__ or error)[:200])
        self.ended = error
        if isinstance(error, errors.CursorExpired):
            self.items.clear()
        self._tell()

    def _tell(self) -> None:
        self.news.set()
        self.news = asyncio.Event()

    def end(self) -> None:
        """Nobody follows any more."""
        if self.task is not None:
            self.task.cancel()
            self.task = None
        self.items.clear()
        self.held = 0


class Subscriptions:
    """The channels of this process."""

    def __init__(self, feed: Feed, side: SideThread, budget: Budget) -> None:
        self._feed = feed
        self._side = side
        self._budget = budget
        self._channels: dict[object, Channel | Pulse] = {}
        self._reads = Turns(_READS_AT_ONCE)
        self._looking: asyncio.Task[None] | None = None

    async def follow(  # noqa: PLR0913, PLR0917
        self,
        text: str,
        name: str | None,
        root: Selected,
        variables: Mapping[str, Any],
        viewer: Viewer,
        since: Position | None = None,
    ) -> AsyncIterator[bytes]:
        """The answers of a subscription, one for each change."""
        after = next((argument.given(variables) for argument in root.arguments if argument.name == _AFTER), None)
        key = _channel_key(text, name, root, variables, viewer)
        position = since or (await self._feed.position(after) if isinstance(after, str) else await self._feed.now())
        channel = self._channels.get(key)
        if channel is None or channel.ended is not None:
            channel = self._channels[key] = self._channel(root, variables, viewer)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        channel.followers += 1
        prefix = b'{"data":{"%s":' % root.key.encode()
        try:
            first = await self._first(root, variables, viewer)  # after `position`, so that nothing is missed between
            if first is not None:
                yield prefix + first + b"}}"
            async for item in channel.follow(position, viewer):
                yield prefix + item.json + b"}}"
        finally:
            channel.followers -= 1
            if channel.followers == 0:
                channel.end()
                if self._channels.get(key) is channel:
                    del self._channels[key]
                if not self._channels and self._looking is not None:
                    self._looking.cancel()
                    self._looking = None

    async def _first(self, root: Selected, variables: Mapping[str, Any], viewer: Viewer) -> bytes | None:
        assert root.shape is not None
        assert root.shape.declaration is not None
        if root.shape.declaration.first is None:
            return None
        return await First(root, self._side, self._budget).read(self._feed, variables, viewer)

    def _channel(self, root: Selected, variables: Mapping[str, Any], viewer: Viewer) -> "Channel | Pulse":
        interest = Interest.of(root, variables)
        assert root.shape is not None
        if root.shape.kind == "pulse":
            return Pulse(root, self._feed, self._side, self._budget, variables, viewer, interest, self._reads)
        stream = Stream(root, self._side, self._budget)
        return Channel(stream, self._feed, variables, viewer, interest, self._reads)

    async def _look(self) -> None:
        """Look at what is new once for all channels, and have those read it who asked for it."""
        seen: Position | None = None
        while True:
            woken, pause = self._feed.woken, LOOK_SECONDS
            try:
                since = seen or await self._feed.now()
                heads, until, stalled = await self._heads(since)
            except Forked:  # each channel sees for itself whether it can go on
                seen, pause = None, _STALLED_SECONDS
                for channel in list(self._channels.values()):
                    channel.due.set()
            except (psycopg.Error, errors.CrmError) as error:
                log.info("subscription.waiting", error=str(error)[:200])
            else:
                for channel in list(self._channels.values()):
                    if seen is None:  # deletions before `since` were not heard of
                        channel.forget()
                    channel.hear(heads, since, until)
                seen = until
                if len(heads) == _LOOKED_AT:
                    continue
                pause = _STALLED_SECONDS if stalled else pause
            await self._feed.wait(woken, pause)

    async def _heads(self, after: Position) -> tuple[list[Head], Position, bool]:
        """The next events, up to where they reach, and whether more wait behind an open transaction."""
        result = await self._feed.read(_HEADS, [encode(after.xid), encode(after.id)])
        mark = Mark.of(result, 4, after)
        heads = []
        for row in range(result.ntuples):
            kind = result.get_value(row, 3)
            if kind is not None:
                lead_id = result.get_value(row, 2)
                entity, key = ((result.get_value(row, column) or b"").decode() for column in (8, 9))
                lead = None if lead_id is None else int(lead_id)
                heads.append(Head(mark.place(result, row), lead, kind.decode(), entity, key))
        if len(heads) == _LOOKED_AT:
            return heads, heads[-1].position, False
        return heads, max(after, mark.end), mark.stalled

    async def stop(self) -> None:
        """End all channels."""
        tasks = [channel.task for channel in self._channels.values() if channel.task is not None]
        if self._looking is not None:
            self._looking.cancel()
            tasks.append(self._looking)
        for channel in list(self._channels.values()):
            channel.end()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)


def _channel_key(text: str, name: str | None, root: Selected, variables: Mapping[str, Any], viewer: Viewer) -> object:
    """Who may share a projection: the same operation, role and variables, but for where each starts."""
    starts = {
        one.value.name.value
        for one in root.node.arguments or ()
        if one.name.value == _AFTER and isinstance(one.value, VariableNode)
    }
    rest = {key: value for key, value in variables.items() if key not in starts}
    models = (one.kind.model for one in root.walk() if one.kind is not None and one.kind.model is not None)
    whose = viewer.id if any(model.policy.is_personal(viewer.role) for model in models) else None
    return text, name, orjson.dumps(rest, default=str, option=orjson.OPT_SORT_KEYS), viewer.role, whose
