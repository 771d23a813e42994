"""The SQL of changes: a row and its event in one statement, made once for each combination of columns.

The names are the models' own; values are bound.
"""

# ruff: noqa: S608

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Table, select

from crm.core.api_json import DIALECT, camel, json_value, sql_text
from crm.core.bounded import BoundedDict
from crm.core.identity import Origin, Via, Viewer
from crm.core.model import Model
from crm.db.statement import Params, Statement, encode
from crm.db.visibility import compiled

Step = tuple[Statement, Params]
_MAX_STATEMENTS: Final = 2000
# Set by the unit of work; never part of an event.
_KEPT: Final = frozenset({"version", "updated_at"})
# The number of the first parameter after the actor and the request.
_FIRST: Final = 3


@dataclass(slots=True)
class RowChange:
    """A row to insert, update or delete."""

    kind: str
    instance: Model
    values: dict[str, Any]
    within: type[Model] | None = None


@dataclass(frozen=True, slots=True)
class Returned:
    """The last parts of a change's statement: the way by which it came, and the SQL that it returns."""

    via: Via
    row: str | None


_statements: BoundedDict[tuple[object, ...], Statement] = BoundedDict(_MAX_STATEMENTS)


def step_of(change: RowChange, viewer: Viewer, origin: Origin, row: str | None) -> Step:
    """The statement of a change and its parameters; it returns `row` if that SQL is given, else all columns."""
    model = type(change.instance)
    names = tuple(change.values)
    key = (change.kind, model, names, change.within, origin.via, row)
    statement = _statements.get(key)
    if statement is None:
        returned = Returned(origin.via, row)
        statement = _statements[key] = Statement(_TEXTS[change.kind](model, names, change.within, returned))
    values: list[object] = [viewer.id, origin.request_id, *change.values.values()]
    if change.kind != "insert":
        values.append(change.instance.__dict__["id"])
    return statement, [encode(value) for value in values]


def statement_of(text: str) -> Statement:
    """The statement of a text, the same object each time, so that it is prepared on its second use."""
    key = ("select", text)
    statement = _statements.get(key)
    if statement is None:
        statement = _statements[key] = Statement(text)
    return statement


def _insert(
    model: type[Model],
    names: tuple[str, ...],
    within: type[Model] | None,
    returned: Returned,
) -> str:
    table = model.__table__
    values = ", ".join(_parameter(table, name, number) for number, name in enumerate(names, _FIRST))
    source = f"VALUES ({values})"
    if within is not None:
        number = names.index(reference_to(model, within)) + _FIRST
        living = compiled(select(within.__table__.c.id))
        key = f"{within.__table__.name}.id = {_parameter(table, reference_to(model, within), number)}"
        source = f"SELECT {values} WHERE EXISTS ({living}{' AND ' if 'WHERE' in str(living) else ' WHERE '}{key})"
    logged = [name for name in names if name not in _unlogged(model) and not table.c[name].identity]
    fields = [_field(table, name, before=False, after=True) for name in logged]
    return _written(
        model,
        f"INSERT INTO {table.name} ({', '.join(names)}) {source} RETURNING *",
        fields,
        f"{model.entity}.created",
        returned,
    )


def _update(model: type[Model], names: tuple[str, ...], _within: type[Model] | None, returned: Returned) -> str:
    table = model.__table__
    sets = [f"{name} = {_parameter(table, name, number)}" for number, name in enumerate(names, _FIRST)]
    if "version" in table.c and not model.derived.issuperset(names):
        sets += ["version = version + 1", "updated_at = now()"]
    key = _parameter(table, "id", len(names) + _FIRST)
    fields = [_field(table, name, before=True, after=True) for name in names if name not in _KEPT | _unlogged(model)]
    update = f"UPDATE {table.name} SET {', '.join(sets)} WHERE id = {key} RETURNING *"
    old = f"SELECT * FROM {table.name} WHERE id = {key}"
    verb = "updated"
    if "deleted_at" in names:
        verb = "' || CASE WHEN written.deleted_at IS NULL THEN 'restored' ELSE 'deleted' END || '"
    event = None if model.internal.issuperset(names) else f"{model.entity}.{verb}"
    return _written(model, update, fields, event, returned, old=old)


def _delete(model: type[Model], _names: tuple[str, ...], _within: type[Model] | None, returned: Returned) -> str:
    table = model.__table__
    logged = [column.name for column in table.c if column.name not in _KEPT | _unlogged(model)]
    fields = [_field(table, name, before=True, after=False) for name in logged]
    delete = f"DELETE FROM {table.name} WHERE id = {_parameter(table, 'id', _FIRST)} RETURNING *"
    old = f"SELECT * FROM {table.name} WHERE id = {_parameter(table, 'id', _FIRST)}"
    return _written(model, delete, fields, f"{model.entity}.deleted", returned, old=old)


_TEXTS: Final = {"insert": _insert, "update": _update, "delete": _delete}


def _written(  # noqa: PLR0913, PLR0917
    model: type[Model],
    change: str,
    fields: list[str],
    event: str | None,
    returned: Returned,
    old: str | None = None,
) -> str:
    """SQL of a change together with its event, which returns the row as it is after the change."""
    parts = [f"written AS ({change})"]
    if old is not None:
        parts.insert(0, f"old AS ({old})")
    if model.entity is None or event is None:
        parts.append("actor AS (SELECT $1::uuid, $2::text)")  # no event has them, but parameters need types
    else:
        lead = f"written.{model.timeline}" if model.timeline else "NULL::integer"
        version = "written.version" if "version" in model.__table__.c else "NULL::integer"
        source = "written" if old is None else "written, old"
        parts.append(
            "logged AS (INSERT INTO events "
            "(type, entity, entity_id, lead_id, actor_id, via, request_id, version, fields) "
            f"SELECT '{event}', '{model.entity}', written.id::text, {lead}, $1::uuid, '{returned.via}', $2::text, "
            f"{version}, jsonb_build_array({', '.join(fields)}) FROM {source})"
        )
    return f"WITH {', '.join(parts)} SELECT {returned.row or '*'} FROM written"


def _unlogged(model: type[Model]) -> frozenset[str]:
    return model.unlogged | model.internal


def _field(table: Table, name: str, *, before: bool, after: bool) -> str:
    old = logged_value(table, name, "old") if before else "NULL"
    new = logged_value(table, name, "written") if after else "NULL"
    return f"jsonb_build_object('name', '{camel(name)}', 'before', {old}, 'after', {new})"


def logged_value(table: Table, name: str, alias: str) -> str:
    """SQL of a column's value as events have it, of a row with this alias."""
    return sql_text(json_value(table.c[name])).replace(f"{table.name}.", f"{alias}.")


def _parameter(table: Table, name: str, number: int) -> str:
    return f"${number}::{table.c[name].type.compile(dialect=DIALECT)}"


def reference_to(model: type[Model], owner: type[Model]) -> str:
    """The column of `model` that points at `owner`."""
    target = owner.__table__
    return next(key.parent.name for key in model.__table__.foreign_keys if key.column.table is target)
