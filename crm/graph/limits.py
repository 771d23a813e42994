"""How much one operation may ask for, measured in one walk that visits each fragment once."""

from collections.abc import Mapping
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

from crm.core import errors
from crm.settings import Settings


@dataclass(frozen=True)
class Size:
    """What a selection adds up to, its fragments expanded."""

    depth: int = 0
    introspection_depth: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0

    def beside(self, other: "Size") -> "Size":
        """Both together."""
        return Size(
            max(self.depth, other.depth),
            max(self.introspection_depth, other.introspection_depth),
            self.fields + other.fields,
            self.aliases + other.aliases,
            self.directives + other.directives,
        )


def check_document(document: DocumentNode, limits: Settings) -> None:
    """Refuse a document that is too large, before it is validated: validation itself multiplies fragments."""
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    if len(fragments) > limits.max_fragments:
        _refuse("fragments", len(fragments), limits.max_fragments)
    walk = _Walk(fragments)
    for node in document.definitions:
        if isinstance(node, OperationDefinitionNode):
            size = walk.size(node.selection_set).beside(Size(directives=len(node.directives or ())))
            _check(size, limits)
    for name in fragments:
        _check(walk.fragment(name), limits)


def _check(size: Size, limits: Settings) -> None:
    if size.depth > limits.max_depth:
        _refuse("levels", size.depth, limits.max_depth)
    if size.introspection_depth > limits.max_introspection_depth:
        _refuse(
            "levels of introspection",
            size.introspection_depth,
            limits.max_introspection_depth,
        )
    if size.fields > limits.max_fields:
        _refuse("fields", size.fields, limits.max_fields)
    if size.aliases > limits.max_aliases:
        _refuse("aliases", size.aliases, limits.max_aliases)
    if size.directives > limits.max_directives:
        _refuse("directives", size.directives, limits.max_directives)


def _refuse(what: str, found: int, most: int) -> None:
    shown = f"{found:,}" if found < 10**9 else "far too many"
    message = f"The operation has {shown} {what}; at most {most:,} are allowed."
    raise errors.TooComplex(message, limit=most, what=what)


class _Walk:
    """Sizes, each fragment measured once; a fragment within itself counts as nothing (validation refuses it)."""

    def __init__(self, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
        self._fragments = fragments
        self._known: dict[str, Size] = {}

    def fragment(self, name: str) -> Size:
        if name not in self._known:
            self._known[name] = Size()
            node = self._fragments.get(name)
            if node is not None:
                self._known[name] = self.size(node.selection_set).beside(Size(directives=len(node.directives or ())))
        return self._known[name]

    def size(self, selection_set: SelectionSetNode) -> Size:
        total = Size()
        for node in selection_set.selections:
            total = total.beside(Size(directives=len(node.directives or ())))
            if isinstance(node, FieldNode):
                total = total.beside(self._field(node))
            elif isinstance(node, InlineFragmentNode):
                total = total.beside(self.size(node.selection_set))
            elif isinstance(node, FragmentSpreadNode):
                total = total.beside(self.fragment(node.name.value))
        return total

    def _field(self, node: FieldNode) -> Size:
        inner = self.size(node.selection_set) if node.selection_set else Size()
        introspects = node.name.value in ("__schema", "__type")
        return Size(
            depth=0 if introspects else inner.depth + 1,
            introspection_depth=(inner.depth + 1) if introspects else inner.introspection_depth,
            fields=inner.fields + 1,
            aliases=inner.aliases + (node.alias is not None),
            directives=inner.directives,
        )
