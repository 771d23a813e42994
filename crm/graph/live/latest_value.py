"""Subscription to one row's current value (no event history)."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import structlog

from crm.core import errors
from crm.core.fair_slots import Taker
from crm.core.identity import Viewer
from crm.core.portions import News
from crm.core.side_thread import SideThread
from crm.db.connection import TookTooLong
from crm.db.stream_position import Position
from crm.graph.compile.allotment import Allotments, AnswerBudget
from crm.graph.compile.selection import Selected
from crm.graph.compile.statements import StatementsByShape
from crm.graph.live.channel import Room, SharedState
from crm.graph.live.event_filter import EventFilter, EventHeader, ProjectedEvent
from crm.graph.live.event_projection import is_unanswered, problem_of

log = structlog.get_logger()

# The least time between two values that are sent.
_MIN_SECONDS_BETWEEN: Final = 0.2


@dataclass(eq=False)
class LatestValue:
    """One row that several sockets follow: read again when it may have changed, and every so many seconds."""

    root: Selected
    shared: SharedState
    side: SideThread
    budget: AnswerBudget
    variables: Mapping[str, Any]
    viewer: Viewer
    event_filter: EventFilter
    followers: int = 0
    size: int = 0  # the memory that it takes, on the account of its viewer
    latest: ProjectedEvent | None = None
    due: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    ended: errors.CrmError | None = None

    def __post_init__(self) -> None:
        self._news = News(self.shared.portions)
        roots = [self.root]
        allotments = Allotments(roots, self.budget, guess=False)
        self._statements = StatementsByShape(roots, lambda compiler: compiler.roots(roots), allotments=allotments)

    async def follow(self, _: Position, __: Viewer, room: Room) -> AsyncGenerator[ProjectedEvent, None]:
        """The row as it is now, then each time it has changed, for ever. A slow reader gets only the latest value."""
        sent, news_round = None, None
        portions = self.shared.portions
        if self.task is None:
            self.task = asyncio.create_task(self._pump())
        self.due.set()
        while True:
            if self.latest is None or self.latest is sent:
                if self.ended is not None:
                    raise type(self.ended)(self.ended.phrase, **self.ended.details)
                news_round = await self._news.wait()
                continue
            async with room:
                if news_round != portions.round:
                    await portions.turn(len(self.latest.json))
                sent = self.latest
                yield sent

    def forget(self) -> None:
        """Read the row again after a deletion: nothing older is kept."""
        self.due.set()

    def hear(self, heads: Sequence[EventHeader], _since: Position, _until: Position) -> None:
        """Read the row again if one of these events may have changed it."""
        if any(self.event_filter.includes(head) for head in heads):
            self.due.set()

    async def _pump(self) -> None:
        assert self.root.shape is not None
        assert self.root.shape.declaration is not None
        seconds = self.root.shape.declaration.pulse_seconds
        clock = asyncio.get_running_loop().time
        sent_at, taker = -seconds, Taker(self.viewer.id)
        while True:
            self.due.clear()
            try:
                json = await self._read(taker)
            except (psycopg.Error, errors.CrmError) as error:
                log.info("subscription.waiting", error=str(error)[:200])
                self.ended = problem_of(error) if isinstance(error, psycopg.Error) else None
                if self.ended is not None:
                    self._tell()
                    return
            else:
                if self.latest is None or json != self.latest.json or clock() - sent_at >= seconds:
                    sent_at = clock()
                    self.latest = ProjectedEvent(Position(0, 0), json)
                    self._tell()
            await asyncio.sleep(_MIN_SECONDS_BETWEEN)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, sent_at + seconds - clock())):
                    await self.due.wait()

    async def _read(self, taker: Taker) -> bytes:
        """The row's JSON. A read is cancelled for its time twice before that is an error.

        A read that waited for a frozen PostgreSQL is often cancelled just as PostgreSQL thaws.
        """
        try:
            return await self._read_once(taker)
        except TookTooLong as error:
            if is_unanswered(error):
                raise
            return await self._read_once(taker)

    async def _read_once(self, taker: Taker) -> bytes:
        async with self.shared.reads.turn(taker):
            bound = await self._statements.bound(self.variables, self.viewer, self.side)
            result = await self.shared.feed.read(*bound.step(), limited=True)
        return result.get_value(0, 0) or b"null"

    def _tell(self) -> None:
        self._news.tell(0 if self.latest is None else len(self.latest.json))

    def end(self) -> None:
        """Stop reading: the last follower has left."""
        if self.task is not None:
            self.task.cancel()
            self.task = None
