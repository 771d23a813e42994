"""CollectFields, as the GraphQL specification has it, before any SQL."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    NamedTypeNode,
    SelectionSetNode,
    VariableNode,
)

from crm.graph.compile.arguments import Argument
from crm.graph.compile.shape import FieldShape, SchemaShape, TypeShape

TYPENAME = "__typename"


@dataclass(eq=False)
class Selected:
    """A field of the answer: its response key, its arguments, and the fields selected below it."""

    key: str
    shape: FieldShape | None  # None: __typename
    kind: TypeShape | None  # the type it leads to; None where it leads to one of several, each of which is a child
    nodes: list[FieldNode]
    arguments: list[Argument] = field(default_factory=list)
    children: list["Selected"] = field(default_factory=list)
    projection: Any = None  # a mutation's result, compiled (crm.graph.run.projection)

    @property
    def node(self) -> FieldNode:
        """The first of its nodes in the document."""
        return self.nodes[0]

    def walk(self) -> Iterator["Selected"]:
        """The field and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


class Collector:
    """Turns selection sets into `Selected`, by the document's fragments and the flags of @skip and @include."""

    def __init__(
        self,
        schema: SchemaShape,
        fragments: Mapping[str, FragmentDefinitionNode],
        flags: Mapping[str, bool],
    ) -> None:
        self._schema = schema
        self._fragments = fragments
        self._flags = flags

    def collect(self, selection_sets: list[SelectionSetNode], kind: TypeShape) -> list[Selected]:
        """The fields of an object, merged by response key, in order of first appearance."""
        grouped: dict[str, list[FieldNode]] = {}
        for selection_set in selection_sets:
            self._group(selection_set, grouped, set(), kind)
        return [self._selected(key, nodes, kind) for key, nodes in grouped.items()]

    def _group(
        self,
        selection_set: SelectionSetNode,
        grouped: dict[str, list[FieldNode]],
        seen: set[str],
        kind: TypeShape,
    ) -> None:
        for node in selection_set.selections:
            if not self._included(node):
                continue
            if isinstance(node, FieldNode):
                grouped.setdefault(node.alias.value if node.alias else node.name.value, []).append(node)
            elif isinstance(node, InlineFragmentNode):
                if node.type_condition is None or self._applies(node.type_condition, kind):
                    self._group(node.selection_set, grouped, seen, kind)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
                seen.add(node.name.value)
                fragment = self._fragments[node.name.value]
                if self._applies(fragment.type_condition, kind):
                    self._group(fragment.selection_set, grouped, seen, kind)

    def _applies(self, condition: NamedTypeNode, kind: TypeShape) -> bool:
        """Whether a fragment on this type is about an object of that type."""
        name = condition.name.value
        return name == kind.name or kind.name in self._schema.possible.get(name, ())

    def _selected(self, key: str, nodes: list[FieldNode], parent: TypeShape) -> Selected:
        node = nodes[0]
        name = node.name.value
        if name == TYPENAME or name.startswith("__"):
            return Selected(key, None, parent, nodes)
        shape = parent.fields[name]
        if shape.each:
            one = self._one_of(key, shape.of_one_key(), nodes)
            return Selected(key, shape, None, nodes, _arguments(shape, nodes), [one])
        if shape.possible:
            return self._one_of(key, shape, nodes)
        return self._leading_to(key, shape, self._schema.types.get(shape.target) if shape.target else None, nodes)

    def _one_of(self, key: str, shape: FieldShape, nodes: list[FieldNode]) -> Selected:
        """A field that leads to one of several types: its children are the same field for each of them."""
        kinds = [self._schema.types[name] for name in shape.possible]
        children = [self._leading_to(kind.name, shape.leading_to(kind), kind, nodes) for kind in kinds]
        return Selected(key, shape, None, nodes, children=children)

    def _leading_to(self, key: str, shape: FieldShape, kind: TypeShape | None, nodes: list[FieldNode]) -> Selected:
        sets = [duplicate.selection_set for duplicate in nodes if duplicate.selection_set is not None]
        children = self.collect(sets, kind) if kind else []
        return Selected(key, shape, kind, nodes, _arguments(shape, nodes), children)

    def _included(self, node: Any) -> bool:
        for directive in node.directives or ():
            if directive.name.value in ("skip", "include"):
                value = directive.arguments[0].value
                flag = self._flags[value.name.value] if isinstance(value, VariableNode) else value.value
                if flag == (directive.name.value == "skip"):
                    return False
        return True


def _arguments(shape: FieldShape, nodes: list[FieldNode]) -> list[Argument]:
    values = {argument.name.value: argument.value for argument in nodes[0].arguments or ()}
    return [
        Argument.make(python_name, label, argument, values.get(label))
        for label, (python_name, argument) in shape.arguments.items()
    ]
