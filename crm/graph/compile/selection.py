"""CollectFields, as the GraphQL specification has it, before any SQL."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
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
    kind: TypeShape | None  # the type it leads to
    nodes: list[FieldNode]
    arguments: list[Argument] = field(default_factory=list)
    children: list["Selected"] = field(default_factory=list)
    shown: Any = None  # a mutation's result, compiled (crm.graph.run.projection)

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
            self._group(selection_set, grouped, set())
        return [self._selected(key, nodes, kind) for key, nodes in grouped.items()]

    def _group(
        self,
        selection_set: SelectionSetNode,
        grouped: dict[str, list[FieldNode]],
        seen: set[str],
    ) -> None:
        for node in selection_set.selections:
            if not self._included(node):
                continue
            if isinstance(node, FieldNode):
                grouped.setdefault(node.alias.value if node.alias else node.name.value, []).append(node)
            elif isinstance(node, InlineFragmentNode):
                self._group(node.selection_set, grouped, seen)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
                seen.add(node.name.value)
                self._group(self._fragments[node.name.value].selection_set, grouped, seen)

    def _selected(self, key: str, nodes: list[FieldNode], parent: TypeShape) -> Selected:
        node = nodes[0]
        name = node.name.value
        if name == TYPENAME or name.startswith("__"):
            return Selected(key, None, parent, nodes)
        shape = parent.fields[name]
        kind = self._schema.types.get(shape.target) if shape.target else None
        given = {argument.name.value: argument.value for argument in node.arguments or ()}
        arguments = [
            Argument.make(python_name, label, argument, given.get(label))
            for label, (python_name, argument) in shape.arguments.items()
        ]
        children = (
            self.collect(
                [duplicate.selection_set for duplicate in nodes if duplicate.selection_set is not None],
                kind,
            )
            if kind
            else []
        )
        return Selected(key, shape, kind, nodes, arguments, children)

    def _included(self, node: Any) -> bool:
        for directive in node.directives or ():
            if directive.name.value in ("skip", "include"):
                value = directive.arguments[0].value
                flag = self._flags[value.name.value] if isinstance(value, VariableNode) else value.value
                if flag == (directive.name.value == "skip"):
                    return False
        return True
