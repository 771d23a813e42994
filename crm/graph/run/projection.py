"""A mutation's result as JSON: projected by the engine, inside the transaction, in the caller's selection."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import cache, partial
from typing import Any

import orjson
from sqlalchemy import ARRAY, Select, bindparam, column, func, select, table
from sqlalchemy.sql import visitors

from crm.core import errors
from crm.core.api_json import DIALECT
from crm.core.identity import Viewer
from crm.core.model import Model
from crm.core.pacing import paced
from crm.core.side_thread import SideThread
from crm.db.change_sql import Step
from crm.db.visibility import with_deleted
from crm.graph.compile.allotment import Allotments, AnswerBudget
from crm.graph.compile.selection import Selected
from crm.graph.compile.sql import Compiler
from crm.graph.compile.statements import StatementsByShape
from crm.graph.declare.fields import MAX_ROWS


class MutationProjection:
    """A mutation field's selection, compiled for records of its type (or for the records inside a plain result)."""

    def __init__(
        self, field: Selected, weigh: Callable[[int], None] | None = None, budget: AnswerBudget | None = None
    ) -> None:
        self.field = field
        self.slots = list(_slots(field))
        self.row = _row(field)
        self._shaped = [
            StatementsByShape(slot.children, _by_ids(slot), ("ids",), weigh, self._allotments(slot, budget))
            for slot in self.slots
        ]
        self._is_row = self.row is not None and all(shaped.is_short for shaped in self._shaped)

    def _allotments(self, slot: Selected, budget: AnswerBudget | None) -> Allotments | None:
        many = any(selected.shape is not None and selected.shape.many for selected in (self.field, slot))
        times = MAX_ROWS if many else 1
        return Allotments(slot.children, budget, times=times, guess=False) if budget is not None else None

    async def bound(
        self, variables: Mapping[str, Any], viewer: Viewer, side: SideThread, most_bytes: int
    ) -> "BoundProjection":
        """The projection for one request: compiled now, so that no transaction waits for the compiler.

        Its JSON may have so many bytes: what the fields before it left of the operation's.
        What one row answers hardly ever needs a statement of its own; a short one may be compiled when it does.
        """
        if self._is_row:
            return BoundProjection(
                self, [partial(shaped.step, variables, viewer) for shaped in self._shaped], most_bytes
            )
        statements = [
            shaped.ready(variables, viewer) or await shaped.bound(variables, viewer, side) for shaped in self._shaped
        ]
        return BoundProjection(self, [statement.step for statement in statements], most_bytes)

    async def answer(self, result: object, rows: Sequence[bytes | None], most_bytes: int) -> bytes:
        """The JSON of the whole result; TOO_LARGE as soon as it is longer than `most_bytes`."""
        measured = partial(_measured, most_bytes)
        if self.slots == [self.field] and isinstance(result, Model):
            return measured(rows[0] or b"[null]").strip()[1:-1]
        if self.slots == [self.field]:
            return measured(rows[0] or b"[]")
        records = {
            slot: iter(orjson.loads(slot_rows or b"[]")) for slot, slot_rows in zip(self.slots, rows, strict=True)
        }
        if not isinstance(result, list):
            return measured(orjson.dumps(_spliced(result, self.field, records)))
        parts, size = [], 0
        async for element in paced(result):
            part = measured(orjson.dumps(_spliced(element, self.field, records)), size)
            parts.append(part)
            size += len(part) + 1
        return b"[" + b",".join(parts) + b"]"


class BoundProjection:
    """A `crm.db.unit_of_work.Projection`: the selection together with the request's variables."""

    def __init__(
        self, projection: MutationProjection, steps: Sequence[Callable[[Sequence[object]], Step]], most_bytes: int
    ) -> None:
        self._projection = projection
        self._steps = steps
        self._most_bytes = most_bytes

    @property
    def row(self) -> str | None:
        """SQL over the one `written` row, if the selection needs nothing else."""
        return self._projection.row

    def steps(self, result: object) -> Sequence[Step]:
        """One statement for each place where records stand in the result."""
        steps = []
        for slot, step in zip(self._projection.slots, self._steps, strict=True):
            ids = [record.__dict__["id"] for record in _records(result, self._projection.field, slot)]
            steps.append(step([ids]))
        return steps

    async def answer(self, result: object, rows: Sequence[bytes | None]) -> bytes:
        """The JSON of the whole result."""
        return await self._projection.answer(result, rows, self._most_bytes)


