"""Statements of some fields of an operation, compiled once for each shape of the fields' arguments."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from graphql import Undefined
from sqlalchemy import ColumnElement, Select, Text, Uuid, bindparam

from crm.core import errors
from crm.core.bounded import BoundedDict
from crm.core.identity import Role, Viewer
from crm.core.policy import VIEWER, VIEWER_IS
from crm.core.side_thread import SideThread
from crm.db.statement import Params, Statement, encode
from crm.db.visibility import compiled
from crm.graph.compile.allotment import Allotment, Allotments
from crm.graph.compile.arguments import SQL_TYPES, Argument, Binds, Values, placed, split
from crm.graph.compile.caches import SecondUseCache
from crm.graph.compile.counting import CountingCompiler
from crm.graph.compile.keyset import decode, fingerprint, payload
from crm.graph.compile.paging import Paging
from crm.graph.compile.selection import Selected
from crm.graph.compile.sql import BoundArguments, Compiler
from crm.graph.declare.fields import DEFAULT_PAGE

_INCLUDE_DELETED: Final = "include_deleted"
_PAGING: Final = ("first", "after", "last", "before")
# The indexes of a statement's parameters that no argument provides: the viewer's id and role.
_FROM_VIEWER: Final = {VIEWER: -1, **{name: -2 - index for index, name in enumerate(VIEWER_IS.values())}}
# The values of those parameters without the viewer's id, by role; `_FROM_VIEWER` counts them from the end.
_ROLE_VALUES: Final = {role: tuple(role is other for other in reversed(list(VIEWER_IS))) for role in Role}
# The most bytes of the statements of some fields, for all shapes of their arguments; more if the two statements of a
# single shape, of which one counts, are longer.
_MAX_BYTES: Final = 256 * 1024
# After a list was longer than its share, so many runs use the counting statement from the start.
_COUNTED_RUNS: Final = 100
_REMEMBERED_SHAPES: Final = 200
# The memory of a statement with its key: measured, and rounded up.
_BYTES_PER_CHARACTER: Final = 3


@dataclass(frozen=True, slots=True)
class Prepared:
    """A finished statement, and the indexes of the request's values that are its parameters, in order."""

    statement: Statement
    order: tuple[int, ...]  # negative: of the viewer, by `_FROM_VIEWER`

    @property
    def size(self) -> int:
        """About the bytes that the statement takes in memory."""
        return _BYTES_PER_CHARACTER * len(self.statement.text)


@dataclass(slots=True)
class BoundStatement:
    """A statement with the values of one request's arguments; `step` adds the values that precede them."""

    prepared: Prepared
    values: Sequence[object]
    key: Hashable

    def step(self, extra: Sequence[object] = ()) -> tuple[Statement, Params]:
        """The statement and its parameters."""
        values = [*extra, *self.values] if extra else self.values
        return self.prepared.statement, [encode(values[index]) for index in self.prepared.order]


# About the time that it takes to compile a field of each kind, or a filter's condition, in hundredths of a millisecond.
_WORK: Final[Mapping[str, int]] = {"column": 4, "computed": 40, "one": 90, "many": 130, "connection": 250}
_WORK_OF_OTHERS: Final = 250
_WORK_OF_REPORT: Final = 900  # a search, statistics: a field with a price of its own that is not its order's
_WORK_OF_CONDITION: Final = 20
# Compiling a statement that counts takes so many times as long, but for reports, which count either way.
_COUNTING: Final = 2
_MAX_WORK_ON_LOOP: Final = 1500
_BYTES_OF_WORK: Final = 40  # of both statements, for the work of the one that counts: 30 measured

Build = Callable[[Compiler], Sequence[ColumnElement[Any]] | Select[Any]]


