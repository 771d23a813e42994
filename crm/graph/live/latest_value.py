"""A subscription to one row that changes all the time: how it is, not what happened to it."""

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
from crm.db.event_feed import Position
from crm.graph.compile.allotment import Allotments, AnswerBudget
from crm.graph.compile.selection import Selected
from crm.graph.compile.statements import StatementsByShape
from crm.graph.live.channel import Hall, Room
from crm.graph.live.event_filter import EventFilter, EventHeader, ProjectedEvent
from crm.graph.live.event_projection import problem_of

log = structlog.get_logger()

# It is shown this often at most.
_BREATH_SECONDS: Final = 0.2


@dataclass(eq=False)
class LatestValue:
    """One row that several sockets follow: read again when it may have changed, and every so many seconds."""

    root: Selected
    hall: Hall
    side: SideThread
    budget: AnswerBudget
    variables: Mapping[str, Any]
    viewer: Viewer
    interest: EventFilter
    followers: int = 0
    latest: ProjectedEvent | None = None
    due: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    ended: errors.CrmError | None = None

    def __post_init__(self) -> None:
        self._news = News(self.hall.portions)
        allotments = Allotments([self.root], self.budget, guess=False)
        self._shaped = StatementsByShape(
            [self.root], lambda compiler: compiler.roots([self.root]), allotments=allotments
        )

    async def follow(self, _: Position, __: Viewer, room: Room) -> AsyncGenerator[ProjectedEvent, None]:
        """How it is now, and then how it has become, for ever. A slow reader sees the latest only."""
        seen, its_round = None, None
        portions = self.hall.portions
        if self.task is None:
            self.task = asyncio.create_task(self._pump())
        self.due.set()
        while True:
            if self.latest is None or self.latest is seen:
                if self.ended is not None:
                    raise type(self.ended)(self.ended.message, **self.ended.details)
                its_round = await self._news.wait()
                continue
            async with room:
                if its_round != portions.round:
                    await portions.turn(len(self.latest.json))
                seen = self.latest
                yield seen

    def forget(self) -> None:
        """It remembers nothing that was deleted: it shows how the row is."""
        self.due.set()

    def hear(self, heads: Sequence[EventHeader], _since: Position, _until: Position) -> None:
        """Something happened that may concern it."""
        if any(self.interest.includes(head) for head in heads):
            self.due.set()

    async def _pump(self) -> None:
        assert self.root.shape is not None
        assert self.root.shape.declaration is not None
        seconds = self.root.shape.declaration.pulse_seconds
        clock = asyncio.get_running_loop().time
        shown, taker = -seconds, Taker()
        while True:
            self.due.clear()
            try:
                async with self.hall.reads.turn(taker):
                    bound = await self._shaped.bound(self.variables, self.viewer, self.side)
                    result = await self.hall.feed.read(*bound.step(), limited=True)
            except (psycopg.Error, errors.CrmError) as error:
                log.info("subscription.waiting", error=str(error)[:200])
                self.ended = problem_of(error) if isinstance(error, psycopg.Error) else None
                if self.ended is not None:
                    self._tell()
                    return
            else:
                json = result.get_value(0, 0) or b"null"
                if self.latest is None or json != self.latest.json or clock() - shown >= seconds:
                    shown = clock()
                    self.latest = ProjectedEvent(Position(0, 0), json)
                    self._tell()
            await asyncio.sleep(_BREATH_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, shown + seconds - clock())):
                    await self.due.wait()

    def _tell(self) -> None:
        self._news.tell(0 if self.latest is None else len(self.latest.json))

    def end(self) -> None:
        """Nobody follows any more."""
        if self.task is not None:
            self.task.cancel()
            self.task = None
