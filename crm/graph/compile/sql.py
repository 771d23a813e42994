"""Compiles a selection to SQL that returns the finished JSON.

Rows become composites (`json_agg(r.*)`), which PostgreSQL turns into JSON a quarter faster than `json_build_object`
does, and without its limit of 50 fields. A composite's keys are identifiers, cut at 63 bytes: an object with a longer
alias is put together as text instead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Text,
    case,
    cast,
    column,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by
from sqlalchemy.sql import visitors

from crm.core.api_json import json_value
from crm.db.merged import Merged
from crm.graph.compile.allotment import ListShare, longest
from crm.graph.compile.json_sql import MOST_PAIRS, flag, has_long_key, quoted, text_object, typename
from crm.graph.compile.keyset import keys_of
from crm.graph.compile.paging import Paging, merged_page, page_of
from crm.graph.compile.selection import Selected
from crm.graph.compile.shape import FieldShape

EMPTY: Final[ColumnElement[Any]] = literal_column("'[]'::json")
_ANY: Final = ListShare()


@dataclass(frozen=True)
class BoundArguments:
    """A field's arguments as placeholders."""

    keywords: Mapping[str, Any]
    limit: Any = None
    offset: Any = None
    paging: Paging | None = None


class Compiler:
    """Compiles root fields; one instance per statement."""

    def __init__(
        self, arguments: Mapping[Selected, BoundArguments], shares: Mapping[Selected, ListShare] | None = None
    ) -> None:
        self._arguments = arguments
        self._shares = shares or {}
        self._count = 0

    def whole(self, columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
        """The statement of some roots."""
        return select(*(column.label(f"k{number}") for number, column in enumerate(columns)))

    def source(self, rows: FromClause) -> FromClause:
        """The FROM clause for the expressions that `record` makes of these rows."""
        return rows

    def length(self, children: Sequence[Selected], rows: FromClause) -> ColumnElement[int]:  # noqa: ARG002
        """The number of rows of each row with all rows below it, where that is counted; here 0."""
        return literal_column("0", Integer)

    def listed(self, children: Sequence[Selected], type_name: str, rows: FromClause) -> ColumnElement[Any]:
        """All rows as one JSON array."""
        row_json = self.record(children, type_name, rows)
        return select(func.json_agg(row_json)).select_from(rows).scalar_subquery()

    def roots(self, fields: Sequence[Selected]) -> list[ColumnElement[Any]]:
        """Each root field as one JSON value."""
        return [self._edge(field, None, None) for field in fields]

    def first(self, field: Selected) -> ColumnElement[Any] | None:
        """The row that is sent before a stream's events; None if its arguments name none."""
        assert field.shape is not None
        assert field.shape.declaration is not None
        first_row = field.shape.declaration.first
        statement = first_row(**self._arguments[field].keywords) if first_row is not None else None
        return None if statement is None else self._one(field, statement)

    def record(self, children: Sequence[Selected], type_name: str, rows: FromClause) -> ColumnElement[Any]:
        """One row of `rows` as a JSON object."""
        return self._object([(child.key, self._value(child, type_name, rows)) for child in children], rows)

    def statement(self, field: Selected, *leading: Any) -> Any:
        """The statement of a field's function, called with `leading` and the arguments that were passed."""
        assert field.shape is not None
        assert field.shape.declaration is not None
        return field.shape.declaration.function(*leading, **self._arguments[field].keywords)

    # One field

    def _value(self, field: Selected, type_name: str, rows: FromClause) -> ColumnElement[Any]:
        shape = field.shape
        if shape is None:
            return typename(type_name)
        if shape.kind == "column":
            return _api_value(rows.c[shape.python_name], shape)
        assert shape.declaration is not None
        if shape.kind == "computed":
            value = _correlated(shape.declaration.function(rows.c), rows)
            return _api_value(value, shape) if field.kind is None else self._document(field, value, rows)
        return self._edge(field, rows.c, rows)

    def _edge(self, field: Selected, row: Any, outer: FromClause | None) -> ColumnElement[Any]:
        shape, arguments = field.shape, self._arguments[field]
        assert shape is not None
        if shape.kind == "any":  # the first that exists; COALESCE does not look for the others
            return func.coalesce(*(self._edge(child, row, outer) for child in field.children))
        statement = self._statement_of(field, row, outer)
        if shape.kind in ("one", "pulse"):
            return self._one(field, statement)
        if shape.kind == "many":
            return self._many(field, statement, arguments)
        if shape.kind == "each":
            return self._each(field, statement)
        return self._connection(field, statement, arguments).scalar_subquery()

    def _statement_of(self, field: Selected, row: Any, outer: FromClause | None) -> Any:
        """The statement of the rows that a field leads to; of a list with an element for each key, of the keys."""
        if field.shape is not None and field.shape.each:
            return self._keys(field, field.shape.each)
        statement = self.statement(field) if row is None else self.statement(field, row)
        return statement if outer is None else statement.correlate(outer)

    def _one(self, field: Selected, statement: Select[Any]) -> ColumnElement[Any]:
        rows = statement.subquery(self._name("q"))
        fields = [(child.key, self._value(child, _name(field), rows)) for child in field.children]
        return self._records(fields, rows, many=False).scalar_subquery()

    def _many(self, field: Selected, statement: Any, arguments: BoundArguments) -> ColumnElement[Any]:
        share = self._shares.get(field, _ANY)
        most: Any = (longest(field) if share.rows is None else share.rows) + 1
        if arguments.limit is not None:
            most = arguments.limit if share.rows is None else func.least(arguments.limit, literal_column(str(most)))
        rows = self._limited(statement, arguments, most)
        fields = [(child.key, self._value(child, _name(field), rows)) for child in field.children]
        record_rows = self._records(fields, rows, many=True)
        listed = record_rows.selected_columns[0]
        problems: list[tuple[Any, Any]] = []
        if share.rows is not None:
            problems.append((func.count() > literal_column(str(share.rows)), func.crm_beyond_allotment()))
        elif arguments.limit is None:
            problems.append((func.count() > literal_column(str(longest(field))), too_many(field)))
        if share.bytes is not None:
            size = func.pg_column_size(listed)
            problems.append((size > literal_column(str(share.bytes)), func.crm_beyond_allotment()))
        value: ColumnElement[Any] = func.coalesce(listed, EMPTY)
        value = case(*problems, else_=value) if problems else value
        return record_rows.with_only_columns(value).scalar_subquery()

    # One for each key

    def _keys(self, field: Selected, name: str) -> Select[Any]:
        values = func.unnest(self._arguments[field].keywords[name])
        keys = values.table_valued(column("key", Text), with_ordinality="place", name=self._name("e")).render_derived()
        return select(keys.c.key).order_by(keys.c.place)

    def _each(self, field: Selected, statement: Select[Any]) -> ColumnElement[Any]:
        keys = statement.subquery(self._name("q"))
        value = self._value(field.children[0], "", keys)
        return select(func.coalesce(func.json_agg(value), EMPTY)).select_from(self.source(keys)).scalar_subquery()

    def _limited(self, statement: Any, arguments: BoundArguments, most: Any) -> FromClause:
        if arguments.offset is not None:
            statement = statement.offset(arguments.offset)
        most = literal_column(str(most)) if isinstance(most, int) else most
        rows: FromClause = statement.limit(most).subquery(self._name("q"))
        return rows

    # Documents

    def _document(self, field: Selected, value: ColumnElement[Any], rows: FromClause) -> ColumnElement[Any]:
        """A jsonb value as objects of a declared type; a list keeps its order, and missing members are null."""
        assert field.shape is not None
        json_type: ColumnElement[str] = literal_column("'array'" if field.shape.many else "'object'")
        if field.shape.many:
            elements = func.jsonb_array_elements(value).table_valued(
                column("item", JSONB), with_ordinality="place", name=self._name("d")
            )
            numbered = elements.render_derived()
            items = select(numbered.c.item).order_by(numbered.c.place).correlate(rows).subquery(self._name("q"))
            records = self._records(self._members(field, items.c.item, items), items, many=True)
            rendered: Any = func.coalesce(records.scalar_subquery(), EMPTY)
        else:
            rendered = self._object(self._members(field, value, rows), rows)
        return case((func.jsonb_typeof(value) == json_type, rendered))

    def _members(
        self, field: Selected, value: ColumnElement[Any], rows: FromClause
    ) -> list[tuple[str, ColumnElement[Any]]]:
        members: list[tuple[str, ColumnElement[Any]]] = []
        for child in field.children:
            shape = child.shape
            if shape is None:
                members.append((child.key, typename(_name(field))))
                continue
            name = quoted(shape.python_name)
            if child.kind is not None:
                members.append((child.key, self._document(child, value.op("->", return_type=JSONB())(name), rows)))
                continue
            assert shape.member is not None
            is_json = isinstance(shape.member, JSONB)
            member = value.op("->")(name) if is_json else cast(value.op("->>")(name), shape.member)
            members.append((child.key, _api_value(member, shape)))
        return members

    # Connections

    def _connection(
        self,
        field: Selected,
        statement: Select[Any] | Merged,
        arguments: BoundArguments,
    ) -> Select[Any]:
        paging = arguments.paging
        assert paging is not None
        counted: Any
        if isinstance(statement, Merged):
            rows, counted = merged_page(statement, paging, self._name), statement.united()
        else:
            rows, counted = page_of(statement, keys_of(statement), paging, self._name), statement.order_by(None)
        page = self._page(field, rows)
        total = select(func.count()).select_from(counted.subquery(self._name("q")))
        return self._page_object(field, page, paging, total)

    def _page(self, field: Selected, rows: FromClause) -> FromClause:
        """The rows of a page, numbered; each node once for `edges` and once for `nodes`, by their selections."""
        return select(*self._page_columns(field, rows)).select_from(rows).subquery(self._name("p"))

    def _page_columns(self, field: Selected, rows: FromClause) -> list[ColumnElement[Any]]:
        columns: list[ColumnElement[Any]] = [
            func.row_number().over().label("__n"),
            rows.c["__cursor"],
        ]
        for part in field.children:
            if part.shape is None or part.kind is None:
                continue
            if part.kind.part == "edge":
                columns.append(self._edge_object(part, rows).label(f"__{len(columns)}"))
            elif part.kind.part is None:
                columns.append(self.record(part.children, part.kind.name, rows).label(f"__{len(columns)}"))
        return columns

    def _edge_object(self, part: Selected, rows: FromClause) -> ColumnElement[Any]:
        values = []
        for child in part.children:
            if child.shape is None:
                values.append((child.key, typename(_name(part))))
            elif child.kind is None:
                values.append((child.key, rows.c["__cursor"]))
            else:
                values.append((child.key, self.record(child.children, child.kind.name, rows)))
        return self._object(values, rows)

    def _page_object(self, field: Selected, page: FromClause, paging: Paging, total: Select[Any]) -> Select[Any]:
        number = page.c["__n"]
        order = number.desc() if paging.backwards else number.asc()
        within = number <= paging.size
        more: ColumnElement[Any] = func.count() > paging.size
        ahead = paging.before is not None or (not paging.backwards and more)
        behind = paging.after is not None or (paging.backwards and more)
        reverse = number.asc() if paging.backwards else number.desc()
        first, last = self._ends(page.c["__cursor"], order, reverse, within)
        info = {
            "has_next_page": flag(ahead),
            "has_previous_page": flag(behind),
            "start_cursor": first,
            "end_cursor": last,
        }
        values: list[tuple[str, ColumnElement[Any]]] = []
        column = 2
        for part in field.children:
            if part.shape is None:
                value: Any = typename(_name(field))
            elif part.kind is None:
                value = total.scalar_subquery()
            elif part.kind.part == "page_info":
                value = self._object(
                    [
                        (
                            child.key,
                            info[child.shape.python_name] if child.shape else typename("PageInfo"),
                        )
                        for child in part.children
                    ],
                    aggregated=True,
                )
            else:
                listed = func.json_agg(self._in_order(page.c[f"__{column}"], order)).filter(within)
                value = func.coalesce(listed, EMPTY)
                column += 1
            values.append((part.key, value))
        page_object = select(self._object(values, aggregated=True))
        if not shows_rows(field):
            return page_object
        # HAVING makes it one group, so one row, even where nothing selected is an aggregate.
        return page_object.select_from(page).having(literal_column("true"))

    def _ends(self, cursor: Any, order: Any, reverse: Any, within: Any) -> Sequence[ColumnElement[Any]]:
        """The first and the last cursor of a page."""
        return [
            func.array_agg(aggregate_order_by(cursor, direction)).filter(within)[1] for direction in (order, reverse)
        ]

    def _in_order(self, value: ColumnElement[Any], order: ColumnElement[Any]) -> ColumnElement[Any]:
        """A value for an aggregate, in this order."""
        return aggregate_order_by(value, order)

    # Objects

    def _records(self, fields: Sequence[tuple[str, Any]], rows: FromClause, *, many: bool) -> Select[Any]:
        """One JSON object for each row; `many` makes them one list."""
        if not fields or has_long_key(fields):
            row_json = text_object(fields)
            return select(func.json_agg(row_json) if many else row_json).select_from(self.source(rows))
        labelled = select(*(value.label(key) for key, value in fields)).select_from(self.source(rows))
        composite = labelled.subquery(self._name("r"))
        whole: ColumnElement[Any] = literal_column(f"{composite.name}.*")
        return select(func.json_agg(whole) if many else func.row_to_json(whole)).select_from(composite)

    def _object(
        self, fields: Sequence[tuple[str, Any]], rows: FromClause | None = None, *, aggregated: bool = False
    ) -> ColumnElement[Any]:
        """One JSON object from expressions over the row at hand (or over aggregates of many)."""
        if not fields or has_long_key(fields) or (aggregated and len(fields) > MOST_PAIRS):
            return text_object(fields)
        if aggregated:
            return func.json_build_object(*(part for key, value in fields for part in (quoted(key), value)))
        labelled = select(*(value.label(key) for key, value in fields))
        labelled = labelled.correlate(*self._within(rows)) if rows is not None else labelled
        composite = labelled.subquery(self._name("r"))
        return select(func.row_to_json(literal_column(f"{composite.name}.*"))).select_from(composite).scalar_subquery()

    def _within(self, rows: FromClause) -> tuple[FromClause, ...]:
        """The FROM elements that an expression over a row may refer to."""
        return (rows,)

    def _name(self, letter: str) -> str:
        self._count += 1
        return f"{letter}{self._count}"


def _correlated(expression: ColumnElement[Any], rows: FromClause) -> ColumnElement[Any]:
    """The expression with its subqueries correlated to `rows`, through any number of levels of SELECT."""

    def tie(element: Any, **_: object) -> Any:
        return element.correlate(rows) if isinstance(element, Select) else None

    correlated: ColumnElement[Any] = visitors.replacement_traverse(expression, {}, tie)
    return correlated


def shows_rows(connection: Selected) -> bool:
    """Whether a connection's rows are selected, rather than `totalCount` alone."""
    return any(part.kind is not None and part.shape is not None for part in connection.children)


def _api_value(column: ColumnElement[Any], shape: FieldShape) -> ColumnElement[Any]:
    value = json_value(column)
    return cast(value, Text) if shape.is_id else value


def _name(field: Selected) -> str:
    assert field.kind is not None
    return field.kind.name


def too_many(field: Selected) -> ColumnElement[Any]:
    """SQL that raises the error for a list without a limit that has too many rows."""
    assert field.shape is not None
    hint = f" or page with `{field.shape.pages}`" if field.shape.pages else ""
    advice = f": pass `limit`{hint}" if "limit" in field.shape.arguments else ""
    message = f"`{field.shape.name}` has more than {longest(field):,} rows here{advice}."
    return func.crm_too_large(literal_column(f"'{message}'"))
