"""A subscription's field, compiled: reads projected events after a position, and the row that it begins with."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import psycopg
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Text,
    bindparam,
    cast,
    literal_column,
    select,
)

from crm.core import errors
from crm.core.fair_slots import FairSlots, Taker
from crm.core.identity import Viewer
from crm.core.side_thread import SideThread
from crm.db.connection import TookTooLong
from crm.db.event_feed import EventFeed
from crm.db.events import Xid8
from crm.db.lanes import PROGRAM
from crm.db.sqlstates import translated
from crm.db.stream_position import WATERMARK, Position, StreamForked, StreamMark, mark_columns
from crm.graph.compile.allotment import Allotments, AnswerBudget
from crm.graph.compile.counting import batch_fits
from crm.graph.compile.selection import Selected
from crm.graph.compile.sql import Compiler
from crm.graph.compile.statements import StatementsByShape
from crm.graph.live.event_filter import ProjectedEvent

BATCH: Final = 200
# Where that many events are more than one read may bring, or takes longer than it may, so many times fewer are read.
_SHRINK: Final = 10


@dataclass(frozen=True, slots=True)
class EventBatch:
    """What a look at the stream found, how far it has read, and whether more wait behind an open transaction."""

    items: Sequence[ProjectedEvent]
    seen: Position
    stalled: bool
    is_full: bool = False  # more may follow


class EventProjection:
    """One subscription field, compiled: reads projected events after a position."""

    def __init__(self, root: Selected, side: SideThread, budget: AnswerBudget) -> None:
        self.root = root
        self._side = side
        self._budget = budget
        self._shaped: dict[int, StatementsByShape] = {}

    async def read(self, ask: "Ask", position: Position, size: int = BATCH) -> EventBatch:
        """The next events, so many at most, and how far the stream has been read with them; or Forked."""
        bound = await self._of(size).bound(ask.variables, ask.viewer, self._side)
        statement, params = bound.step([position.xid, position.id])
        result = await ask.feed.read(statement, params, ask.owner, limited=True)
        mark = StreamMark.of(result, 3)
        mark.check_goes_on(position)
        items = []
        for row in range(result.ntuples):
            shown = result.get_value(row, 2)
            if shown is not None:
                items.append(ProjectedEvent(mark.place(result, row), shown))
        if len(items) == size:
            return EventBatch(items, items[-1].position, stalled=False, is_full=True)
        return EventBatch(items, max(position, mark.end), mark.stalled)

    def _of(self, size: int) -> StatementsByShape:
        if size not in self._shaped:
            allotments = Allotments([self.root], self._budget, times=size, guess=False)
            build = partial(_batch, self.root, self._budget, size)
            self._shaped[size] = StatementsByShape([self.root], build, extra=("xid", "id"), allotments=allotments)
        return self._shaped[size]


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of a stream, and on whose account it is read."""

    feed: EventFeed
    variables: Mapping[str, Any]
    viewer: Viewer
    owner: int = PROGRAM


@dataclass(slots=True)
class EventReader:
    """Reads a stream in batches: fewer events at once as long as so many are more than one read may bring."""

    stream: EventProjection
    ask: Ask
    turns: FairSlots | None = None
    size: int = BATCH
    taker: Taker = field(default_factory=Taker)

    async def read(self, position: Position) -> EventBatch:
        """What comes after a place; in the stream as it is now if that has forked and lost nothing before the place.

        Where one event alone is too much, that error is raised: it would be too much the next time as well.
        """
        while True:
            try:
                async with self.turns.turn(self.taker) if self.turns is not None else nullcontext():
                    batch = await self.stream.read(self.ask, position, self.size)
            except StreamForked:
                position = await self.ask.feed.carried(position)
            except psycopg.Error as error:
                problem = problem_of(error)
                if problem is None:
                    raise
                if self.size == 1:
                    raise problem from error
                self.size = max(1, self.size // _SHRINK)
            else:
                if not batch.is_full:
                    self.size = BATCH
                return batch


def problem_of(error: psycopg.Error) -> errors.CrmError | None:
    """What is wrong with a read that would fail again; None if it may work in a moment."""
    if isinstance(error, TookTooLong):
        message = "To read one change of this subscription takes longer than a read may. Select less of it."
        return errors.Timeout(message)
    found = translated(error)
    return None if isinstance(found, errors.Unavailable | errors.Conflict) else found


class FirstRow:
    """The row that a stream begins with."""

    def __init__(self, root: Selected, side: SideThread, budget: AnswerBudget) -> None:
        self._root = root
        self._side = side
        build = partial(_first_row, root)
        self._shaped = StatementsByShape([root], build, allotments=Allotments([root], budget, guess=False))

    async def read(self, feed: EventFeed, variables: Mapping[str, Any], viewer: Viewer) -> bytes | None:
        """The row as it is now; None if the arguments name none."""
        bound = await self._shaped.bound(variables, viewer, self._side)
        result = await feed.read(*bound.step(), viewer.owner)
        if not result.ntuples:
            return None
        found = result.get_value(0, 0)
        if found is None:
            raise errors.NotFound
        return found


def _batch(root: Selected, budget: AnswerBudget, size: int, compiler: Compiler) -> Select[Any]:
    """Always at least one row, so that the watermark comes along when nothing happened."""
    safe: ColumnElement[Any] = literal_column(WATERMARK, Xid8)
    after = (bindparam("v0", type_=Xid8(), required=True), bindparam("v1", type_=BigInteger(), required=True))
    events = compiler.statement(root, *after, safe)
    rows = events.limit(literal_column(str(size))).subquery("q0")
    other = "stream_xid" in rows.c  # rows that are not events say where in the stream they stand
    place = (rows.c.stream_xid, rows.c.stream_id) if other else (rows.c.xid, rows.c.id)
    xid, key = place[0].label("xid"), place[1].label("id")
    assert root.kind is not None
    shown = compiler.record(root.children, root.kind.name, rows).label("shown")
    length = compiler.length(root.children, rows)
    found = select(xid, key, shown, length.label("n")).select_from(compiler.source(rows)).cte("found")
    mark = select(*mark_columns()).subquery("mark")
    joined = mark.outerjoin(found, batch_fits(found, budget, root.key))
    return (
        select(cast(found.c.xid, Text), cast(found.c.id, Text), found.c.shown, *mark.c)
        .select_from(joined)
        .order_by(found.c.xid, found.c.id)
    )


def _first_row(root: Selected, compiler: Compiler) -> Select[Any]:
    row = compiler.first(root)
    return select(literal_column("1")).where(literal_column("false")) if row is None else select(row)
