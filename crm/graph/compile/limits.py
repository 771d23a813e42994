"""Limits on a document: depth, fields, aliases and others, measured in one walk that visits each fragment once."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
from crm.core.settings import Settings

_INTROSPECTION: Final = ("__schema", "__type")
_MAX_PAIRS: Final = 5000
# Each is a walk of the whole schema.
_MAX_INTROSPECTIONS: Final = 2
_COUNTLESS: Final = 10**9
_MOST_SHOWN: Final = 100


Fragments = Mapping[str, FragmentDefinitionNode]


class Size(NamedTuple):
    """The size of a selection, its fragments expanded."""

    depth: int = 0
    introspection_depth: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0
    input_depth: int = 0
    inputs: int = 0
    spreads: int = 0
    introspections: int = 0


_NOTHING: Final = Size()


def check_document(document: DocumentNode, limits: Settings) -> None:
    """Refuse a document that is too large, before it is validated: validation itself multiplies fragments."""
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    # Fragments of the same name are each counted and measured.
    fragments = [node for node in document.definitions if isinstance(node, FragmentDefinitionNode)]
    if len(operations) > limits.max_operations:
        refuse("operations", len(operations), limits.max_operations, within="document")
    if len(fragments) > limits.max_fragments:
        refuse("fragments", len(fragments), limits.max_fragments, within="document")
    by_name = {node.name.value: node for node in fragments}
    walk = _Walk(by_name)
    for operation in operations:
        _check(walk.size(operation.selection_set, len(operation.directives or ())), limits)
    for fragment in fragments:
        size = walk.size(fragment.selection_set, len(fragment.directives or ()))
        if fragment.type_condition.name.value.startswith("__"):
            # Such a fragment fits only inside introspection, and the query of tools is deeper than others may be.
            size = size._replace(depth=0, introspection_depth=size.depth)
        _check(size, limits)
    _check_repetition((*operations, *fragments), by_name)


def root_names(node: OperationDefinitionNode, fragments: Fragments) -> frozenset[str]:
    """The names of the fields that an operation selects at its root, fragments expanded."""
    return frozenset(field.name.value for field in _fields([node.selection_set], fragments))


def _check(size: Size, limits: Settings) -> None:
    if size.depth > limits.max_depth:
        refuse("levels", size.depth, limits.max_depth)
    if size.introspection_depth > limits.max_introspection_depth:
        refuse("levels of introspection", size.introspection_depth, limits.max_introspection_depth)
    if size.fields > limits.max_fields:
        refuse("fields", size.fields, limits.max_fields)
    if size.aliases > limits.max_aliases:
        refuse("aliases", size.aliases, limits.max_aliases)
    if size.directives > limits.max_directives:
        refuse("directives", size.directives, limits.max_directives)
    if size.spreads > limits.max_fields:
        refuse("fragment spreads", size.spreads, limits.max_fields)
    if size.introspections > _MAX_INTROSPECTIONS:
        refuse("introspections", size.introspections, _MAX_INTROSPECTIONS)
    if size.inputs > limits.max_fields:
        refuse("conditions and inputs", size.inputs, limits.max_fields)
    if size.input_depth > limits.max_depth:
        refuse("levels of input", size.input_depth, limits.max_depth)


_INSTEAD: Final = {
    "aliases": " To load many records, ask for a list: `leads(filter: {id: {in: [1, 2]}})`.",
    "levels": " Ask for what is deeper in an operation of its own.",
}


def refuse(noun: str, count: int, limit: int, within: str = "operation") -> NoReturn:
    """Raise the error for a document that has more of something than allowed."""
    count_text = f"{count:,}" if count < _COUNTLESS else "far too many"
    message = f"The {within} has {count_text} {noun}; at most {limit:,} are allowed.{_INSTEAD.get(noun, '')}"
    raise errors.TooComplex(message, limit=limit, what=noun)


class _Walk:
    """Sizes of selections, each fragment measured once. A fragment within itself is an error: its size is infinite."""

    def __init__(self, fragments: Fragments) -> None:
        self._fragments = fragments
        self._known: dict[str, Size] = {}
        self._under_way: set[str] = set()

    def fragment(self, name: str) -> Size:
        """The size of a fragment wherever it is spread."""
        size = self._known.get(name)
        if size is None:
            if name in self._under_way:
                message = f"Cannot spread fragment '{name[:_MOST_SHOWN]}' within itself."
                raise errors.BadUserInput(message)
            self._under_way.add(name)
            node = self._fragments.get(name)
            size = _NOTHING if node is None else self.size(node.selection_set, len(node.directives or ()))
            self._known[name] = size
        return size

    def size(self, selection_set: SelectionSetNode | None, directives: int = 0) -> Size:
        """The size of a selection set, and of its field's or fragment's directives."""
        if selection_set is None:
            return _NOTHING
        depth = introspection_depth = fields = aliases = input_depth = inputs = spreads = introspections = 0
        for node in selection_set.selections:
            directives += len(node.directives or ())
            if isinstance(node, FieldNode):
                inner = self._field(node)
            elif isinstance(node, InlineFragmentNode):
                inner = self.size(node.selection_set)
                spreads += 1
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
            introspections += inner.introspections
        return Size(
            depth, introspection_depth, fields, aliases, directives, input_depth, inputs, spreads, introspections
        )

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
            introspections=inner.introspections + introspects,
        )


def _check_repetition(definitions: Sequence[Any], fragments: Fragments) -> None:
    """Fields under one key are compared with each other, each with each: 250 times `leads { id }` took 0.3 s.

    Fragments are compared by themselves too, so that fragments that no operation uses count as well.
    """
    pairs = 0
    for definition in definitions:
        pairs += _pairs(definition.selection_set, fragments, _MAX_PAIRS - pairs)
        if pairs > _MAX_PAIRS:
            refuse("pairs of fields under one name", pairs, _MAX_PAIRS)


def _pairs(selection_set: SelectionSetNode, fragments: Fragments, most: int) -> int:
    """The number of pairs of fields under one key in a selection, at all its levels; counting stops beyond `most`."""
    pairs, levels = 0, [[selection_set]]
    while levels and pairs <= most:
        below: dict[str, list[SelectionSetNode]] = {}
        counts: Counter[str] = Counter()
        for node in _fields(levels.pop(), fragments):
            key = (node.alias or node.name).value
            counts[key] += 1
            if node.selection_set is not None:
                below.setdefault(key, []).append(node.selection_set)
        pairs += sum(count * (count - 1) // 2 for count in counts.values())
        levels.extend(below.values())
    return pairs


def _fields(selection_sets: list[SelectionSetNode], fragments: Fragments) -> Iterator[FieldNode]:
    """The fields of selections, their fragments expanded: none is within itself, so this ends."""
    waiting = list(reversed(selection_sets))
    while waiting:
        for node in waiting.pop().selections:
            if isinstance(node, FieldNode):
                yield node
            elif isinstance(node, InlineFragmentNode):
                waiting.append(node.selection_set)
            elif isinstance(node, FragmentSpreadNode) and node.name.value in fragments:
                waiting.append(fragments[node.name.value].selection_set)


_PLAIN: Final = Size(depth=1, fields=1)
_ALIASED: Final = Size(depth=1, fields=1, aliases=1)


def _arguments(arguments: tuple[ArgumentNode, ...]) -> tuple[int, int]:
    """The depth of the objects nested in these arguments, and their number."""
    sizes = [_objects(argument.value) for argument in arguments]
    return max((depth for depth, _ in sizes), default=0), sum(count for _, count in sizes)


def _objects(value: ValueNode) -> tuple[int, int]:
    if isinstance(value, ObjectValueNode):
        below = [_objects(member.value) for member in value.fields]
        return 1 + max((depth for depth, _ in below), default=0), 1 + sum(count for _, count in below)
    if isinstance(value, ListValueNode):
        below = [_objects(member) for member in value.values]
        return max((depth for depth, _ in below), default=0), sum(count for _, count in below)
    return 0, 0
