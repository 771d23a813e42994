"""A statement that counts the rows and bytes that it gathers against the operation's budget.

A list becomes a LATERAL subquery beside the row that it belongs to, with three columns: its JSON, and the totals of
rows and bytes of that row with this list and the lists before it. An aggregate beside the list's own adds them up, row
by row, and raises an error at the row that exceeds the budget. So never more than the budget is gathered for each level
of lists. (Window functions could count too, but they keep their input: once it is longer than `work_mem` they read all
of it before they return a row.)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, ClassVar, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    and_,
    case,
    cast,
    func,
    literal_column,
    select,
)

from crm.core import errors
from crm.graph.compile.allotment import LONG_ROW, AnswerBudget, is_list, is_one_of, is_record, long_texts, longest
from crm.graph.compile.json_sql import has_long_key, text_object
from crm.graph.compile.selection import Selected
from crm.graph.compile.sql import EMPTY, BoundArguments, Compiler, shows_rows, too_many

_TRUE: Final[ColumnElement[Any]] = literal_column("true")
_ZERO: Final[ColumnElement[int]] = literal_column("0", Integer)
_ONE: Final[ColumnElement[int]] = literal_column("1", Integer)
_NUMBER: Final = "__n"

Pair = tuple[ColumnElement[Any], ColumnElement[Any]]


@dataclass(frozen=True)
class Totals:
    """The totals of a row before a list; `beside` are the lists that they are columns of."""

    rows: ColumnElement[Any] = _ZERO
    bytes: ColumnElement[Any] = _ZERO
    beside: tuple[FromClause, ...] = ()

    def after(self, beside: Any, *, optional: bool) -> "Totals":
        """The totals after one more list or record; unchanged by an `optional` record that does not exist."""
        if not optional:
            return Totals(beside.c.n, beside.c.b, (beside,))
        rows, size = func.coalesce(beside.c.n, self.rows), func.coalesce(beside.c.b, self.bytes)
        return Totals(rows, size, (*self.beside, beside))


class CountingCompiler(Compiler):
    """Compiles root fields into a statement that counts; one instance per statement."""

    def __init__(self, arguments: Mapping[Selected, BoundArguments], budget: AnswerBudget) -> None:
        super().__init__(arguments)
        self._budget = budget
        # The LATERAL subqueries beside each row (None: the roots), and whether each is optional.
        self._beside: dict[FromClause | None, list[tuple[Any, bool]]] = {}
        self._totals: dict[FromClause | None, Totals] = {}
        self._pages: dict[Selected, FromClause] = {}
        self._depth = 0

    def roots(self, fields: Sequence[Selected]) -> list[ColumnElement[Any]]:
        """Count first the records outside lists: their number does not depend on the data."""
        fixed = sum(map(_fixed, fields))
        if fixed > self._budget.rows:
            message = (
                f"The operation returns up to {fixed:,} records beside its lists; at most {self._budget.rows:,} are "
                "allowed. Select fewer."
            )
            raise errors.TooComplex(message, what="rows", limit=self._budget.rows)
        self._totals[None] = Totals(rows=_number(fixed))
        return super().roots(fields)

    def whole(self, columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
        """The statement of some roots; each adds to the totals of the root before it."""
        statement = super().whole(columns)
        roots = self._beside.get(None, [])
        return statement.select_from(_joined(select(_ONE).subquery("once"), roots)) if roots else statement

    def source(self, rows: FromClause) -> FromClause:
        """The rows, joined with their lists."""
        return _joined(rows, self._beside.get(rows, []))

    def listed(self, children: Sequence[Selected], type_name: str, rows: FromClause) -> ColumnElement[Any]:
        """All rows as one JSON array."""
        lines = self._rows(children, type_name, rows)
        totals = self._added(lines.c.n, [lines.c.j], Totals(), type_name)
        return select(_counted(func.json_agg(lines.c.j), totals)).select_from(lines).scalar_subquery()

    def _within(self, rows: FromClause) -> tuple[FromClause, ...]:
        return (rows, *(lateral for lateral, _ in self._beside.get(rows, [])))

    def _edge(self, field: Selected, row: Any, outer: FromClause | None) -> ColumnElement[Any]:
        assert field.shape is not None
        if field.shape.kind == "any" or not any(is_list(inner) for inner in field.walk()):
            return super()._edge(field, row, outer)
        start = self._totals.get(outer, Totals())
        self._depth += is_list(field)
        counted = self._MADE[field.shape.kind](self, field, self._statement_of(field, row, outer), start)
        self._depth -= is_list(field)
        lateral = (counted.correlate(*start.beside) if start.beside else counted).lateral(self._name("l"))
        optional = is_record(field)
        self._beside.setdefault(outer, []).append((lateral, optional))
        self._totals[outer] = start.after(lateral, optional=optional)
        value: ColumnElement[Any] = lateral.c.j
        return value

    def _record_counted(self, field: Selected, statement: Any, start: Totals) -> Any:
        """A record whose lists have been counted: none of them is copied once more to be measured."""
        rows = statement.subquery(self._name("q"))
        shown, source = self._made(field.children, _type(field), rows, func.row_to_json)
        within = self._totals[rows]
        totals = start.rows + self.length(field.children, rows), start.bytes + within.bytes
        value = case((self._within_budget(totals, field.key), shown))
        return select(value.label("j"), *_labelled(totals)).select_from(source)

    def _list_counted(self, field: Selected, statement: Any, start: Totals) -> Any:
        arguments = self._arguments[field]
        limited = self._limited(
            statement, arguments, longest(field) + 1 if arguments.limit is None else arguments.limit
        )
        texts = long_texts(field, self._budget)
        if texts is not None:
            return self._list_measured(field, limited, start, texts)
        lines = self._rows(field.children, _type(field), limited)
        totals = self._added(lines.c.n, [lines.c.j], start, field.key)
        value = self._list_value(field, func.json_agg(lines.c.j))
        return select(_counted(value, totals).label("j"), *_labelled(totals)).select_from(lines)

    def _list_measured(self, field: Selected, rows: FromClause, start: Totals, texts: Sequence[Selected]) -> Any:
        """A list whose rows are known to be short, but for their lists and these texts: only these are added up."""
        listed, source = self._made(field.children, _type(field), rows, func.json_agg, func.json_agg)
        beside = [lateral for lateral, _ in self._beside.get(rows, [])]
        count = func.count() * self.length(field.children, rows)
        if beside:
            count = self._added_rows(self.length(field.children, rows), start, field.key)
        totals = start.rows + count, start.bytes + func.coalesce(func.pg_column_size(listed), _ZERO)
        value = case((self._within_budget(totals, field.key), self._list_value(field, listed)))
        names = [text.shape.python_name for text in texts if text.shape is not None]
        parts = [
            *(func.octet_length(rows.c[name]) for name in names),
            *(func.pg_column_size(lateral.c.j) for lateral in beside),
        ]
        if parts:
            added = self._added_bytes(parts, start, field.key).filter(_sum(parts) > _number(LONG_ROW))
            value = case((func.coalesce(added, _ZERO) >= _ZERO, value))
        return select(value.label("j"), *_labelled(totals)).select_from(source)

    def _each_counted(self, field: Selected, statement: Any, start: Totals) -> Any:
        keys = statement.subquery(self._name("q"))
        value, length = self._value(field.children[0], "", keys), self.length(field.children, keys)
        made = select(value.label("j"), length.label("n")).select_from(self.source(keys))
        lines = made.offset(_ZERO).subquery(self._name("g"))
        totals = self._added(lines.c.n, [lines.c.j], start, field.key)
        listed = func.coalesce(func.json_agg(lines.c.j), EMPTY)
        return select(_counted(listed, totals).label("j"), *_labelled(totals)).select_from(lines)

    def _within_budget(self, totals: Pair, place: str) -> ColumnElement[bool]:
        """SQL that is true within the budget and raises an error beyond it."""
        (rows, size), most_rows, most_bytes = totals, self._most_rows, self._most_bytes
        too_many = func.crm_add_rows(rows, _ZERO, most_rows, most_rows, self._too_many_rows(place))
        too_large = func.crm_add_bytes(size, _ZERO, most_bytes, most_bytes, self._too_large(place))
        condition: ColumnElement[bool] = case(
            (rows > most_rows, too_many < _ZERO), (size > most_bytes, too_large < _ZERO), else_=_TRUE
        )
        return condition

    def _list_value(self, field: Selected, listed: ColumnElement[Any]) -> ColumnElement[Any]:
        value: ColumnElement[Any] = func.coalesce(listed, EMPTY)
        if self._arguments[field].limit is not None:
            return value
        return case((func.count() > _number(longest(field)), too_many(field)), else_=value)

    def _page_counted(self, field: Selected, statement: Any, start: Totals) -> Any:
        page: Any = self._connection(field, statement, self._arguments[field])
        value, page_rows = page.selected_columns[0], self._pages[field]
        if not shows_rows(field):
            return page.with_only_columns(value.label("j"), *_labelled((start.rows, start.bytes)))
        parts = [column for column in page_rows.c if column.key not in (_NUMBER, "__cursor", "n")]
        # An aggregate's argument must be of these rows, or PostgreSQL takes it for an aggregate of the outer query. The
        # extra row that tells whether more follow is not part of the answer.
        number, paging = page_rows.c[_NUMBER], self._arguments[field].paging
        assert paging is not None
        size = case((number <= paging.size, _sum(list(map(func.pg_column_size, parts)))), else_=_ZERO)
        sizes = [number * _ZERO, size]
        totals = (
            start.rows + self._added_rows(page_rows.c.n, start, field.key),
            start.bytes + self._added_bytes(sizes, start, field.key),
        )
        return page.with_only_columns(_counted(value, totals).label("j"), *_labelled(totals))

    def _page(self, field: Selected, rows: FromClause) -> FromClause:
        """The rows of a page, in the order of the answer: aggregates that sort would first read all of them."""
        paging = self._arguments[field].paging
        assert paging is not None
        numbered = select(*rows.c, func.row_number().over().label(_NUMBER)).select_from(rows)
        placed = numbered.subquery(self._name("q"))
        if paging.backwards:
            placed = select(*placed.c).order_by(placed.c[_NUMBER].desc()).subquery(self._name("q"))
        number = placed.c[_NUMBER]
        _, *columns = self._page_columns(field, placed)
        # The extra row that tells whether more follow is not part of the page.
        length = case((number <= paging.size, self.length(field.children, placed)), else_=_ZERO).label("n")
        page = select(number, *columns, length).select_from(self.source(placed)).offset(_ZERO)
        self._pages[field] = page.subquery(self._name("p"))
        return self._pages[field]

    def _ends(self, cursor: Any, order: Any, reverse: Any, within: Any) -> Sequence[ColumnElement[Any]]:  # noqa: ARG002
        listed = func.array_agg(cursor).filter(within)
        return [listed[1], listed[func.cardinality(listed)]]

    def _in_order(self, value: ColumnElement[Any], _: ColumnElement[Any]) -> ColumnElement[Any]:
        return value

    def _rows(self, children: Sequence[Selected], type_name: str, rows: FromClause) -> FromClause:
        """Each row as JSON, with its total of rows. OFFSET 0: computed once, though it is used twice."""
        row_json, source = self._made(children, type_name, rows, func.row_to_json)
        length = self.length(children, rows).label("n")
        return select(row_json.label("j"), length).select_from(source).offset(_ZERO).subquery(self._name("g"))

    def _made(
        self,
        children: Sequence[Selected],
        type_name: str,
        rows: FromClause,
        of_composite: Callable[..., Any],
        of_json: Callable[..., Any] = lambda found: found,
    ) -> tuple[Any, FromClause]:
        """A function's value for a row (a composite, or JSON where a key is long), and the FROM clause for it."""
        fields = [(child.key, self._value(child, type_name, rows)) for child in children]
        source = self.source(rows)
        if not fields or has_long_key(fields):
            return of_json(text_object(fields)), source
        labelled = select(*(value.label(key) for key, value in fields)).correlate(*self._within(rows))
        whole = labelled.lateral(self._name("r"))
        return of_composite(literal_column(f"{whole.name}.*")), source.join(whole, _TRUE)

    def length(self, children: Sequence[Selected], rows: FromClause) -> ColumnElement[int]:
        """The number of rows of a row with all rows below it."""
        fixed = _number(1 + sum(map(_fixed, children)))
        return fixed + self._totals[rows].rows if rows in self._totals else fixed

    def _added(self, rows: Any, parts: Sequence[Any], start: Totals, place: str) -> Pair:
        """The totals with the rows of a list added."""
        sizes = [func.pg_column_size(part) for part in parts]
        return start.rows + self._added_rows(rows, start, place), start.bytes + self._added_bytes(sizes, start, place)

    def _added_rows(self, rows: Any, start: Totals, place: str) -> Any:
        most = self._most_rows
        return func.crm_count_rows(rows, most - start.rows, most, self._too_many_rows(place))

    def _added_bytes(self, sizes: Sequence[Any], start: Totals, place: str) -> Any:
        most = self._most_bytes
        return func.crm_count_bytes(_sum(sizes), most - start.bytes, most, self._too_large(place))

    @property
    def _most_rows(self) -> ColumnElement[int]:
        return _number(self._budget.rows)

    @property
    def _most_bytes(self) -> ColumnElement[int]:
        return _number(self._budget.bytes // max(1, self._depth))

    def _too_many_rows(self, place: str) -> ColumnElement[str]:
        return _too_many_rows(self._budget, place)

    def _too_large(self, place: str) -> ColumnElement[str]:
        return _too_large(self._budget, place, max(1, self._depth))

    _MADE: ClassVar[Mapping[str, Callable[..., Any]]] = {
        "one": _record_counted,
        "pulse": _record_counted,
        "many": _list_counted,
        "each": _each_counted,
        "connection": _page_counted,
    }


def batch_fits(projected: FromClause, budget: AnswerBudget, place: str) -> ColumnElement[bool]:
    """SQL that is true if the rows (`shown`, each with `n` rows in total) are within a budget, or raises an error.

    The rows of a CTE are gathered as they are added up: none after the row that exceeds the budget.
    """
    most_rows, most_bytes = _number(budget.rows), _number(budget.bytes)
    rows = func.crm_count_rows(projected.c.n, most_rows, most_rows, _too_many_rows(budget, place))
    sizes = _sum([func.pg_column_size(projected.c.shown)])
    size = func.crm_count_bytes(sizes, most_bytes, most_bytes, _too_large(budget, place))
    return select(and_(rows >= _ZERO, size >= _ZERO)).select_from(projected).scalar_subquery()


def _too_many_rows(budget: AnswerBudget, place: str) -> ColumnElement[str]:
    return literal_column(
        f"'The operation returns more than {budget.rows:,} rows; they ran out in `{place}`. "
        "Pass smaller limits, or select fewer lists inside lists.'"
    )


def _too_large(budget: AnswerBudget, place: str, depth: int = 1) -> ColumnElement[str]:
    """SQL of the error. Outer lists are gathered at the same time as inner ones, so the deeper, the fewer bytes."""
    what = "The answer" if depth == 1 else f"A list at level {depth}"
    return literal_column(
        f"'{what} has more than {budget.bytes // depth:,} bytes; they ran out in `{place}`. "
        "Ask for fewer rows, or for fewer long texts.'"
    )


def _joined(first: FromClause, others: Sequence[tuple[FromClause, bool]]) -> FromClause:
    for other, optional in others:
        first = first.join(other, _TRUE, isouter=optional)
    return first


def _counted(value: Any, totals: Pair) -> ColumnElement[Any]:
    """A value that depends on its totals: PostgreSQL does not compute totals that nothing uses."""
    rows, size = totals
    return case((and_(rows >= _ZERO, size >= _ZERO), value))


def _labelled(totals: Pair) -> Sequence[ColumnElement[int]]:
    return [cast(total, BigInteger).label(name) for name, total in zip(("n", "b"), totals, strict=True)]


def _sum(sizes: Sequence[Any]) -> ColumnElement[int]:
    return reduce(add, (func.coalesce(size, _ZERO) for size in sizes), _ZERO)


def _type(field: Selected) -> str:
    assert field.kind is not None
    return field.kind.name


def _number(value: int) -> ColumnElement[int]:
    return literal_column(str(value), BigInteger)


def _fixed(field: Selected) -> int:
    """The number of a field's rows outside lists, which does not depend on the data: one per record."""
    if is_list(field) or (is_record(field) and any(is_list(inner) for inner in field.walk())):
        return 0
    if is_one_of(field):
        return max(map(_fixed, field.children), default=0)
    return int(is_record(field)) + sum(map(_fixed, field.children))