class StatementsByShape:
    """Some fields of an operation that become one statement, for each shape of their arguments.

    `weigh` is called with the bytes by which the statements kept here grow or shrink. Without `allotments` the rows and
    bytes that a statement gathers are not limited.
    """

    def __init__(
        self,
        fields: Sequence[Selected],
        build: Build,
        extra: Sequence[str] = (),
        weigh: Callable[[int], None] | None = None,
        allotments: Allotments | None = None,
    ) -> None:
        self._fields = [field for root in fields for field in root.walk() if field.shape is not None]
        self._parts: Sequence[_Part] | None = None
        self._build = build
        self._extra = tuple(extra)
        self._weigh = weigh
        self._allotments = allotments
        self._longer: BoundedDict[Hashable, int] = BoundedDict(_REMEMBERED_SHAPES)
        works = [_work(field) for field in self._fields]
        self._work = sum(works)
        self._counting_work = sum(work if work == _WORK_OF_REPORT else _COUNTING * work for work in works)
        max_bytes = max(_MAX_BYTES, _BYTES_OF_WORK * self._counting_work)
        self._prepared: SecondUseCache[Hashable, Prepared] = SecondUseCache(max_bytes, _REMEMBERED_SHAPES)

    @property
    def is_short(self) -> bool:
        """Whether even the statement that counts is compiled fast enough for the event loop."""
        return self._counting_work <= _MAX_WORK_ON_LOOP

    def step(
        self, variables: Mapping[str, Any], viewer: Viewer, extra: Sequence[object] = ()
    ) -> tuple[Statement, Params]:
        """The statement for these variables, and its parameters; compiled on the event loop if it has to be."""
        key, values, allotment = self._shape(variables, viewer)
        prepared = self._prepared.get(key) or self._keep(key, self._compile(variables, allotment))
        return BoundStatement(prepared, values, key).step(extra)

    def count(self, bound: BoundStatement) -> None:
        """Count from the start, for a while, where a list was longer than its share."""
        self._longer[bound.key] = _COUNTED_RUNS

    def ready(self, variables: Mapping[str, Any], viewer: Viewer) -> BoundStatement | None:
        """The statement for these variables, if it has been compiled."""
        key, values, _ = self._shape(variables, viewer)
        prepared = self._prepared.get(key)
        return BoundStatement(prepared, values, key) if prepared is not None else None

    async def bound(
        self, variables: Mapping[str, Any], viewer: Viewer, side: SideThread, *, aside: bool = False
    ) -> BoundStatement:
        """The statement for these variables; compiled in a thread if that takes long, or for one of many (`aside`)."""
        key, values, allotment = self._shape(variables, viewer)
        prepared = self._prepared.get(key)
        if prepared is None:
            counts = allotment is None and self._allotments is not None
            work = self._counting_work if counts else self._work
            is_long = aside or work + _WORK_OF_CONDITION * values.conditions > _MAX_WORK_ON_LOOP
            run = side.run if is_long else side.run_short
            prepared = self._keep(key, await run(viewer.id, self._compile, variables, allotment))
        return BoundStatement(prepared, values, key)

    def _shape(self, variables: Mapping[str, Any], viewer: Viewer) -> tuple[Hashable, Values, Allotment | None]:
        """The key of the statement, the values of its parameters, and its allotment."""
        if self._parts is None:
            self._parts = _parts(self._fields, viewer)
        values = Values()
        shape = tuple([part(variables, values, viewer) for part in self._parts])
        values += (*_ROLE_VALUES[viewer.role], viewer.id)
        allotment = self._allotments.of(variables) if self._allotments is not None else None
        key = (allotment, shape)
        if self._longer and self._is_longer(key):
            allotment, key = None, (None, shape)
        return key, values, allotment

    def _is_longer(self, key: Hashable) -> bool:
        """Whether a list was longer than its share lately; after some runs the share is tried again."""
        left = self._longer.get(key, 0)
        if left:
            self._longer[key] = left - 1
        return left > 0

    def _keep(self, key: Hashable, prepared: Prepared) -> Prepared:
        """Cache the statement of the first shape at once (it is likely to come again), others on their second use.

        Where a list was longer than its share, the first shape has two statements: the second counts.
        """
        before = self._prepared.bytes
        kept_at_once = 2 if self._longer else 1
        self._prepared.offer(key, prepared, prepared.size, at_once=len(self._prepared) < kept_at_once)
        if self._weigh is not None:
            self._weigh(self._prepared.bytes - before)
        return prepared

    def _compile(self, variables: Mapping[str, Any], allotment: Allotment | None) -> Prepared:
        binds = Binds()
        for _ in self._extra:
            binds.leaf(None, None)
        arguments = {field: _bound_arguments(field, variables, binds) for field in self._fields}
        compiler = self._compiler(arguments, allotment)
        selectable = self._build(compiler)
        if not isinstance(selectable, Select):
            selectable = compiler.whole(selectable)
        sql = compiled(selectable, constants_inline=True)
        order = tuple(_FROM_VIEWER[name] if name in _FROM_VIEWER else int(name[1:]) for name in sql.positiontup or ())
        return Prepared(Statement(str(sql)), order)

    def _compiler(self, by_field: Mapping[Selected, BoundArguments], allotment: Allotment | None) -> Compiler:
        if allotment is not None:
            return Compiler(by_field, allotment.shares)
        return Compiler(by_field) if self._allotments is None else CountingCompiler(by_field, self._allotments.budget)


def _work(field: Selected) -> int:
    shape = field.shape
    if shape is None:
        return 0
    has_price = shape.declaration is not None and shape.declaration.extra_cost is not None
    if has_price and "orderBy" not in shape.arguments:
        return _WORK_OF_REPORT
    return _WORK.get(shape.kind, _WORK_OF_OTHERS)


# Adds the values of some arguments to a statement's values, and returns the arguments' shape.
_Part = Callable[[Mapping[str, Any], Values, Viewer], Hashable]


def _parts(fields: Sequence[Selected], viewer: Viewer) -> Sequence[_Part]:
    """The arguments of some fields. Those without variables are split once: most arguments are not even passed."""
    parts: list[_Part] = []
    for is_fixed, part in (fixed_or_part for field in fields if field.arguments for fixed_or_part in _parts_of(field)):
        if not is_fixed:
            parts.append(part)
            continue
        values = Values()
        part({}, values, viewer)
        if values or values.conditions:
            parts.append(partial(_repeat, values))
    return parts


