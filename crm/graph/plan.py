"""Plans: an operation, compiled once.

A document is parsed, validated and measured once. A plan adds what @skip and @include say and the viewer's role; a
statement adds the shape of the arguments. A request then coerces variables, looks the statement up, and runs it.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from graphql import Undefined
from sqlalchemy import ColumnElement, Select, Text, Uuid, bindparam, select

from crm.core import errors
from crm.core.identity import Role, Viewer
from crm.core.visibility import VIEWER, VIEWER_IS_ADMIN, compiled
from crm.core.wire import Params, Statement, encode
from crm.graph.arguments import SQL_TYPES, Argument, Binds, placed, shape_of
from crm.graph.declare import DEFAULT_PAGE
from crm.graph.ordering import decode, fingerprint, payload
from crm.graph.prices import Price
from crm.graph.selection import Selected
from crm.graph.shape import allowed
from crm.graph.sql import Compiler, Given, Paging

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_PAGING: Final = ("first", "after", "last", "before")
# Where a statement's parameters come from that are nobody's arguments.
_FROM_VIEWER: Final = {VIEWER: -1, VIEWER_IS_ADMIN: -2}
_MAX_SHAPES: Final = 32


class SecondUseCache(Generic[K, V]):
    """An LRU bounded in bytes, which admits a key on its second use: a flood of one-off keys leaves no trace."""

    def __init__(self, max_bytes: int, remembered: int = 10_000) -> None:
        self._max_bytes = max_bytes
        self._remembered = remembered
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._seen: OrderedDict[int, None] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The value kept for this key."""
        found = self._entries.get(key)
        if found is None:
            return None
        self._entries.move_to_end(key)
        return found[0]

    def offer(self, key: K, value: V, size: int) -> None:
        """Keep this value, if the key has been seen before."""
        mark = hash(key)
        if mark not in self._seen:
            self._seen[mark] = None
            if len(self._seen) > self._remembered:
                self._seen.popitem(last=False)
            return
        if size > self._max_bytes:
            return
        _, replaced = self._entries.pop(key, (None, 0))
        self._entries[key] = (value, size)
        self.bytes += size - replaced
        while self.bytes > self._max_bytes:
            _, (_, freed) = self._entries.popitem(last=False)
            self.bytes -= freed


@dataclass(frozen=True, slots=True)
class Prepared:
    """A finished statement, and which of the request's values are its parameters, in order."""

    statement: Statement
    order: tuple[int, ...]  # -1 is the viewer's id, -2 whether they are an admin


Build = Callable[[Compiler], Sequence[ColumnElement[Any]] | Select[Any]]


class Shaped:
    """Some fields of an operation that become one statement, for each shape of their arguments."""

    def __init__(self, fields: Sequence[Selected], build: Build, extra: Sequence[str] = ()) -> None:
        self._fields = [one for root in fields for one in root.walk() if one.shape is not None]
        self._with_arguments = [one for one in self._fields if one.shape is not None and _takes_arguments(one)]
        self._build = build
        self._extra = tuple(extra)
        self._prepared: OrderedDict[object, Prepared] = OrderedDict()

    def step(
        self, variables: Mapping[str, Any], viewer: Viewer, extra: Sequence[object] = ()
    ) -> tuple[Statement, Params]:
        """The statement for these variables, and its parameters."""
        values: list[object] = list(extra)
        key = tuple([_shape(one, variables, values, viewer) for one in self._with_arguments])
        prepared = self._prepared.get(key)
        if prepared is None:
            prepared = self._compile(variables)
            self._prepared[key] = prepared
            if len(self._prepared) > _MAX_SHAPES:
                self._prepared.popitem(last=False)
        elif len(self._prepared) > 1:
            self._prepared.move_to_end(key)
        values += (viewer.role is Role.ADMIN, viewer.id)
        return prepared.statement, [encode(values[index]) for index in prepared.order]

    def _compile(self, variables: Mapping[str, Any]) -> Prepared:
        binds = Binds()
        for _ in self._extra:
            binds.leaf(None, None)
        given = {one: _given(one, variables, binds) for one in self._fields}
        built = self._build(Compiler(given))
        if not isinstance(built, Select):
            built = select(*(column.label(f"k{number}") for number, column in enumerate(built)))
        found = compiled(built, constants_inline=True)
        order = tuple(_FROM_VIEWER[name] if name in _FROM_VIEWER else int(name[1:]) for name in found.positiontup or ())
        return Prepared(Statement(str(found)), order)


def _takes_arguments(one: Selected) -> bool:
    return bool(one.arguments)


def _arguments(one: Selected) -> list[Argument]:
    return [argument for argument in one.arguments if not _is_position(one, argument)]


def _is_position(one: Selected, argument: Argument) -> bool:
    """Whether an argument says where to start reading; the engine takes care of those."""
    kind = one.shape.kind if one.shape is not None else ""
    return (kind == "connection" and argument.name in _PAGING) or (kind == "stream" and argument.name == "after")


