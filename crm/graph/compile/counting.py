"""A statement that counts: rows and bytes, as it gathers them, against the operation's budget.

A list becomes a LATERAL subquery beside the row that it belongs to, with three columns: its JSON, and how many rows
and bytes the row has come to with it and the lists before it. An aggregate beside the list's own adds them up, row by
row, and raises an error with the row that brings them beyond the budget. So no more is ever gathered than the budget
for each level of lists. (Window functions would tell the same, but keep what they look at: once it is longer than
`work_mem` they read it all before they give out a row.)
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
from crm.graph.compile.allotment import LONG_ROW, AnswerBudget, is_list, is_record, long_texts, longest
from crm.graph.compile.selection import Selected
from crm.graph.compile.sql import EMPTY, BoundArguments, Compiler, has_long_key, shows_rows, text_object, too_many

_TRUE: Final[ColumnElement[Any]] = literal_column("true")
_ZERO: Final[ColumnElement[int]] = literal_column("0", Integer)
_ONE: Final[ColumnElement[int]] = literal_column("1", Integer)
_NUMBER: Final = "__n"

Pair = tuple[ColumnElement[Any], ColumnElement[Any]]


@dataclass(frozen=True)
class Totals:
    """What a row has come to before a list; `beside` are the lists that say so."""

    rows: ColumnElement[Any] = _ZERO
    bytes: ColumnElement[Any] = _ZERO
    beside: tuple[FromClause, ...] = ()

    def after(self, beside: Any, *, optional: bool) -> "Totals":
        """What it has come to with one more; with a record that is not there, as much as before."""
        if not optional:
            return Totals(beside.c.n, beside.c.b, (beside,))
        rows, size = func.coalesce(beside.c.n, self.rows), func.coalesce(beside.c.b, self.bytes)
        return Totals(rows, size, (*self.beside, beside))


class CountingCompiler(Compiler):
    """Compiles root fields into a statement that counts; one instance a statement."""

    def __init__(self, given: Mapping[Selected, BoundArguments], budget: AnswerBudget) -> None:
        super().__init__(given)
        self._budget = budget
        # What hangs beside each row (None: beside no row, the roots), and whether it may be missing.
        self._beside: dict[FromClause | None, list[tuple[Any, bool]]] = {}
        self._totals: dict[FromClause | None, Totals] = {}
        self._pages: dict[Selected, FromClause] = {}
        self._depth = 0

    def roots(self, fields: Sequence[Selected]) -> list[ColumnElement[Any]]:
        """The records that come without a list are as many whatever the data: counted before all lists."""
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
        """The statement of some roots; each goes on counting where the one before it ended."""
        statement = super().whole(columns)
        roots = self._beside.get(None, [])
        return statement.select_from(_joined(select(_ONE).subquery("once"), roots)) if roots else statement

    def source(self, rows: FromClause) -> FromClause:
        """The rows, and beside each its lists."""
        return _joined(rows, self._beside.get(rows, []))

    def listed(self, children: Sequence[Selected], type_name: str, rows: FromClause) -> ColumnElement[Any]:
        """All rows as one JSON array."""
        found = self._rows(children, type_name, rows)
        totals = self._added(found.c.n, [found.c.j], Totals(), type_name)
        return select(_counted(func.json_agg(found.c.j), totals)).select_from(found).scalar_subquery()

    def _within(self, rows: FromClause) -> tuple[FromClause, ...]:
        return (rows, *(lateral for lateral, _ in self._beside.get(rows, [])))

    def _edge(self, field: Selected, row: Any, outer: FromClause | None) -> ColumnElement[Any]:
        if not any(is_list(one) for one in field.walk()):
            return super()._edge(field, row, outer)
        start = self._totals.get(outer, Totals())
        assert field.shape is not None
        self._depth += is_list(field)
        found = self._MADE[field.shape.kind](self, field, self._found(field, row, outer), start)
        self._depth -= is_list(field)
        lateral = (found.correlate(*start.beside) if start.beside else found).lateral(self._name("l"))
        optional = is_record(field)
        self._beside.setdefault(outer, []).append((lateral, optional))
        self._totals[outer] = start.after(lateral, optional=optional)
        value: ColumnElement[Any] = lateral.c.j
        return value

    def _record_counted(self, field: Selected, statement: Any, start: Totals) -> Any:
        """A record with lists, which have been counted: none of them is copied once more to be measured."""
        rows = statement.subquery(self._name("q"))
        shown, source = self._made(field.children, _type(field), rows, func.row_to_json)
        within = self._totals[rows]
        totals = start.rows + self.length(field.children, rows), start.bytes + within.bytes
        value = case((self._within_budget(totals, field.key), shown))
        return select(value.label("j"), *_labelled(totals)).select_from(source)

    def _list_counted(self, field: Selected, statement: Any, start: Totals) -> Any:
        given = self._given[field]
        limited = self._limited(statement, given, longest(field) + 1 if given.limit is None else given.limit)
        texts = long_texts(field, self._budget)
        if texts is not None:
            return self._list_measured(field, limited, start, texts)
        rows = self._rows(field.children, _type(field), limited)
        totals = self._added(rows.c.n, [rows.c.j], start, field.key)
        value = self._list_value(field, func.json_agg(rows.c.j))
        return select(_counted(value, totals).label("j"), *_labelled(totals)).select_from(rows)

    def _list_measured(self, field: Selected, rows: FromClause, start: Totals, texts: Sequence[Selected]) -> Any:
        """A list whose rows can be told to be short, but for their lists and these texts: these alone are added up."""
        listed, source = self._made(field.children, _type(field), rows, func.json_agg, func.json_agg)
        beside = [lateral for lateral, _ in self._beside.get(rows, [])]
        count = func.count() * self.length(field.children, rows)
        if beside:
            count = self._added_rows(self.length(field.children, rows), start, field.key)
        totals = start.rows + count, start.bytes + func.coalesce(func.pg_column_size(listed), _ZERO)
        value = case((self._within_budget(totals, field.key), self._list_value(field, listed)))
        names = [one.shape.python_name for one in texts if one.shape is not None]
        parts = [
            *(func.octet_length(rows.c[name]) for name in names),
            *(func.pg_column_size(one.c.j) for one in beside),
        ]
        if parts:
            added = self._added_bytes(parts, start, field.key).filter(_sum(parts) > _number(LONG_ROW))
            value = case((func.coalesce(added, _ZERO) >= _ZERO, value))
        return select(value.label("j"), *_labelled(totals)).select_from(source)

    def _within_budget(self, totals: Pair, place: str) -> ColumnElement[bool]:
        """True, or else an error."""
        (rows, size), most_rows, most_bytes = totals, self._most_rows, self._most_bytes
        too_many = func.crm_add_rows(rows, _ZERO, most_rows, most_rows, self._too_many_rows(place))
        too_large = func.crm_add_bytes(size, _ZERO, most_bytes, most_bytes, self._too_large(place))
        found: ColumnElement[bool] = case(
            (rows > most_rows, too_many < _ZERO), (size > most_bytes, too_large < _ZERO), else_=_TRUE
        )
        return found

    def _list_value(self, field: Selected, listed: ColumnElement[Any]) -> ColumnElement[Any]:
        value: ColumnElement[Any] = func.coalesce(listed, EMPTY)
        if self._given[field].limit is not None:
            return value
        return case((func.count() > _number(longest(field)), too_many(field)), else_=value)

    def _page_counted(self, field: Selected, statement: Any, start: Totals) -> Any:
        page: Any = self._connection(field, statement, self._given[field])
        value, shown = page.selected_columns[0], self._pages[field]
        if not shows_rows(field):
            return page.with_only_columns(value.label("j"), *_labelled((start.rows, start.bytes)))
        parts = [column for column in shown.c if column.key not in (_NUMBER, "__cursor", "n")]
        # Whatever an aggregate adds up must be of these rows, or it is taken for one of the query around. The row that
        # tells whether more follow is not shown.
        number, paging = shown.c[_NUMBER], self._given[field].paging
        assert paging is not None
        size = case((number <= paging.size, _sum(list(map(func.pg_column_size, parts)))), else_=_ZERO)
        sizes = [number * _ZERO, size]
        totals = (
            start.rows + self._added_rows(shown.c.n, start, field.key),
            start.bytes + self._added_bytes(sizes, start, field.key),
        )
        return page.with_only_columns(_counted(value, totals).label("j"), *_labelled(totals))

    def _page(self, field: Selected, rows: FromClause) -> FromClause:
        """The rows of a page, in the order in which they are shown: aggregates that sort would first read them all."""
        paging = self._given[field].paging
        assert paging is not None
        numbered = select(*rows.c, func.row_number().over().label(_NUMBER)).select_from(rows)
        placed = numbered.subquery(self._name("q"))
        if paging.backwards:
            placed = select(*placed.c).order_by(placed.c[_NUMBER].desc()).subquery(self._name("q"))
        number = placed.c[_NUMBER]
        _, *columns = self._page_columns(field, placed)
        # The row that tells whether more follow is none of the page's.
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
        """Each row as JSON, with how many rows it comes to. OFFSET 0: made once, though it is looked at twice."""
        shown, source = self._made(children, type_name, rows, func.row_to_json)
        length = self.length(children, rows).label("n")
        return select(shown.label("j"), length).select_from(source).offset(_ZERO).subquery(self._name("g"))

    def _made(
        self,
        children: Sequence[Selected],
        type_name: str,
        rows: FromClause,
        of_composite: Callable[..., Any],
        of_json: Callable[..., Any] = lambda found: found,
    ) -> tuple[Any, FromClause]:
        """What a function makes of a row (a composite, or JSON where a key is long), and where to select it from."""
        fields = [(child.key, self._value(child, type_name, rows)) for child in children]
        source = self.source(rows)
        if not fields or has_long_key(fields):
            return of_json(text_object(fields)), source
        labelled = select(*(value.label(key) for key, value in fields)).correlate(*self._within(rows))
        whole = labelled.lateral(self._name("r"))
        return of_composite(literal_column(f"{whole.name}.*")), source.join(whole, _TRUE)

    def length(self, children: Sequence[Selected], rows: FromClause) -> ColumnElement[int]:
        """How many rows a row comes to with what is below it."""
        fixed = _number(1 + sum(map(_fixed, children)))
        return fixed + self._totals[rows].rows if rows in self._totals else fixed

    def _added(self, rows: Any, parts: Sequence[Any], start: Totals, place: str) -> Pair:
        """What there is with the rows of a list."""
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
        "connection": _page_counted,
    }


def batch_fits(found: FromClause, budget: AnswerBudget, place: str) -> ColumnElement[bool]:
    """True where rows (`shown`, each of which comes to `n` rows) are within a budget together, or else an error.

    Rows that are a CTE's are gathered as they are added up: none after the one that is too much.
    """
    most_rows, most_bytes = _number(budget.rows), _number(budget.bytes)
    rows = func.crm_count_rows(found.c.n, most_rows, most_rows, _too_many_rows(budget, place))
    sizes = _sum([func.pg_column_size(found.c.shown)])
    size = func.crm_count_bytes(sizes, most_bytes, most_bytes, _too_large(budget, place))
    return select(and_(rows >= _ZERO, size >= _ZERO)).select_from(found).scalar_subquery()


def _too_many_rows(budget: AnswerBudget, place: str) -> ColumnElement[str]:
    return literal_column(
        f"'The operation returns more than {budget.rows:,} rows; they ran out in `{place}`. "
        "Pass smaller limits, or select fewer lists inside lists.'"
    )


def _too_large(budget: AnswerBudget, place: str, depth: int = 1) -> ColumnElement[str]:
    """While a list within lists is made, so is what is around it: the deeper, the smaller it has to be."""
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
    """A value that is not shown without having been counted: PostgreSQL leaves out totals that nothing looks at."""
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
    """How many rows a field brings whatever the data: one for each record that is no list's."""
    if is_list(field) or (is_record(field) and any(is_list(one) for one in field.walk())):
        return 0
    return int(is_record(field)) + sum(map(_fixed, field.children))
