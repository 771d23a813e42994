"""Which rows exist for a viewer: one policy per model, added to finished statements wherever the model stands."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import (
    Alias,
    Boolean,
    ColumnElement,
    FromClause,
    Join,
    Select,
    Subquery,
    Table,
    Uuid,
    bindparam,
    exists,
    or_,
    select,
)
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList, ClauseElement
from sqlalchemy.sql.operators import and_ as and_operator
from sqlalchemy.sql.operators import eq

from crm.core.identity import Role, Viewer
from crm.core.model import Model

S = TypeVar("S", bound=ClauseElement)


@dataclass(frozen=True)
class Policy:
    """A row shows when its own predicate holds and the row it belongs to shows."""

    own: Callable[[Any], ColumnElement[bool]] | None = None
    belongs_to: type[Model] | None = None
    by: str = ""
    # The column with the id of the user whose row it is: others do not see it, admins do.
    owner: str = ""
    admins_only: bool = False


# What stands in a statement for who is asking; whoever runs it binds these.
VIEWER: Final = "viewer"
VIEWER_IS_ADMIN: Final = "viewer_is_admin"
_POLICIES: Final[dict[str, tuple[Table, Policy]]] = {}


def policy(  # noqa: PLR0913  (all but the model are alternatives)
    model: type[Model],
    *,
    own: Callable[[Any], ColumnElement[bool]] | None = None,
    belongs_to: type[Model] | None = None,
    by: str = "",
    owner: str = "",
    admins_only: bool = False,
) -> None:
    """Declare a model's policy; `by` is the column that points at the row it belongs to, `owner` at the user."""
    table = model.__table__
    assert isinstance(table, Table)
    _POLICIES[table.name] = (table, Policy(own, belongs_to, by, owner, admins_only))


def viewer_values(viewer: Viewer) -> dict[str, object]:
    """What stands for who is asking, and its values."""
    return {VIEWER: viewer.id, VIEWER_IS_ADMIN: viewer.role is Role.ADMIN}


def is_personal(model: type[Model]) -> bool:
    """Whether who sees a model's rows depends on more than their role."""
    found = _POLICIES.get(model.__tablename__)
    if found is None:
        return False
    rule = found[1]
    return bool(rule.owner) or (rule.belongs_to is not None and is_personal(rule.belongs_to))


def with_deleted(statement: Select[Any]) -> Select[Any]:
    """Exempt a statement's own FROM (not its subqueries): for admins who ask, and for what a write returns."""
    return statement.execution_options(crm_with_deleted=True)


def visible(statement: S, outer: FromClause | None = None) -> S:
    """The statement with every model's policy in it, at any depth.

    `outer` is what the statement is correlated to: finished already, so left alone.
    """
    found: S = _visible(statement, frozenset(), outer)
    return found


def _visible(statement: Any, enclosing: frozenset[FromClause], outer: FromClause | None = None) -> Any:
    inside = enclosing
    if isinstance(statement, Select):
        inside = enclosing | {table for final in statement.get_final_froms() for table, _ in _tables(final)}

    def inner(element: Any, **_: object) -> Any:
        if outer is not None and (element is outer or getattr(element, "table", None) is outer):
            return element
        if isinstance(element, Subquery):
            _refuse_same_table(element, inside)
        if element is not statement and isinstance(element, Select):
            return _visible(element, inside, outer)
        return None

    statement = visitors.replacement_traverse(statement, {}, inner)
    return _guarded(statement, enclosing) if isinstance(statement, Select) else statement


def _refuse_same_table(source: Subquery, enclosing: frozenset[FromClause]) -> None:
    """A table in FROM and again in a FROM-subquery cannot be told from a correlated one: it has to be an alias."""
    inner = source.element
    if not isinstance(inner, Select):
        return
    correlated = set(inner._correlate or ())  # noqa: SLF001  (no public way to read it)
    tables = {table for final in inner.get_final_froms() for table, _ in _tables(final)}
    for table in (tables & enclosing) - correlated:
        msg = f"{table}: use an alias in the subquery; its policy could not be told from the enclosing one's"
        raise TypeError(msg)


def _guarded(statement: Select[Any], enclosing: frozenset[FromClause]) -> Select[Any]:
    if statement.get_execution_options().get("crm_with_deleted"):
        return statement
    conditions = [
        condition
        for final in statement.get_final_froms()
        for table, optional in _tables(final)
        if table not in enclosing
        for condition in _conditions(table, statement, optional=optional)
    ]
    return statement.where(*conditions) if conditions else statement


def _tables(source: FromClause, *, optional: bool = False) -> Iterator[tuple[FromClause, bool]]:
    """The tables (or their aliases) in a FROM element; `optional` is the far side of an outer join."""
    if isinstance(source, Join):
        yield from _tables(source.left, optional=optional)
        yield from _tables(source.right, optional=optional or source.isouter)
    elif isinstance(source, Table) or (isinstance(source, Alias) and isinstance(source.element, Table)):
        yield source, optional


def _conditions(source: FromClause, statement: Select[Any], *, optional: bool) -> Iterator[ColumnElement[bool]]:
    table = source.element if isinstance(source, Alias) else source
    assert isinstance(table, Table)
    found = _POLICIES.get(table.name)
    if found is None:
        return
    if optional:
        msg = f"{table.name}: join it from the other side, or as a scalar subquery; policies do not reach outer joins"
        raise TypeError(msg)
    _, rule = found
    if rule.own is not None:
        yield rule.own(source.c)
    admin = bindparam(VIEWER_IS_ADMIN, type_=Boolean(), required=True)
    if rule.admins_only:
        yield admin
    if rule.owner:
        yield or_(source.c[rule.owner] == bindparam(VIEWER, type_=Uuid(), required=True), admin)
    if rule.belongs_to is not None and not _joined_to_owner(source, rule, statement):
        owner = rule.belongs_to.__table__.alias()
        yield exists(
            _visible(
                select(1).where(owner.c.id == source.c[rule.by]).correlate(source),
                frozenset({source}),
            )
        )


def _joined_to_owner(source: FromClause, rule: Policy, statement: Select[Any]) -> bool:
    """Whether the statement already ties the row to its owner, whose own policy stands where the owner does."""
    assert rule.belongs_to is not None
    key = rule.belongs_to.__table__.c.id
    reference = source.c[rule.by]
    for condition in _all_of(statement.whereclause):
        if isinstance(condition, BinaryExpression) and condition.operator is eq:
            sides = [condition.left, condition.right]
            for one, other in (sides, sides[::-1]):
                if _same(one, reference) and key in getattr(other, "base_columns", ()):
                    return True
    return False


def _same(one: Any, other: ColumnElement[Any]) -> bool:
    return getattr(one, "table", None) is not None and one.table is other.table and one.key == other.key


def _all_of(condition: ColumnElement[bool] | None) -> Iterator[ColumnElement[bool]]:
    if isinstance(condition, BooleanClauseList) and condition.operator is and_operator:
        for clause in condition.clauses:
            yield from _all_of(clause)
    elif condition is not None:
        yield condition