def _shape(one: Selected, variables: Mapping[str, Any], values: list[object], viewer: Viewer) -> Hashable:
    """The shape of a field's arguments; their values go to `values`."""
    start = len(values)
    shape = []
    for argument in _arguments(one):
        value = argument.given(variables)
        shape.append(shape_of(argument.kind, value, argument.name, argument.label, values))
        if one.shape is not None:
            one.shape.check(argument.name, argument.label, value)
        if argument.name == "include_deleted" and value is True and viewer.role is not Role.ADMIN:
            message = "Only admins may ask for deleted records."
            raise errors.Forbidden(message, field=argument.label)
    if one.shape is not None and one.shape.kind == "connection":
        bound_to = fingerprint(shape, values[start:])
        return (*shape, _paging_shape(one, variables, values, bound_to))
    return tuple(shape)


def _paging_shape(one: Selected, variables: Mapping[str, Any], values: list[object], bound_to: str) -> Hashable:
    given = {argument.name: argument.given(variables) for argument in one.arguments if argument.name in _PAGING}
    given = {name: None if value is Undefined else value for name, value in given.items()}
    if given["first"] is not None and given["last"] is not None:
        message = "Pass `first` or `last`, not both."
        raise errors.BadUserInput(message, field="last")
    backwards = given["last"] is not None
    name = "last" if backwards else "first"
    size: list[object] = []
    shape_of(
        _kind(one, name),
        DEFAULT_PAGE if given[name] is None else given[name],
        name,
        name,
        size,
    )
    values.extend(size)
    values.append(bound_to)
    flags: list[object] = [backwards]
    for end in ("after", "before"):
        if given[end] is None:
            flags.append(None)
            continue
        decoded = decode(given[end], bound_to, end)
        flags.append(tuple(value is None for value in decoded))
        values.extend(value for value in decoded if value is not None)
    return tuple(flags)


def _given(one: Selected, variables: Mapping[str, Any], binds: Binds) -> Given:
    """A field's arguments as placeholders; in the very order in which `_shape` collected the values."""
    keywords = {}
    for argument in _arguments(one):
        value = placed(argument.kind, argument.given(variables), argument.name, binds.leaf)
        if value is not None:
            keywords[argument.name] = value
    limit, offset = keywords.pop("limit", None), keywords.pop("offset", None)
    assert one.shape is not None
    if one.shape.declaration is not None and one.shape.declaration.wants_viewer:
        keywords[VIEWER] = bindparam(VIEWER, type_=Uuid(), required=True)
    paging = _paging(one, variables, binds) if one.shape.kind == "connection" else None
    return Given(keywords, limit, offset, paging)


def _paging(one: Selected, variables: Mapping[str, Any], binds: Binds) -> Paging:
    given = {argument.name: argument.given(variables) for argument in one.arguments if argument.name in _PAGING}
    backwards = given["last"] is not Undefined and given["last"] is not None
    size = binds.leaf(None, SQL_TYPES["Int"])
    bound_to = binds.leaf(None, Text())
    ends: list[list[Any | None] | None] = []
    for end in ("after", "before"):
        if given[end] is Undefined or given[end] is None:
            ends.append(None)
            continue
        decoded = (value is None for value in payload(given[end])[2:])
        ends.append([None if is_null else binds.leaf(None, Text()) for is_null in decoded])
    return Paging(size, backwards, bound_to, ends[0], ends[1])


def _kind(one: Selected, name: str) -> Any:
    return next(argument.kind for argument in one.arguments if argument.name == name)


def forbidden(root: Selected, role: Role) -> errors.Forbidden | None:
    """The error of the first field below (or at) a root that a role may not use."""
    for one in root.walk():
        if one.shape is not None and not allowed(one.shape, role):
            needed = one.shape.declaration.role.value if one.shape.declaration else "admin"
            return errors.Forbidden(f"`{one.shape.name}` needs the role {needed}; yours is {role.value}.")
    return None


@dataclass
class Plan:
    """A query, compiled: its roots, and the statement that answers those that are reads."""

    roots: Sequence[Selected]
    reads: Sequence[Selected] = ()
    shaped: Shaped | None = None
    singles: dict[str, Shaped] = field(default_factory=dict)  # root by root, for when the whole fails
    rejected: Mapping[str, errors.CrmError] = field(default_factory=dict)
    large: bool = False  # the last answer was: the next one queues for a slot

    def __post_init__(self) -> None:
        self.price = Price(self.roots)

    @classmethod
    def of(cls, roots: Sequence[Selected], role: Role) -> "Plan":
        """Plan a query's roots for a role."""
        rejected = {root.key: error for root in roots if (error := forbidden(root, role)) is not None}
        reads = [
            root
            for root in roots
            if root.shape is not None and root.shape.kind != "python" and root.key not in rejected
        ]
        shaped = Shaped(reads, lambda compiler: [compiler.root(root) for root in reads]) if reads else None
        return cls(roots, reads, shaped, {}, rejected)

    def cost(self, variables: Mapping[str, Any]) -> int:
        """About how many records the operation touches."""
        return self.price.of(variables)

    def single(self, root: Selected) -> Shaped:
        """One root alone."""
        found = self.singles.get(root.key)
        if found is None:
            found = self.singles[root.key] = Shaped([root], lambda compiler: [compiler.root(root)])
        return found
