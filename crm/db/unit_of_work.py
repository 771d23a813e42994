"""A unit of work: what one mutation reads and changes, in one transaction, with its events.

SQLAlchemy's ORM session costs 1.2 ms of Python for one insert with its event; this costs a tenth
(docs/decisions/0004-unit-of-work.md). A change and its event are one statement, so neither can be without the other,
and a mutation that only adds one row is that one statement and nothing else.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any, Protocol, TypeVar

from psycopg import pq
from psycopg.adapt import Transformer
from sqlalchemy import Select, select

from crm.core import errors
from crm.core.choice import EnumText
from crm.core.identity import Viewer
from crm.core.model import Model
from crm.core.pacing import paced
from crm.core.policy import viewer_values
from crm.db.change_sql import (
    Change,
    Step,
    reference_to,
    statement_of,
    step_of,
)
from crm.db.connection import Connection, LastedTooLong, MadeRoom, TookTooLong
from crm.db.database import Database
from crm.db.statement import BEGIN, COMMIT, ROLLBACK, Params, Statement, ViewerWrite, encode
from crm.db.unique import may_wait
from crm.db.visibility import compiled, with_deleted

M = TypeVar("M", bound=Model)


class Projection(Protocol):
    """How the result of a write is shown."""

    @property
    def row(self) -> str | None:
        """SQL for the JSON of one row of a relation called `written`; None if it needs more than that row."""

    def steps(self, result: object) -> Sequence[Step]:
        """The statements that read what `answer` needs."""

    def answer(self, result: object, rows: Sequence[bytes | None]) -> bytes:
        """The finished JSON, from what the steps returned."""


class UnitOfWork:
    """One write in progress. Services add, get and change records; the edge commits."""

    def __init__(self, database: Database, viewer: Viewer, write: ViewerWrite | None = None) -> None:
        """For a viewer's `write`, which may end with MadeRoom while others wait for a connection."""
        self.viewer = viewer
        self._database = database
        self._write = write if viewer.owner else None
        self._wire: Connection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False
        self._loaded: dict[int, tuple[Model, dict[str, Any]]] = {}
        self._changes: list[Change] = []
        self._now: datetime | None = None
        self.wrote = False

    # What services use

    def add(self, instance: M, *, within: type[Model] | None = None) -> M:
        """Insert this record; `within` names the model of the living record that it must belong to."""
        self._changes.append(Change("insert", instance, _values(instance), within))
        return instance

    def delete(self, instance: Model) -> None:
        """Delete this record for good."""
        self._changes.append(Change("delete", instance, {}))

    def now(self) -> datetime:
        """The moment of this write."""
        self._now = self._now or datetime.now(UTC)
        return self._now

    async def get(self, model: type[M], key: object, *, deleted: bool = False) -> M:
        """The record with this id, locked until the end; `deleted` asks for a deleted one.

        Others may go on to refer to it: ids do not change.
        """
        wanted = select(model).where(model.__table__.c.id == key).with_for_update(of=model, key_share=True)
        found = await self.first(with_deleted(wanted) if deleted else wanted, model)
        if found is None or (deleted and getattr(found, "deleted_at", None) is None):
            raise missing(model, key, deleted=deleted)
        return found

    async def first(self, statement: Select[Any], model: type[M]) -> M | None:
        """The first record of a statement that selects whole records."""
        found = await self.all(statement, model)
        return found[0] if found else None

    async def all(self, statement: Select[Any], model: type[M]) -> list[M]:
        """The records of a statement that selects whole records; changes to them are saved."""
        await self.flush()
        rows = await self.rows(statement)
        return [self._track(model, row) for row in rows]

    async def rows(self, statement: Any) -> list[dict[str, Any]]:
        """The rows of any statement, in the transaction."""
        found = compiled(statement)
        given = {**found.params, **viewer_values(self.viewer)}
        params = [encode(given[name]) for name in found.positiontup or ()]
        result = (await self._run([(statement_of(str(found)), params)]))[0]
        return _rows(result, self._wire)

    async def execute(self, statement: Statement, params: Params = ()) -> list[dict[str, Any]]:
        """Run a statement of the service's own, in the transaction; one that changes records writes their events."""
        await self.flush()
        result = (await self._run([(statement, params)]))[0]
        self.wrote = True
        return _rows(result, self._wire)

    async def finish(self, statement: Statement, params: Params = ()) -> list[dict[str, Any]]:
        """Run one more statement and commit, in one go: what it locks waits for PostgreSQL only, never for us."""
        await self.flush()
        result = (await self._run([(statement, params), (COMMIT, ())]))[0]
        self.wrote = True
        return _rows(result, self._wire)

    async def flush(self) -> None:
        """Send what has changed so far."""
        changes = self._collected()
        if not changes:
            return
        steps = [step_of(change, self.viewer, None) async for change in paced(changes)]
        results = await self._run(steps)
        async for change, result in paced(zip(changes, results, strict=True)):
            self._take(change, result)

    # What the edge uses

    async def commit(self, result: object, projection: Projection) -> bytes:
        """Save everything, and return the result as the caller selected it."""
        changes = self._collected()
        self.wrote = bool(changes) or self.wrote
        if len(changes) == 1 and changes[0].instance is result and projection.row is not None:
            return await self._commit_one(changes[0], projection.row)
        self._changes = changes
        if any(change.kind == "delete" for change in changes):
            rows = await self._shown(projection.steps(result))
            await self.flush()
        else:
            await self.flush()
            rows = await self._shown(projection.steps(result))
        await self._run([(COMMIT, ())])
        return projection.answer(result, rows)

    async def save(self) -> None:
        """Save everything, and show nothing."""
        await self.flush()
        if self._wire is not None:
            await self._run([(COMMIT, ())])

    async def close(self) -> None:
        """Give the connection back; whatever is not committed is undone."""
        wire, self._wire = self._wire, None
        if wire is None:
            return
        self._stop_clock()
        try:
            if not wire.broken and wire.connection.pgconn.transaction_status != pq.TransactionStatus.IDLE:
                await wire.execute(ROLLBACK)
        finally:
            self._database.primary.release(wire)

    async def _commit_one(self, change: Change, row: str) -> bytes:
        step = step_of(change, self.viewer, row)
        if may_wait(type(change.instance), change.values, is_new=change.kind == "insert"):
            # What commits is never stopped, and this may have to be.
            (found,) = await self._run([step])
            await self._run([(COMMIT, ())])
        elif self._wire is None:
            found = await self._database.group_commit.execute(*step, self.viewer.owner)
        else:
            found = (await self._run([step, (COMMIT, ())]))[0]
        if not found.ntuples:
            raise _nothing_written(change)
        return _cell(found) or b"null"

    async def _shown(self, steps: Sequence[Step]) -> list[bytes | None]:
        """What the caller selected, within the time limit of a read: then TookTooLong, and nothing is written.

        Not in one go with the commit. A cancellation that met that would leave open whether anything was written, or
        take the commit's word that a standby has it.
        """
        if not steps:
            return []
        if self._wire is None:
            await self._run([])
        assert self._wire is not None
        with _time_limit(self._wire, self._database.primary.lanes.limits.mutation_read_seconds):
            return [_cell(found) for found in await self._run(steps)]

    async def _run(self, steps: Sequence[Step]) -> "list[pq.abc.PGresult]":
        """Run steps in the transaction, which begins with the first.

        Without the commit they may be stopped, and have so many seconds together. With it not: PostgreSQL would take
        that as its leave to answer before a standby has it.
        """
        wire = self._wire
        begins = wire is None
        if wire is None:
            wire = self._wire = await self._database.primary.acquire(self.viewer.owner, self._write)
            self._start_clock()
        elif self._is_over:
            raise LastedTooLong
        undoable = not steps or steps[-1][0] is not COMMIT
        if not undoable:
            self._stop_clock()
        wire.undoable = undoable
        try:
            results = await wire.run([(BEGIN, ()), *steps] if begins else steps)
        finally:
            wire.undoable = False
        if undoable and wire.stopped is MadeRoom:  # too late to stop these, but not for the rest
            raise MadeRoom
        return results[begins:]

    def _start_clock(self) -> None:
        """A viewer's transaction must not last: readers of the event stream wait for the oldest one that writes."""
        seconds = self._database.primary.lanes.limits.mutation_seconds
        if seconds and self.viewer.owner:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._time_is_up)

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_is_up(self) -> None:
        """Stop what is under way; if nothing is, or it is too late for that, what would come next."""
        self._is_over = True
        if self._wire is not None and self._wire.undoable:
            self._wire.stop(LastedTooLong)

    def _track(self, model: type[M], row: dict[str, Any]) -> M:
        loaded = _with_enums(model, row)
        instance = model(**loaded)
        self._loaded[id(instance)] = (instance, loaded)
        return instance

    def _collected(self) -> list[Change]:
        """Every change not sent yet: updates of what was loaded, then inserts and deletes."""
        changes, self._changes = self._changes, []
        deleted = {id(change.instance) for change in changes if change.kind == "delete"}
        updates = []
        for key, (instance, before) in self._loaded.items():
            after = instance.__dict__
            values = {name: after[name] for name, value in before.items() if after[name] != value}
            if values and key not in deleted:
                updates.append(Change("update", instance, values))
                self._loaded[key] = (instance, {**before, **values})
        return updates + changes

    def _take(self, change: Change, result: "pq.abc.PGresult") -> None:
        """What the database made of a change (ids, defaults) into the record."""
        rows = _rows(result, self._wire)
        if not rows:
            raise _nothing_written(change)
        self.wrote = True
        row = _with_enums(type(change.instance), rows[0])
        for name, value in row.items():
            setattr(change.instance, name, value)
        if change.kind != "delete":
            self._loaded[id(change.instance)] = (change.instance, row)


