"""Statements rendered as SQL, with each model's policy wherever the model stands in a FROM."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Dialect,
    FromClause,
    Join,
    MetaData,
    Select,
    Table,
    exists,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql.psycopg import PGCompiler_psycopg, PGDialect_psycopg
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList, ClauseElement
from sqlalchemy.sql.operators import and_ as and_operator
from sqlalchemy.sql.operators import eq
from sqlalchemy.sql.selectable import FromClauseAlias, FromGrouping

from crm.core.model import POLICY, Model
from crm.core.policy import Policy


def with_deleted(statement: Select[Any]) -> Select[Any]:
    """Exempt a statement's own FROM (not its subqueries): for admins who ask, and for the results of writes."""
    return statement.execution_options(crm_with_deleted=True)


class _Guarded(PGCompiler_psycopg):
    """Adds the policies of the models in a SELECT's FROM while that SELECT is rendered.

    At that moment SQLAlchemy knows which tables are the SELECT's own and which belong to an enclosing one, and each
    SELECT of a statement, however deep, is rendered once: the work grows with the statement, and no SELECT is missed.
    """

    def _compose_select_body(
        self,
        text: str,
        statement: Select[Any],
        state: object,
        columns: Sequence[str],
        froms: Sequence[FromClause],
        *rest: object,
    ) -> str:
        guarded = _guarded(statement, froms)
        sql: str = super()._compose_select_body(text, guarded, state, columns, froms, *rest)  # type: ignore[no-untyped-call]
        return sql


class _ConstantsInline(_Guarded):
    """Renders constants of expressions as part of the text, so that PostgreSQL's plans can use them; binds the rest."""

    def visit_bindparam(self, bindparam: Any, **options: Any) -> str:  # type: ignore[override]
        if not bindparam.required:
            options["literal_binds"] = True
        return super().visit_bindparam(bindparam, **options)  # type: ignore[no-any-return, no-untyped-call]


def _dialect(compiler: type[PGCompiler_psycopg]) -> Dialect:
    dialect = PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
    dialect.statement_compiler = compiler
    return dialect


_GUARDED: Final = _dialect(_Guarded)
_GUARDED_INLINE: Final = _dialect(_ConstantsInline)


def compiled(statement: ClauseElement, *, constants_inline: bool = False) -> SQLCompiler:
    """The statement as SQL with every model's policy in it, at any depth."""
    sql = statement.compile(dialect=_GUARDED_INLINE if constants_inline else _GUARDED)
    assert isinstance(sql, SQLCompiler)
    return sql


def _guarded(statement: Select[Any], froms: Sequence[FromClause]) -> Select[Any]:
    if statement.get_execution_options().get("crm_with_deleted"):
        return statement
    conditions = [
        condition
        for source in froms
        for table, optional in _tables(source)
        for condition in _conditions(table, statement, optional=optional)
    ]
    return statement.where(*conditions) if conditions else statement


def _tables(source: FromClause, *, optional: bool = False) -> Iterator[tuple[FromClause, bool]]:
    """The tables (or their aliases) in a FROM element; `optional` is the far side of an outer join."""
    if isinstance(source, FromGrouping):
        yield from _tables(source.element, optional=optional)
    elif isinstance(source, Join):
        yield from _tables(source.left, optional=optional or source.full)
        yield from _tables(source.right, optional=optional or source.isouter or source.full)
    elif _table(source) is not None:
        yield source, optional


def _table(source: Any) -> Table | None:
    """The table behind a FROM element or its alias; None for a subquery."""
    while isinstance(source, FromClauseAlias):
        source = source.element
    return source if isinstance(source, Table) else None


def _conditions(source: FromClause, statement: Select[Any], *, optional: bool) -> Iterator[ColumnElement[bool]]:
    table = _table(source)
    assert table is not None
    policy = _policy(table)
    conditions = list(_own_conditions(policy, source, statement))
    if conditions and optional:
        msg = f"{table.name}: join it from the other side, or as a scalar subquery; policies do not reach outer joins"
        raise TypeError(msg)
    yield from conditions


def _policy(table: Table) -> Policy:
    """The policy that the table's model names; a table without a model is closed."""
    policy = table.info.get(POLICY)
    if not isinstance(policy, Policy):
        msg = f"{table.name} belongs to no model with a policy"
        raise TypeError(msg)
    return policy


def _own_conditions(policy: Policy, source: FromClause, statement: Select[Any]) -> Iterator[ColumnElement[bool]]:
    if policy.exists is not None:
        yield policy.exists(source.c)
    scope = policy.within_scope(source.c)
    if scope is not None:
        yield scope
    if policy.belongs_to is not None and not _joined_to_owner(source, policy, statement):
        owner = _owners(policy.belongs_to)
        yield exists(select(literal_column("1")).where(owner.c.id == source.c[policy.by]).correlate(source))


@cache
def _owners(model: type[Model]) -> FromClause:
    """The alias of a parent model's table in conditions on its rows' visibility: the same everywhere."""
    return model.__table__.alias()


def _joined_to_owner(source: FromClause, policy: Policy, statement: Select[Any]) -> bool:
    """Whether the statement already joins the row with its parent row, whose policy then is in the statement."""
    assert policy.belongs_to is not None
    key = policy.belongs_to.__table__.c.id
    reference = source.c[policy.by]
    for condition in _all_of(statement.whereclause):
        if isinstance(condition, BinaryExpression) and condition.operator is eq:
            sides = [condition.left, condition.right]
            for side, opposite in (sides, sides[::-1]):
                if _same(side, reference) and key in getattr(opposite, "base_columns", ()):
                    return True
    return False


def _same(expression: Any, column: ColumnElement[Any]) -> bool:
    return (
        getattr(expression, "table", None) is not None
        and expression.table is column.table
        and expression.key == column.key
    )


def _all_of(condition: ColumnElement[bool] | None) -> Iterator[ColumnElement[bool]]:
    if isinstance(condition, BooleanClauseList) and condition.operator is and_operator:
        for clause in condition.clauses:
            yield from _all_of(clause)
    elif condition is not None:
        yield condition


def _check_compiler() -> None:
    """Fail at import if SQLAlchemy renders a SELECT in a way that the policies do not reach."""
    closed = Table("closed", MetaData(), Column("open", Boolean()), info={POLICY: Policy(exists=lambda row: row.open)})
    if "WHERE" not in str(compiled(select(closed))):
        msg = "SQLAlchemy renders a SELECT in another way than before: `_Guarded` does not reach it"
        raise RuntimeError(msg)


_check_compiler()
