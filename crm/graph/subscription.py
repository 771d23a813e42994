"""Subscriptions: the changes of the event stream, projected once for everybody who asked the same."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

import orjson
import psycopg
import structlog
from graphql import VariableNode
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    Text,
    bindparam,
    cast,
    func,
    literal_column,
    select,
)

from crm.core import errors
from crm.core.events import Event, Xid8
from crm.core.feed import LOOK_SECONDS, Feed, Position
from crm.core.identity import Role, Viewer
from crm.core.visibility import is_personal
from crm.core.wire import Statement, encode
from crm.graph.interest import Head, Interest, Item
from crm.graph.latest import Pulse
from crm.graph.plan import Shaped
from crm.graph.selection import Selected
from crm.graph.sql import Compiler

if TYPE_CHECKING:
    from psycopg import pq

log = structlog.get_logger()

_BATCH: Final = 200
_REMEMBERED: Final = 1000
_REMEMBERED_BYTES: Final = 8 * 1024 * 1024
_STALLED_SECONDS: Final = 0.02
_AFTER: Final = "after"
_LOOKED_AT: Final = 1000
# Reads of channels at once: a write that many of them wait for must not take every connection from the writers.
_READS_AT_ONCE: Final = 2

_HEADS: Final = Statement(
    f"""
    SELECT head.xid::text, head.id::text, head.lead_id::text, head.type, mark.safe::text, mark.newest::text,
      head.entity, head.entity_id
    FROM (
      SELECT pg_snapshot_xmin(pg_current_snapshot()) AS safe,
        (SELECT xid FROM events ORDER BY xid DESC, id DESC LIMIT 1) AS newest
    ) AS mark
    LEFT JOIN LATERAL (
      SELECT xid, id, lead_id, type, entity, entity_id FROM events
      WHERE (xid, id) > ($1::xid8, $2::bigint) AND xid < pg_snapshot_xmin(pg_current_snapshot())
      ORDER BY xid, id LIMIT {_LOOKED_AT}
    ) AS head ON true
    ORDER BY head.xid, head.id
    """  # noqa: S608  (a constant of ours)
)


@dataclass(frozen=True, slots=True)
class Batch:
    """What a look at the stream found, how far it has read, and whether more wait behind an open transaction."""

    items: Sequence[Item]
    seen: Position
    stalled: bool


class Stream:
    """One subscription field, compiled: reads projected events after a position."""

    def __init__(self, root: Selected) -> None:
        self.root = root
        self._shaped = Shaped([root], self._build, extra=("xid", "id"))

    async def read(self, feed: Feed, position: Position, variables: Mapping[str, Any], viewer: Viewer) -> Batch:
        """The next events, and how far the stream has been read with them."""
        statement, params = self._shaped.step(variables, viewer, [position.xid, position.id])
        result = await feed.read(statement, params)
        items = []
        for row in range(result.ntuples):
            shown = result.get_value(row, 2)
            if shown is not None:
                items.append(Item(_place(result, row), shown))
        if len(items) == _BATCH:
            return Batch(items, items[-1].position, stalled=False)
        safe = int(result.get_value(0, 3) or b"1")
        newest = int(result.get_value(0, 4) or b"0")
        return Batch(items, max(position, Position.before(safe, newest)), stalled=newest >= safe)

    def _build(self, compiler: Compiler) -> Select[Any]:
        """Always at least one row, so that the watermark comes along when nothing happened."""
        safe = func.pg_snapshot_xmin(func.pg_current_snapshot(), type_=Xid8())
        after = (bindparam("v0", type_=Xid8(), required=True), bindparam("v1", type_=BigInteger(), required=True))
        events = compiler.statement(self.root, *after, safe)
        rows = events.limit(literal_column(str(_BATCH))).subquery("q0")
        other = "stream_xid" in rows.c  # rows that are not events say where in the stream they stand
        place = (rows.c.stream_xid, rows.c.stream_id) if other else (rows.c.xid, rows.c.id)
        xid, key = place[0].label("xid"), place[1].label("id")
        found = select(xid, key, self._shown(compiler, rows)).select_from(rows).subquery("found")
        newest = select(Event.xid).order_by(Event.xid.desc(), Event.id.desc()).limit(literal_column("1"))
        mark = select(cast(safe, Text).label("safe"), cast(newest.scalar_subquery(), Text).label("newest")).subquery(
            "mark"
        )
        joined = mark.outerjoin(found, literal_column("true"))
        return (
            select(cast(found.c.xid, Text), cast(found.c.id, Text), found.c.shown, mark.c.safe, mark.c.newest)
            .select_from(joined)
            .order_by(found.c.xid, found.c.id)
        )

    def _shown(self, compiler: Compiler, rows: FromClause) -> ColumnElement[Any]:
        assert self.root.kind is not None
        return compiler.record(self.root.children, self.root.kind.name, rows).label("shown")


class First:
    """The row that a stream begins with."""

    def __init__(self, root: Selected) -> None:
        self._root = root
        self._shaped = Shaped([root], self._build)

    async def read(self, feed: Feed, variables: Mapping[str, Any], viewer: Viewer) -> bytes | None:
        """The row as it is now; None if the arguments name none."""
        result = await feed.read(*self._shaped.step(variables, viewer))
        if not result.ntuples:
            return None
        found = result.get_value(0, 0)
        if found is None:
            raise errors.NotFound
        return found

    def _build(self, compiler: Compiler) -> Select[Any]:
        row = compiler.first(self._root)
        return select(literal_column("1")).where(literal_column("false")) if row is None else select(row)


@dataclass(eq=False)
class Channel:
    """A stream that several sockets follow: read once, remembered for a while."""

    stream: Stream
    feed: Feed
    variables: Mapping[str, Any]
    viewer: Viewer
    interest: Interest
    reads: asyncio.Semaphore
    followers: int = 0
    start: Position = field(default_factory=lambda: Position(0, 0))
    seen: Position = field(default_factory=lambda: Position(0, 0))
    items: deque[Item] = field(default_factory=deque)
    held: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    due: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    async def follow(self, position: Position) -> AsyncIterator[Item]:
        """Every event after a position, for ever. A slow reader holds nothing up: it reads from where it is."""
        while True:
            if position < self.start or self.task is None:
                batch = await self.stream.read(self.feed, position, self.variables, self.viewer)
                found, position = batch.items, batch.seen
                if self.task is None:
                    self.start = self.seen = position
                    self.task = asyncio.create_task(self._pump())
            else:
                news = self.news
                found = self._after(position)
                position = max(position, self.seen)
                if not found:
                    await news.wait()
                    continue
            for item in found:
                yield item

    def _after(self, position: Position) -> list[Item]:
        newer = list(takewhile(lambda item: item.position > position, reversed(self.items)))
        return newer[::-1]

    async def _pump(self) -> None:
        while True:
            self.due.clear()
            try:
                async with self.reads:
                    batch = await self.stream.read(self.feed, self.seen, self.variables, self.viewer)
            except (psycopg.Error, errors.CrmError) as error:
                log.info("subscription.waiting", error=str(error)[:200])
                await self.feed.wait(self.feed.woken)
                continue
            self._take(batch)
            if len(batch.items) < _BATCH:
                await self.due.wait()

    def hear(self, heads: Sequence[Head], since: Position, until: Position) -> None:
        """These are all events between two places: read them if one is asked for, or else pass them over."""
        if self.seen >= until or self.task is None:
            return
        if self.seen < since or any(head.position > self.seen and self.interest.includes(head) for head in heads):
            self.due.set()
        elif not self.due.is_set():
            self.seen = until

    def _take(self, batch: Batch) -> None:
        self.seen = batch.seen
        if not batch.items:
            return
        self.items.extend(batch.items)
        self.held += sum(len(item.json) for item in batch.items)
        while len(self.items) > _REMEMBERED or self.held > _REMEMBERED_BYTES:
            oldest = self.items.popleft()
            self.start = oldest.position
            self.held -= len(oldest.json)
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

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._channels: dict[object, Channel | Pulse] = {}
        self._reads = asyncio.Semaphore(_READS_AT_ONCE)
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
        if channel is None:
            channel = self._channels[key] = self._channel(root, variables, viewer)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        channel.followers += 1
        prefix = b'{"data":{"%s":' % root.key.encode()
        try:
            first = await self._first(root, variables, viewer)  # after `position`, so that nothing is missed between
            if first is not None:
                yield prefix + first + b"}}"
            async for item in channel.follow(position):
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
        return await First(root).read(self._feed, variables, viewer)

    def _channel(self, root: Selected, variables: Mapping[str, Any], viewer: Viewer) -> "Channel | Pulse":
        interest = Interest.of(root, variables)
        assert root.shape is not None
        if root.shape.kind == "pulse":
            return Pulse(root, self._feed, variables, viewer, interest, self._reads)
        return Channel(Stream(root), self._feed, variables, viewer, interest, self._reads)

    async def _look(self) -> None:
        """Look at what is new once for all channels, and have those read it who asked for it."""
        seen: Position | None = None
        while True:
            woken, pause = self._feed.woken, LOOK_SECONDS
            try:
                since = seen or await self._feed.now()
                heads, until, stalled = await self._heads(since)
            except (psycopg.Error, errors.CrmError) as error:
                log.info("subscription.waiting", error=str(error)[:200])
            else:
                for channel in list(self._channels.values()):
                    channel.hear(heads, since, until)
                seen = until
                if len(heads) == _LOOKED_AT:
                    continue
                pause = _STALLED_SECONDS if stalled else pause
            await self._feed.wait(woken, pause)

    async def _heads(self, after: Position) -> tuple[list[Head], Position, bool]:
        """The next events, up to where they reach, and whether more wait behind an open transaction."""
        result = await self._feed.read(_HEADS, [encode(after.xid), encode(after.id)])
        heads = []
        for row in range(result.ntuples):
            kind = result.get_value(row, 3)
            if kind is not None:
                lead_id = result.get_value(row, 2)
                entity, key = ((result.get_value(row, column) or b"").decode() for column in (6, 7))
                lead = None if lead_id is None else int(lead_id)
                heads.append(Head(_place(result, row), lead, kind.decode(), entity, key))
        if len(heads) == _LOOKED_AT:
            return heads, heads[-1].position, False
        safe, newest = (int(result.get_value(0, column) or b"0") for column in (4, 5))
        return heads, max(after, Position.before(safe, newest)), newest >= safe

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


def _place(result: "pq.abc.PGresult", row: int) -> Position:
    return Position(int(result.get_value(row, 0) or b"0"), int(result.get_value(row, 1) or b"0"))


def _channel_key(text: str, name: str | None, root: Selected, variables: Mapping[str, Any], viewer: Viewer) -> object:
    """Who may share a projection: the same operation, role and variables, but for where each starts."""
    starts = {
        one.value.name.value
        for one in root.node.arguments or ()
        if one.name.value == _AFTER and isinstance(one.value, VariableNode)
    }
    rest = {key: value for key, value in variables.items() if key not in starts}
    models = (one.kind.model for one in root.walk() if one.kind is not None and one.kind.model is not None)
    whose = viewer.id if viewer.role is not Role.ADMIN and any(map(is_personal, models)) else None
    return text, name, orjson.dumps(rest, default=str, option=orjson.OPT_SORT_KEYS), viewer.role, whose
