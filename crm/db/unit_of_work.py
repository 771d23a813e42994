"""The unit of work: the reads and changes of one mutation, in one transaction, with their events.

SQLAlchemy's ORM session costs 1.2 ms of Python for one insert with its event; this costs a tenth
(docs/decisions/0004-unit-of-work.md). A change and its event are one statement, so neither can be without the other,
and a mutation that adds a single row is that one statement and nothing else (but for a time limit beside it).
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, Protocol, TypeVar

from psycopg import pq
from sqlalchemy import Select, bindparam, select
from sqlalchemy.sql.compiler import SQLCompiler

from crm.core import errors
from crm.core.identity import OF_PROGRAM, Origin, Viewer
from crm.core.model import Model
from crm.core.pacing import paced
from crm.core.policy import viewer_values
from crm.db.change_sql import (
    RowChange,
    Step,
    reference_to,
    statement_of,
    step_of,
)
from crm.db.connection import LastedTooLong, MadeRoom, PostgresConnection, TookTooLong
from crm.db.database import Database
from crm.db.missing import missing
from crm.db.outcome import committing
from crm.db.result_rows import cell_of, paced_rows_of, rows_of, with_enums
from crm.db.stale import CHANGED_SINCE, StaleRecord, looked_for, stale_records
from crm.db.statement import BEGIN, COMMIT, ROLLBACK, WAIT_BRIEFLY, Params, Statement, ViewerWrite, encode
from crm.db.unique import may_wait
from crm.db.visibility import compiled, with_deleted

M = TypeVar("M", bound=Model)
_UNDOABLE: Final = nullcontext()
# The bytes of the changes that are sent at once: sending them is one turn of the event loop.
_PORTION: Final = 1024 * 1024


class Projection(Protocol):
    """Renders the result of a write as JSON."""

    @property
    def row(self) -> str | None:
        """SQL for the JSON of one row of a relation called `written`; None if more than that row is needed."""

    def steps(self, result: object) -> Sequence[Step]:
        """The statements that read the rows for `answer`."""

    async def answer(self, result: object, rows: Sequence[bytes | None]) -> bytes:
        """The finished JSON, from the rows that the steps returned; an error if it is too long."""


class UnitOfWork:
    """One write in progress. Services add, get and change records; the engine commits."""

    def __init__(
        self, database: Database, viewer: Viewer, write: ViewerWrite | None = None, origin: Origin = OF_PROGRAM
    ) -> None:
        """Begin a unit of work; a viewer's `write` may be ended with MadeRoom while others wait for a connection."""
        self.viewer = viewer
        self._origin = origin
        self._database = database
        self._write = write if viewer.owner else None
        self._connection: PostgresConnection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False
        self._loaded: dict[int, tuple[Model, dict[str, Any]]] = {}
        self._changes: list[RowChange] = []
        self._stale: dict[int, StaleRecord] = {}
        self._now: datetime | None = None
        self.wrote = False

    # For services

    def add(self, instance: M, *, within: type[Model] | None = None) -> M:
        """Insert this record; `within` names the model of the living record that it must belong to."""
        self._changes.append(RowChange("insert", instance, _values(instance), within))
        return instance

    def delete(self, instance: Model) -> None:
        """Delete this record for good."""
        self._changes.append(RowChange("delete", instance, {}))

    def now(self) -> datetime:
        """The moment of this write."""
        self._now = self._now or datetime.now(UTC)
        return self._now

    async def get(
        self, model: type[M], key: object, *, deleted: bool = False, expected_version: int | None = None
    ) -> M:
        """The record with this id, locked until the transaction ends; with `deleted`, a deleted record.

        With the version that the caller saw, the write ends with CONFLICT where it changes what others changed since.

        Other transactions may still add rows that refer to it: ids do not change.
        """
        record = await self.first(_locked_row(model, deleted=deleted), model, key=key)
        if record is None or (deleted and getattr(record, "deleted_at", None) is None):
            raise missing(model, key, deleted=deleted)
        if expected_version is not None:
            await self.expect([(record, expected_version)])
        return record

    async def expect(self, seen: Sequence[tuple[Model, int]]) -> None:
        """Have changes of a model's records refused where they overwrite what others changed since the version seen."""
        stale = [(record, version) for record, version in seen if record.__dict__["version"] != version]
        if stale:
            result = (await self._run([(CHANGED_SINCE, looked_for(stale))]))[0]
            self._stale |= stale_records(stale, await paced_rows_of(result, self._connection))

    @contextmanager
    def one_of_many(self, record: Model) -> Iterator[None]:
        """Check what this context sets on a loaded record at its end; if anything is refused, nothing was set."""
        try:
            yield
            self._changed(record)
        except errors.CrmError:
            record.__dict__.update(self._loaded[id(record)][1])
            raise

    async def first(self, statement: Select[Any], model: type[M], **values: object) -> M | None:
        """The first record of a statement that selects whole records; `values` as those of `rows`."""
        records = await self.all(statement, model, **values)
        return records[0] if records else None

    async def all(self, statement: Select[Any], model: type[M], **values: object) -> list[M]:
        """The records of a statement that selects whole records; changes to them are saved. `values`: see `rows`."""
        await self.flush()
        rows = await self.rows(statement, **values)
        return [self._track(model, row) for row in rows]

    async def rows(self, statement: Any, **values: object) -> list[dict[str, Any]]:
        """The rows of any statement, in the transaction.

        SQLAlchemy takes a millisecond to make an SQL text. Of a statement with `values` for its `bindparam`s it is made
        once and kept, so the statement must be one that the caller keeps, too.
        """
        sql = _kept(statement) if values else compiled(statement)
        given = {**(values or sql.params), **viewer_values(self.viewer)}
        params = [encode(given[name]) for name in sql.positiontup or ()]
        result = (await self._run([(statement_of(str(sql)), params)]))[0]
        return await paced_rows_of(result, self._connection)

    async def execute(self, statement: Statement, params: Params = ()) -> list[dict[str, Any]]:
        """Run a service's own statement in the transaction; one that changes records must write their events itself."""
        await self.flush()
        result = (await self._run([(statement, params)]))[0]
        self.wrote = True
        return await paced_rows_of(result, self._connection)

    async def finish(self, statement: Statement, params: Params = ()) -> list[dict[str, Any]]:
        """Run a last statement and commit in one round trip: its locks are not held while this process works."""
        await self.flush()
        result = (await self._run([(statement, params), (COMMIT, ())]))[0]
        self.wrote = True
        return await paced_rows_of(result, self._connection)

    async def flush(self) -> None:
        """Send the changes made so far."""
        portion: list[tuple[RowChange, Step]] = []
        size = 0
        async for change in paced(self._collected()):
            statement, params = step_of(change, self.viewer, self._origin, None)
            portion.append((change, (statement, params)))
            size += sum(len(value) for value in params if value is not None)
            if size > _PORTION:
                await self._send(portion)
                portion, size = [], 0
        if portion:
            await self._send(portion)

    async def _send(self, portion: Sequence[tuple[RowChange, Step]]) -> None:
        """Send some changes in one round trip."""
        results = await self._run([step for _, step in portion])
        async for (change, _), result in paced(zip(portion, results, strict=True)):
            self._take(change, result)

    # For the engine

    async def commit(self, result: object, projection: Projection) -> bytes:
        """Save everything, and return the result as the caller selected it."""
        changes = self._collected()
        self.wrote = bool(changes) or self.wrote
        if len(changes) == 1 and changes[0].instance is result and projection.row is not None:
            return await self._commit_one(changes[0], projection.row)
        self._changes = changes
        if any(change.kind == "delete" for change in changes):
            rows = await self._projected(projection.steps(result))
            await self.flush()
        else:
            await self.flush()
            rows = await self._projected(projection.steps(result))
        answer = await projection.answer(result, rows)  # first: what has no answer is not saved
        await self._run([(COMMIT, ())])
        return answer

    async def save(self) -> None:
        """Save everything, without a result."""
        await self.flush()
        if self._connection is not None:
            await self._run([(COMMIT, ())])

    async def close(self) -> None:
        """Release the connection; changes that are not committed are rolled back."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._stop_clock()
        try:
            if not connection.broken and connection.connection.pgconn.transaction_status != pq.TransactionStatus.IDLE:
                await connection.execute(ROLLBACK)
        finally:
            self._database.primary.release(connection)

    async def _commit_one(self, change: RowChange, row: str) -> bytes:
        step = step_of(change, self.viewer, self._origin, row)
        if self._waits(change):
            # Apart from the commit: a step with the commit is never stopped, and this one may have to be.
            (result,) = await self._run([step])
            await self._run([(COMMIT, ())])
        elif self._connection is None:
            result = await self._database.group_commit.execute(*step, self.viewer.owner)
        else:
            result = (await self._run([step, (COMMIT, ())]))[0]
        if not result.ntuples:
            raise _nothing_written(change)
        return cell_of(result) or b"null"

    def _waits(self, change: RowChange) -> bool:
        """Whether a change waits for others, or may: for a lock that an earlier run met, or for a unique value."""
        met_a_lock = self._write is not None and self._write.met_a_lock
        return met_a_lock or may_wait(type(change.instance), change.values, is_new=change.kind == "insert")

    async def _projected(self, steps: Sequence[Step]) -> list[bytes | None]:
        """Read the caller's selection, within the time limit of a read; beyond it TookTooLong, and nothing is written.

        Not in one round trip with the commit: a cancellation that hit the commit would leave open whether it was
        done, or make PostgreSQL confirm it before a standby has it.
        """
        if not steps:
            return []
        if self._connection is None:
            await self._run([])
        assert self._connection is not None
        with _time_limit(self._connection, self._database.primary.lanes.limits.mutation_read_seconds):
            return [cell_of(result) for result in await self._run(steps)]

    async def _run(self, steps: Sequence[Step]) -> "list[pq.abc.PGresult]":
        """Run steps in the transaction, which begins with the first.

        Steps without the commit may be stopped, and have a common time limit. A step with the commit is not stopped:
        PostgreSQL would then confirm the commit before a standby has it.
        """
        connection, beginning = self._connection, self._beginning()
        if connection is None:
            connection = self._connection = await self._database.primary.acquire(self.viewer.owner, self._write)
            self._start_clock()
        elif self._is_over:
            raise LastedTooLong
        undoable = not steps or steps[-1][0] is not COMMIT
        if not undoable:
            self._stop_clock()
        connection.undoable = undoable
        try:
            with _UNDOABLE if undoable else committing:
                results = await connection.run([*beginning, *steps])
        finally:
            connection.undoable = False
        if undoable and connection.stopped is MadeRoom:  # these steps have ended, but the rest must not run
            raise MadeRoom
        return results[len(beginning) :]

    def _beginning(self) -> Sequence[Step]:
        """The steps before the first: a viewer's write waits for a lock only briefly, until it has met one."""
        if self._connection is not None:
            return ()
        if self._write is None or self._write.met_a_lock:
            return ((BEGIN, ()),)
        return (BEGIN, ()), (WAIT_BRIEFLY, ())

    def _start_clock(self) -> None:
        """Start the time limit of a viewer's transaction: readers of the event stream wait for the oldest open one."""
        seconds = self._database.primary.lanes.limits.mutation_seconds
        if seconds and self.viewer.owner:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._time_is_up)

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_is_up(self) -> None:
        """Stop the statement under way; if there is none, or it commits, the next step raises LastedTooLong."""
        self._is_over = True
        if self._connection is not None and self._connection.undoable:
            self._connection.stop(LastedTooLong)

    def _track(self, model: type[M], row: dict[str, Any]) -> M:
        loaded = with_enums(model, row)
        instance = model(**loaded)
        self._loaded[id(instance)] = (instance, loaded)
        return instance

    def _collected(self) -> list[RowChange]:
        """Every change not sent yet: updates of loaded records, then inserts and deletes."""
        changes, self._changes = self._changes, []
        deleted = {id(change.instance) for change in changes if change.kind == "delete"}
        updates = []
        for key, (instance, before) in self._loaded.items():
            values = self._changed(instance, delete=key in deleted)
            if values and key not in deleted:
                updates.append(RowChange("update", instance, values))
                self._loaded[key] = (instance, {**before, **values})
        return updates + changes

    def _changed(self, record: Model, *, delete: bool = False) -> dict[str, Any]:
        """The values that were set on a loaded record; an error if they overwrite what others changed meanwhile."""
        (_, before), after = self._loaded[id(record)], record.__dict__
        values = {name: after[name] for name, value in before.items() if after[name] != value}
        stale = self._stale.get(id(record))
        if stale is not None and (delete or values.get("deleted_at") is not None):
            stale.refuse_deletion(before)
        if stale is not None:
            stale.check(before, values)
        return values

    def _take(self, change: RowChange, result: "pq.abc.PGresult") -> None:
        """Copy the values that the database set for a change (ids, defaults) into the record."""
        rows = rows_of(result, self._connection)
        if not rows:
            raise _nothing_written(change)
        self.wrote = True
        row = with_enums(type(change.instance), rows[0])
        for name, value in row.items():
            setattr(change.instance, name, value)
        if change.kind != "delete":
            self._loaded[id(change.instance)] = (change.instance, row)


@contextmanager
def _time_limit(connection: PostgresConnection, seconds: float) -> Iterator[None]:
    """Stop the statement on a connection after so many seconds; 0: never."""
    timer = asyncio.get_running_loop().call_later(seconds, connection.stop, TookTooLong) if seconds else None
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()


@cache
def _locked_row(model: type[Model], *, deleted: bool) -> Select[Any]:
    """The statement of one record by its `key`, locked."""
    wanted = model.__table__.c.id == bindparam("key")
    statement = select(model).where(wanted).with_for_update(of=model, key_share=True)
    return with_deleted(statement) if deleted else statement


@cache
def _kept(statement: Any) -> SQLCompiler:
    return compiled(statement)


def _nothing_written(change: RowChange) -> errors.CrmError:
    if change.within is not None:
        reference = reference_to(type(change.instance), change.within)
        return missing(change.within, change.values[reference], reference=reference)
    return missing(type(change.instance), getattr(change.instance, "id", None))


def _values(instance: Model) -> dict[str, Any]:
    columns = _column_names(type(instance))
    return {name: value for name, value in instance.__dict__.items() if name in columns}


@cache
def _column_names(model: type[Model]) -> frozenset[str]:
    return frozenset(model.__table__.c.keys())
