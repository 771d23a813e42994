"""Subscriptions: the changes of the event stream, projected once for all viewers with the same subscription."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, nullcontext, suppress
from typing import Any, Final, NamedTuple

import orjson
import psycopg
import structlog
from graphql import VariableNode

from crm.core import errors
from crm.core.fair_slots import FairSlots
from crm.core.identity import Role, Viewer
from crm.core.pacing import Pace
from crm.core.side_thread import SideThread
from crm.db.event_feed import LOOK_SECONDS, EventFeed
from crm.db.statement import Statement, encode
from crm.db.stream_position import MARK, WATERMARK, Position, StreamForked, StreamMark, between_text
from crm.graph.compile.allotment import AnswerBudget
from crm.graph.compile.selection import Selected
from crm.graph.live.channel import Channel, Room, SharedState
from crm.graph.live.event_filter import EventFilter, EventHeader, Parts
from crm.graph.live.event_projection import EventProjection, FirstRow
from crm.graph.live.latest_value import LatestValue
from crm.graph.live.memory import SubscriptionMemory, estimate

log = structlog.get_logger()

_STALLED_SECONDS: Final = 0.02
_AFTER: Final = "after"
_SUFFIX: Final = b"}}"
_LOOKED_AT: Final = 1000
# Reads of channels at once: after a write that many channels wait for, writers need connections too.
_READS_AT_ONCE: Final = 2

_HEADS: Final = Statement(
    f"""
    SELECT head.xid::text, head.id::text, head.lead_id::text, head.type, head.entity, head.entity_id, mark.*
    FROM (SELECT {MARK}) AS mark
    LEFT JOIN LATERAL (
      SELECT xid, id, lead_id, type, entity, entity_id FROM events
      WHERE {between_text(WATERMARK)}
      ORDER BY xid, id LIMIT {_LOOKED_AT}
    ) AS head ON true
    ORDER BY head.xid, head.id
    """  # noqa: S608  (constants of ours)
)


class Subscriptions:
    """The channels of this process."""

    def __init__(self, feed: EventFeed, side: SideThread, budget: AnswerBudget, max_bytes: int) -> None:
        self._feed = feed
        self._side = side
        self._budget = budget
        self._memory = SubscriptionMemory(max_bytes)
        self._channels: dict[_ChannelKey, Channel | LatestValue] = {}
        self._shared = SharedState(feed, FairSlots(_READS_AT_ONCE))
        self._looking: asyncio.Task[None] | None = None

    async def follow(  # noqa: PLR0913, PLR0917
        self,
        text: str,
        name: str | None,
        root: Selected,
        variables: Mapping[str, Any],
        viewer: Viewer,
        since: Position | None = None,
        room: Room | None = None,
    ) -> AsyncGenerator[Parts, None]:
        """The answers of a subscription, one for each change."""
        room = room or nullcontext()
        after = next((argument.value(variables) for argument in root.arguments if argument.name == _AFTER), None)
        key = _channel_key(text, name, root, variables, viewer)
        position = since or (await self._feed.position(after) if isinstance(after, str) else await self._feed.now())
        channel = self._channels.get(key)
        if channel is None or channel.ended is not None:
            size = estimate(text, key.variables)
            self._memory.take(viewer, size)
            channel = self._channels[key] = self._channel(root, variables, viewer)
            channel.size = size
        root = channel.root  # of several documents with the same text only the first is kept
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        channel.followers += 1
        prefix = b'{"data":{"%s":' % root.key.encode()
        try:
            async with room:  # after `position`, so that nothing is missed between
                first = await self._first(root, variables, viewer)
                if first is not None:
                    yield prefix, first, _SUFFIX
                    del first
            async with aclosing(channel.follow(position, viewer, room)) as items:
                async for item in items:
                    yield prefix, item.json, _SUFFIX
                    del item  # while the next one is waited for
        finally:
            channel.followers -= 1
            if channel.followers == 0:
                self._memory.give_back(channel.viewer, channel.size)
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
        return await FirstRow(root, self._side, self._budget).read(self._feed, variables, viewer)

    def _channel(self, root: Selected, variables: Mapping[str, Any], viewer: Viewer) -> "Channel | LatestValue":
        event_filter = EventFilter.of(root, variables)
        assert root.shape is not None
        if root.shape.kind == "pulse":
            return LatestValue(root, self._shared, self._side, self._budget, variables, viewer, event_filter)
        stream = EventProjection(root, self._side, self._budget)
        return Channel(stream, self._shared, variables, viewer, event_filter)

    async def _look(self) -> None:
        """Read the headers of new events once for all channels, and let those read whose filter includes one."""
        seen: Position | None = None
        pace = Pace()
        while True:
            woken, pause = self._feed.woken, LOOK_SECONDS
            try:
                since = seen or await self._feed.now()
                heads, until, stalled = await self._heads(since)
            except StreamForked:  # each channel sees for itself whether it can go on
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
                    await pace.keep()
                seen = until
                if len(heads) == _LOOKED_AT:
                    continue
                pause = _STALLED_SECONDS if stalled else pause
            await self._feed.wait(woken, pause)

    async def _heads(self, after: Position) -> tuple[list[EventHeader], Position, bool]:
        """The headers of the next events, the position after them, and whether more wait behind an open transaction."""
        result = await self._feed.read(_HEADS, [encode(after.xid), encode(after.id)])
        mark = StreamMark.of(result, 6)
        mark.check_goes_on(after)
        heads = []
        for row in range(result.ntuples):
            kind = result.get_value(row, 3)
            if kind is not None:
                lead_id = result.get_value(row, 2)
                entity, key = ((result.get_value(row, column) or b"").decode() for column in (4, 5))
                lead = None if lead_id is None else int(lead_id)
                heads.append(EventHeader(mark.place(result, row), lead, kind.decode(), entity, key))
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


class _ChannelKey(NamedTuple):
    """What subscriptions that share a channel have in common."""

    text: str
    name: str | None
    variables: bytes
    role: Role
    viewer: object  # the viewer's id, where not all viewers of a role see the same rows


def _channel_key(
    text: str, name: str | None, root: Selected, variables: Mapping[str, Any], viewer: Viewer
) -> _ChannelKey:
    """The key of a projection: subscriptions share it with the same operation, role and variables but the start."""
    starts = {
        field.value.name.value
        for field in root.node.arguments or ()
        if field.name.value == _AFTER and isinstance(field.value, VariableNode)
    }
    rest = {key: value for key, value in variables.items() if key not in starts}
    models = (field.kind.model for field in root.walk() if field.kind is not None and field.kind.model is not None)
    whose = viewer.id if any(model.policy.is_personal(viewer.role) for model in models) else None
    try:
        values = orjson.dumps(rest, default=str, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        message = "A variable holds half of a surrogate pair, which no text can."
        raise errors.BadUserInput(message) from None
    return _ChannelKey(text, name, values, viewer.role, whose)
