"""A subscription's field, compiled: reads projected events after a position, and the row that it begins with."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import psycopg
import structlog
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
from crm.db.connection import ConnectionLost, TookTooLong
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

log = structlog.get_logger()

BATCH: Final = 200
# If a batch exceeds the limits of one read, or its time, so many times fewer events are read.
_SHRINK: Final = 10


@dataclass(frozen=True, slots=True)
class EventBatch:
    """The events that a read returned, how far it has read, and whether more wait behind an open transaction."""

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
        self._statements: dict[int, StatementsByShape] = {}

    async def read(self, query: "StreamQuery", position: Position, size: int = BATCH) -> EventBatch:
        """The next events, at most `size`, and the position after them; StreamForked if the stream has forked."""
        bound = await self._of(size).bound(query.variables, query.viewer, self._side)
        statement, params = bound.step([position.xid, position.id])
        result = await query.feed.read(statement, params, query.owner, limited=True)
        mark = StreamMark.of(result, 3)
        mark.check_goes_on(position)
        items = []
        for row in range(result.ntuples):
            json = result.get_value(row, 2)
            if json is not None:
                items.append(ProjectedEvent(mark.place(result, row), json))
        if len(items) == size:
            return EventBatch(items, items[-1].position, stalled=False, is_full=True)
        return EventBatch(items, max(position, mark.end), mark.stalled)

    def _of(self, size: int) -> StatementsByShape:
        if size not in self._statements:
            allotments = Allotments([self.root], self._budget, times=size, guess=False)
            build = partial(_batch, self.root, self._budget, size)
            self._statements[size] = StatementsByShape([self.root], build, extra=("xid", "id"), allotments=allotments)
        return self._statements[size]


@dataclass(frozen=True, slots=True)
class StreamQuery:
    """A subscription's query of a stream, and the owner of the connections that read it."""

    feed: EventFeed
    variables: Mapping[str, Any]
    viewer: Viewer
    owner: int = PROGRAM


@dataclass(slots=True)
class EventReader:
    """Reads a stream in batches: fewer events at once as long as so many are more than one read may bring."""

    stream: EventProjection
    query: StreamQuery
    turns: FairSlots | None = None
    size: int = BATCH
    taker: Taker = field(init=False)

    def __post_init__(self) -> None:
        """Take turns as the viewer whom the query is for."""
        self.taker = Taker(self.query.viewer.id)

    async def read(self, position: Position) -> EventBatch:
        """The events after a position; if the stream has forked and lost nothing before it, in the new stream.

        If a single event is too much, the error is raised: it would be too much the next time as well.
        """
        while True:
            try:
                async with self.turns.turn(self.taker) if self.turns is not None else nullcontext():
                    batch = await self.stream.read(self.query, position, self.size)
            except StreamForked:
                position = await self.query.feed.carried(position)
            except psycopg.Error as error:
                if is_unanswered(error):  # on the next connection: fewer events would not be answered either
                    log.warning("subscription.unanswered", error=str(error)[:200])
                    continue
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


def is_unanswered(error: psycopg.Error) -> bool:
    """Whether a read ran out of time as PostgreSQL did not answer: not even its cancellation, so it may be short."""
    return isinstance(error, TookTooLong) and isinstance(error.__cause__, ConnectionLost)


def problem_of(error: psycopg.Error) -> errors.CrmError | None:
    """The error of a read that would fail again; None if it may work in a moment."""
    if is_unanswered(error):
        return None
    if isinstance(error, TookTooLong):
        message = "To read one change of this subscription takes longer than a read may. Select less of it."
        return errors.Timeout(message)
    known_error = translated(error)
    return None if isinstance(known_error, errors.Unavailable | errors.Conflict) else known_error


class FirstRow:
    """The row that is sent before a stream's events."""

    def __init__(self, root: Selected, side: SideThread, budget: AnswerBudget) -> None:
        self._root = root
        self._side = side
        build = partial(_first_row, root)
        self._statements = StatementsByShape([root], build, allotments=Allotments([root], budget, guess=False))

    async def read(self, feed: EventFeed, variables: Mapping[str, Any], viewer: Viewer) -> bytes | None:
        """The row as it is now; None if the arguments name no row."""
        bound = await self._statements.bound(variables, viewer, self._side)
        result = await feed.read(*bound.step(), viewer.owner)
        if not result.ntuples:
            return None
        json = result.get_value(0, 0)
        if json is None:
            raise errors.NotFound
        return json


def _batch(root: Selected, budget: AnswerBudget, size: int, compiler: Compiler) -> Select[Any]:
    """The statement of a batch; it always returns a row, so that the watermark comes along without events too."""
    safe: ColumnElement[Any] = literal_column(WATERMARK, Xid8)
    after = (bindparam("v0", type_=Xid8(), required=True), bindparam("v1", type_=BigInteger(), required=True))
    events = compiler.statement(root, *after, safe)
    rows = events.limit(literal_column(str(size))).subquery("q0")
    other = "stream_xid" in rows.c  # rows that are not events say where in the stream they stand
    place = (rows.c.stream_xid, rows.c.stream_id) if other else (rows.c.xid, rows.c.id)
    xid, key = place[0].label("xid"), place[1].label("id")
    assert root.kind is not None
    json = compiler.record(root.children, root.kind.name, rows).label("shown")
    length = compiler.length(root.children, rows)
    projected = select(xid, key, json, length.label("n")).select_from(compiler.source(rows)).cte("found")
    mark = select(*mark_columns()).subquery("mark")
    joined = mark.outerjoin(projected, batch_fits(projected, budget, root.key))
    return (
        select(cast(projected.c.xid, Text), cast(projected.c.id, Text), projected.c.shown, *mark.c)
        .select_from(joined)
        .order_by(projected.c.xid, projected.c.id)
    )


def _first_row(root: Selected, compiler: Compiler) -> Select[Any]:
    row = compiler.first(root)
    return select(literal_column("1")).where(literal_column("false")) if row is None else select(row)