def _parts_of(field: Selected) -> Iterator[tuple[bool, _Part]]:
    """A field's arguments (a page's all together), each with True if they are the same in every request."""
    if field.shape is not None and field.shape.kind == "connection":
        yield all(map(_is_fixed, field.arguments)), partial(_page_shape, field, _arguments(field))
    else:
        for argument in _arguments(field):
            yield _is_fixed(argument), partial(_argument_shape, field, argument)


def _is_fixed(argument: Argument) -> bool:
    """Whether an argument has no variables; `includeDeleted` is never fixed, since the viewer's role is checked."""
    return not argument.names and (argument.name != _INCLUDE_DELETED or argument.value({}) is not True)


def _repeat(fixed: Values, _variables: Mapping[str, Any], values: Values, _viewer: Viewer) -> Hashable:
    values.add(fixed)
    return None


def _arguments(field: Selected) -> list[Argument]:
    return [argument for argument in field.arguments if not _is_position(field, argument)]


def _is_position(field: Selected, argument: Argument) -> bool:
    """Whether an argument says where to start reading: the engine handles these, not the field's function."""
    kind = field.shape.kind if field.shape is not None else ""
    return (kind == "connection" and argument.name in _PAGING) or (kind == "stream" and argument.name == "after")


def _argument_shape(
    field: Selected, argument: Argument, variables: Mapping[str, Any], values: Values, viewer: Viewer
) -> Hashable:
    """The shape of an argument; its bound values are added to `values`."""
    value = argument.value(variables)
    shape = split(argument.kind, value, argument.name, argument.label, values)
    if field.shape is not None:
        field.shape.check(argument.name, argument.label, value)
    if argument.name == _INCLUDE_DELETED and value is True and viewer.role is not Role.ADMIN:
        message = "Only admins may ask for deleted records."
        raise errors.Forbidden(message, field=argument.label)
    return shape


def _page_shape(
    field: Selected, arguments: Sequence[Argument], variables: Mapping[str, Any], values: Values, viewer: Viewer
) -> Hashable:
    """The shape of a page's arguments, and of its start."""
    start = len(values)
    shape = [_argument_shape(field, argument, variables, values, viewer) for argument in arguments]
    bound_to = fingerprint(shape, values[start:])
    return (*shape, _paging_shape(field, variables, values, bound_to))


def _paging_shape(field: Selected, variables: Mapping[str, Any], values: Values, bound_to: str) -> Hashable:
    paging = {argument.name: argument.value(variables) for argument in field.arguments if argument.name in _PAGING}
    paging = {name: None if value is Undefined else value for name, value in paging.items()}
    if paging["first"] is not None and paging["last"] is not None:
        message = "Pass `first` or `last`, not both."
        raise errors.BadUserInput(message, field="last")
    backwards = paging["last"] is not None
    name = "last" if backwards else "first"
    size = Values()
    split(
        _kind(field, name),
        DEFAULT_PAGE if paging[name] is None else paging[name],
        name,
        name,
        size,
    )
    values.extend(size)
    values.append(bound_to)
    flags: list[object] = [backwards]
    for end in ("after", "before"):
        if paging[end] is None:
            flags.append(None)
            continue
        decoded = decode(paging[end], bound_to, end)
        flags.append(tuple(value is None for value in decoded))
        values.extend(value for value in decoded if value is not None)
    return tuple(flags)


def _bound_arguments(field: Selected, variables: Mapping[str, Any], binds: Binds) -> BoundArguments:
    """A field's arguments as placeholders, in the same order in which `_shape` collected the values."""
    keywords = {}
    for argument in _arguments(field):
        value = placed(argument.kind, argument.value(variables), argument.name, binds.leaf)
        if value is not None:
            keywords[argument.name] = value
    limit, offset = keywords.pop("limit", None), keywords.pop("offset", None)
    assert field.shape is not None
    if field.shape.declaration is not None and field.shape.declaration.wants_viewer:
        keywords[VIEWER] = bindparam(VIEWER, type_=Uuid(), required=True)
    paging = _paging(field, variables, binds) if field.shape.kind == "connection" else None
    return BoundArguments(keywords, limit, offset, paging)


def _paging(field: Selected, variables: Mapping[str, Any], binds: Binds) -> Paging:
    paging = {argument.name: argument.value(variables) for argument in field.arguments if argument.name in _PAGING}
    backwards = paging["last"] is not Undefined and paging["last"] is not None
    size = binds.leaf(None, SQL_TYPES["Int"])
    bound_to = binds.leaf(None, Text())
    ends: list[list[Any | None] | None] = []
    for end in ("after", "before"):
        if paging[end] is Undefined or paging[end] is None:
            ends.append(None)
            continue
        decoded = (value is None for value in payload(paging[end])[2:])
        ends.append([None if is_null else binds.leaf(None, Text()) for is_null in decoded])
    return Paging(size, backwards, bound_to, ends[0], ends[1])


def _kind(field: Selected, name: str) -> Any:
    return next(argument.kind for argument in field.arguments if argument.name == name)