@contextmanager
def _time_limit(wire: Connection, seconds: float) -> Iterator[None]:
    """Stop what runs on a connection after so long; 0: never."""
    timer = asyncio.get_running_loop().call_later(seconds, wire.stop, TookTooLong) if seconds else None
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()


def missing(model: type[Model], key: object, *, deleted: bool = False) -> errors.NotFound:
    """The error for a record that is not there."""
    which = "deleted " if deleted else ""
    return errors.NotFound(
        f"There is no {which}{model.entity} with id {key}.",
        entity=model.entity,
        id=str(key),
    )


def _nothing_written(change: Change) -> errors.CrmError:
    if change.within is not None:
        reference = reference_to(type(change.instance), change.within)
        return missing(change.within, change.values[reference])
    return missing(type(change.instance), getattr(change.instance, "id", None))


def _values(instance: Model) -> dict[str, Any]:
    columns = _column_names(type(instance))
    return {name: value for name, value in instance.__dict__.items() if name in columns}


@cache
def _column_names(model: type[Model]) -> frozenset[str]:
    return frozenset(model.__table__.c.keys())


def _rows(result: "pq.abc.PGresult", wire: Connection | None) -> list[dict[str, Any]]:
    assert wire is not None
    names = [(result.fname(index) or b"").decode() for index in range(result.nfields)]
    transformer = Transformer(wire.connection)
    transformer.set_pgresult(result)
    return [dict(zip(names, row, strict=True)) for row in transformer.load_rows(0, result.ntuples, tuple)]


def _with_enums(model: type[Model], row: dict[str, Any]) -> dict[str, Any]:
    """A row as a record has it: text of an enum's column as the enum, so that services can compare with `is`."""
    kinds = ((name, model.__table__.c[name].type) for name in row)
    return row | {name: kind.enum(row[name]) for name, kind in kinds if isinstance(kind, EnumText) and row[name]}


def _cell(result: "pq.abc.PGresult") -> bytes | None:
    return result.get_value(0, 0) if result.ntuples else None
