"""How much one operation may ask for, measured in one walk that visits each fragment once."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, NoReturn

from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
)

from crm.core import errors
from crm.settings import Settings

_INTROSPECTION: Final = ("__schema", "__type")
_MAX_PAIRS: Final = 5000
_COUNTLESS: Final = 10**9


Fragments = Mapping[str, FragmentDefinitionNode]
Names = frozenset[str]


class Size(NamedTuple):
    """What a selection adds up to, its fragments expanded."""

    depth: int = 0
    introspection_depth: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0
    input_depth: int = 0
    inputs: int = 0
    spreads: int = 0


_NOTHING: Final = Size()


def check_document(document: DocumentNode, limits: Settings) -> None:
    """Refuse a document that is too large, before it is validated: validation itself multiplies fragments."""
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    if len(fragments) > limits.max_fragments:
        _refuse("fragments", len(fragments), limits.max_fragments)
    walk = _Walk(fragments)
    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode):
            _check(walk.size(node.selection_set, len(node.directives or ())), limits)
    for name, fragment in fragments.items():
        size = walk.fragment(name)
        if fragment.type_condition.name.value.startswith("__"):
            # It fits only inside introspection, and the query that tools send is deeper than other operations may be.
            size = size._replace(depth=0, introspection_depth=size.depth)
        _check(size, limits)
    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode):
            _check_repetition(node.selection_set, fragments)


def root_names(node: OperationDefinitionNode, fragments: Fragments) -> frozenset[str]:
    """The names of the fields that an operation selects at its root, fragments expanded."""
    return frozenset(field.name.value for field in _fields([node.selection_set], fragments))


def check_values(values: Mapping[str, Any], limits: Settings, *, uncounted: Collection[str] = ()) -> None:
    """The same for what comes in variables: a filter, for one, is as much work as the selection that it filters.

    Of records to be saved there may be more, which is why their variables are `uncounted`; no deeper ones, though.
    """
    _check_nesting([value for name, value in values.items() if name not in uncounted], limits)
    _check_nesting([values[name] for name in uncounted if name in values], limits, _COUNTLESS)


def _check_nesting(values: Iterable[Any], limits: Settings, most: int | None = None) -> None:
    inputs, depth, level = 0, 0, [value for value in values if isinstance(value, dict | list)]
    while level:
        objects = [value for value in level if isinstance(value, dict)]
        inputs, depth = inputs + len(objects), depth + bool(objects)
        _check_inputs(inputs, depth, limits, most)
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, dict | list)
        ]


def _check(size: Size, limits: Settings) -> None:
    if size.depth > limits.max_depth:
        _refuse("levels", size.depth, limits.max_depth)
    if size.introspection_depth > limits.max_introspection_depth:
        _refuse("levels of introspection", size.introspection_depth, limits.max_introspection_depth)
    if size.fields > limits.max_fields:
        _refuse("fields", size.fields, limits.max_fields)
    if size.aliases > limits.max_aliases:
        _refuse("aliases", size.aliases, limits.max_aliases)
    if size.directives > limits.max_directives:
        _refuse("directives", size.directives, limits.max_directives)
    if size.spreads > limits.max_fields:
        _refuse("fragment spreads", size.spreads, limits.max_fields)
    _check_inputs(size.inputs, size.input_depth, limits)


def _check_inputs(inputs: int, depth: int, limits: Settings, most: int | None = None) -> None:
    most = most or limits.max_fields
    if inputs > most:
        _refuse("conditions and inputs", inputs, most)
    if depth > limits.max_depth:
        _refuse("levels of input", depth, limits.max_depth)


def _refuse(what: str, found: int, most: int) -> NoReturn:
    shown = f"{found:,}" if found < _COUNTLESS else "far too many"
    message = f"The operation has {shown} {what}; at most {most:,} are allowed."
    raise errors.TooComplex(message, limit=most, what=what)


class _Walk:
    """Sizes, each fragment measured once; a fragment within itself counts as nothing (validation refuses it)."""

    def __init__(self, fragments: Fragments) -> None:
        self._fragments = fragments
        self._known: dict[str, Size] = {}

    def fragment(self, name: str) -> Size:
        """The size of a fragment wherever it is spread."""
        found = self._known.get(name)
        if found is None:
            self._known[name] = _NOTHING
            node = self._fragments.get(name)
            found = _NOTHING if node is None else self.size(node.selection_set, len(node.directives or ()))
            self._known[name] = found
        return found

    def size(self, selection_set: SelectionSetNode | None, directives: int = 0) -> Size:
        """The size of a selection, and of what stands beside it."""
        if selection_set is None:
            return _NOTHING
        depth = introspection_depth = fields = aliases = input_depth = inputs = spreads = 0
        for node in selection_set.selections:
            directives += len(node.directives or ())
            if isinstance(node, FieldNode):
                inner = self._field(node)
            elif isinstance(node, InlineFragmentNode):
                inner = self.size(node.selection_set)
            else:
                assert isinstance(node, FragmentSpreadNode)
                inner = self.fragment(node.name.value)
                spreads += 1
            depth = max(depth, inner.depth)
            introspection_depth = max(introspection_depth, inner.introspection_depth)
            fields += inner.fields
            aliases += inner.aliases
            directives += inner.directives
            input_depth = max(input_depth, inner.input_depth)
            inputs += inner.inputs
            spreads += inner.spreads
        return Size(depth, introspection_depth, fields, aliases, directives, input_depth, inputs, spreads)

    def _field(self, node: FieldNode) -> Size:
        if node.selection_set is None and not node.arguments:
            return _ALIASED if node.alias else _PLAIN
        inner = self.size(node.selection_set)
        introspects = node.name.value in _INTROSPECTION
        depth, inputs = _arguments(node.arguments or ())
        return Size(
            depth=0 if introspects else inner.depth + 1,
            introspection_depth=inner.depth + 1 if introspects else inner.introspection_depth,
            fields=inner.fields + 1,
            aliases=inner.aliases + (node.alias is not None),
            directives=inner.directives,
            input_depth=max(depth, inner.input_depth),
            inputs=inputs + inner.inputs,
            spreads=inner.spreads,
        )


def _check_repetition(selection_set: SelectionSetNode, fragments: Fragments) -> None:
    """Fields under one key are compared with each other, each with each: 250 times `leads { id }` took 0.3 s."""
    pairs, levels = 0, [[selection_set]]
    while levels:
        below: dict[str, list[SelectionSetNode]] = {}
        counts: Counter[str] = Counter()
        for node in _fields(levels.pop(), fragments):
            key = (node.alias or node.name).value
            counts[key] += 1
            if node.selection_set is not None:
                below.setdefault(key, []).append(node.selection_set)
        pairs += sum(count * (count - 1) // 2 for count in counts.values())
        if pairs > _MAX_PAIRS:
            _refuse("pairs of fields under one name", pairs, _MAX_PAIRS)
        levels.extend(below.values())


def _fields(
    selection_sets: list[SelectionSetNode], fragments: Fragments, within: Names = frozenset()
) -> Iterator[FieldNode]:
    for selection_set in selection_sets:
        for node in selection_set.selections:
            if isinstance(node, FieldNode):
                yield node
            elif isinstance(node, InlineFragmentNode):
                yield from _fields([node.selection_set], fragments, within)
            elif isinstance(node, FragmentSpreadNode):
                name = node.name.value
                if name in fragments and name not in within:
                    yield from _fields([fragments[name].selection_set], fragments, within | {name})


_PLAIN: Final = Size(depth=1, fields=1)
_ALIASED: Final = Size(depth=1, fields=1, aliases=1)


def _arguments(arguments: tuple[ArgumentNode, ...]) -> tuple[int, int]:
    """How deep the objects in these arguments nest, and how many there are."""
    found = [_objects(one.value) for one in arguments]
    return max((depth for depth, _ in found), default=0), sum(count for _, count in found)


def _objects(value: ValueNode) -> tuple[int, int]:
    if isinstance(value, ObjectValueNode):
        below = [_objects(one.value) for one in value.fields]
        return 1 + max((depth for depth, _ in below), default=0), 1 + sum(count for _, count in below)
    if isinstance(value, ListValueNode):
        below = [_objects(one) for one in value.values]
        return max((depth for depth, _ in below), default=0), sum(count for _, count in below)
    return 0, 0