def _measured(most: int, part: bytes, before: int = 0) -> bytes:
    """A part of an answer, which must not be too long with what comes before it."""
    if before + len(part) > most:
        message = "The answer is longer than is allowed. Ask for fewer records or fields, or by several operations."
        raise errors.TooLarge(message, what="bytes", limit=most)
    return part


def _slots(field: Selected) -> "list[Selected]":
    """The outermost fields of a selection whose values are records."""
    if field.kind is None:
        return []
    if field.kind.model is not None:
        return [field]
    return [slot for child in field.children for slot in _slots(child)]


def _records(result: Any, field: Selected, slot: Selected) -> list[Any]:
    """The records in a result that stand at a slot, in order."""
    if result is None:
        return []
    if isinstance(result, list):
        return [record for element in result for record in _records(element, field, slot)]
    if field is slot:
        return [result]
    return [
        record
        for child in field.children
        if child.shape is not None and child.kind is not None and (child is slot or slot in _slots(child))
        for record in _records(getattr(result, child.shape.python_name), child, slot)
    ]


def _spliced(result: Any, field: Selected, rows: Mapping[Selected, Any]) -> Any:
    """A plain result as JSON, with the records' JSON where they stand."""
    if result is None:
        return None
    if isinstance(result, list):
        return [_spliced(element, field, rows) for element in result]
    if field in rows:
        return next(rows[field])
    if isinstance(result, Enum):
        return result.name
    if is_dataclass(result) and field.kind is not None:
        result_type: Any = type(result)
        known = _names(result_type)
        return {
            child.key: field.kind.name
            if child.shape is None
            else _spliced(getattr(result, child.shape.python_name), child, rows)
            for child in field.children
            if child.shape is None or child.shape.python_name in known
        }
    return f"{result:f}" if isinstance(result, Decimal) else result


@cache
def _names(kind: Any) -> frozenset[str]:
    """The names of a plain result's fields and properties."""
    members = (item for base in kind.__mro__ for item in vars(base).items())
    properties = (name for name, member in members if isinstance(member, property))
    return frozenset({*(member.name for member in fields(kind)), *properties})


def _by_ids(slot: Selected) -> Any:
    assert slot.kind is not None
    assert slot.kind.model is not None
    model, name, children = slot.kind.model, slot.kind.name, slot.children

    def build(compiler: Compiler) -> list[Any]:
        key = model.__table__.c.id
        ids = bindparam("v0", type_=ARRAY(key.type), required=True)
        statement: Select[Any] = with_deleted(select(model).where(key == func.any(ids))).order_by(
            func.array_position(ids, key)
        )
        rows = statement.subquery("q0")
        return [compiler.listed(children, name, rows)]

    return build


def _row(field: Selected) -> str | None:
    """The selection as SQL over a relation `written`, if it needs nothing but that one row."""
    kind = field.kind
    if kind is None or kind.model is None or (field.shape is not None and field.shape.many):
        return None
    if any(child.shape is not None and child.shape.kind not in ("column", "computed") for child in field.children):
        return None
    written = table("written", *(column(mapped.name, mapped.type) for mapped in kind.model.__table__.c))
    for child in field.children:
        if child.shape is not None and child.shape.kind == "computed":
            assert child.shape.declaration is not None
            expression = child.shape.declaration.function(written.c)
            if any(isinstance(element, Select) for element in visitors.iterate(expression)):
                return None
    record = Compiler({}).record(field.children, kind.name, written)
    return str(record.compile(dialect=DIALECT, compile_kwargs={"literal_binds": True}))
