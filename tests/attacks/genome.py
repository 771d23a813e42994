"""Operations that change: made from the schema alone, mutated as syntax trees, bounded by their size."""

import contextlib
import json
import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    get_named_type,
    is_leaf_type,
    parse,
    print_ast,
    value_from_ast_untyped,
)

# Mutations that add are fair game; what removes or restarts things would change the target for those that follow.
_WRITES = ("createLeads", "createLead", "createTask", "logInteraction", "createAiTasks", "createAiTask")
# What is to fill a size, and is smaller than one in so many of it, grows, so often.
_SMALL, _GROWTH = 8, 3
_TEXTS = ("a", "an", "Å", "%", "_", "\\", "x" * 200, "e" * 2_000, "\u2028", "'; --", "ab\n", "😀" * 50)


@dataclass
class Genome:
    """A request: the document's text, its variables, and where it came from."""

    text: str
    variables: dict[str, Any] = field(default_factory=dict)
    parent: str = ""

    @property
    def body(self) -> bytes:
        """The request's body; what has no variables sends none."""
        request: dict[str, Any] = {"query": self.text}
        if self.variables:
            request["variables"] = self.variables
        return json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


class Breeder:
    """Makes operations, and others out of them."""

    def __init__(self, schema: GraphQLSchema, dice: random.Random) -> None:
        self._schema = schema
        self._dice = dice

    # New ones

    def fresh(self) -> Genome:
        """A random operation."""
        dice = self._dice
        kind = self._schema.query_type
        word = "query"
        names = None
        if dice.random() < 0.1:
            kind, word, names = self._schema.mutation_type, "mutation", _WRITES
        assert kind is not None
        roots = [self._field(kind, dice.randint(1, 5), names) for _ in range(dice.choice((1, 1, 1, 2, 4)))]
        return Genome(f"{word} {{ {' '.join(roots)} }}", parent="fresh")

    def _field(self, kind: Any, depth: int, names: tuple[str, ...] | None = None) -> str:
        name = self._dice.choice(names or tuple(kind.fields))
        found = kind.fields[name]
        arguments = self._arguments(found.args)
        target = get_named_type(found.type)
        return f"{name}{arguments}{self._selection(target, depth - 1)}"

    def _selection(self, kind: Any, depth: int) -> str:
        if is_leaf_type(kind):
            return ""
        if not isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            return " { __typename }"
        leaves = [name for name, one in kind.fields.items() if is_leaf_type(get_named_type(one.type))]
        parts = self._dice.sample(leaves, min(len(leaves), self._dice.choice((1, 2, 4, 12))))
        if depth > 0:
            parts += [self._field(kind, depth) for _ in range(self._dice.choice((0, 1, 1, 2)))]
        aliased = [f"{self._alias()}{part}" if ":" not in part.split("(")[0] else part for part in parts]
        return f" {{ {' '.join(aliased or ['__typename'])} }}"

    def _alias(self) -> str:
        return f"a{self._dice.randrange(10**6)}: " if self._dice.random() < 0.3 else ""

    def _arguments(self, arguments: dict[str, Any]) -> str:
        chosen = [
            f"{name}: {self.literal(one.type, 3)}"
            for name, one in arguments.items()
            if isinstance(one.type, GraphQLNonNull) or self._dice.random() < 0.4
        ]
        return f"({', '.join(chosen)})" if chosen else ""

    def literal(self, kind: Any, depth: int) -> str:
        """A value of this type, as GraphQL spells it."""
        dice = self._dice
        if isinstance(kind, GraphQLNonNull):
            return self.literal(kind.of_type, depth)
        if isinstance(kind, GraphQLList):
            count = dice.choice((0, 1, 2, 5, 30)) if depth > 0 else 1
            return f"[{', '.join(self.literal(kind.of_type, depth - 1) for _ in range(count))}]"
        if isinstance(kind, GraphQLInputObjectType):
            names = [name for name, one in kind.fields.items() if isinstance(one.type, GraphQLNonNull)]
            others = [name for name in kind.fields if name not in names]
            names += dice.sample(others, min(len(others), dice.choice((0, 1, 2, 4)) if depth > 0 else 0))
            return f"{{{', '.join(f'{name}: {self.literal(kind.fields[name].type, depth - 1)}' for name in names)}}}"
        if isinstance(kind, GraphQLEnumType):
            return dice.choice(tuple(kind.values))
        spelled = {
            "Int": lambda: str(dice.choice((0, 1, 2, 50, 1000, 2**31 - 1))),
            "Boolean": lambda: dice.choice(("true", "false")),
            "Float": lambda: "1.5",
            "DateTime": lambda: '"2026-01-01T00:00:00Z"',
            "Date": lambda: '"2026-01-01"',
            "Decimal": lambda: '"1000.00"',
        }.get(kind.name, lambda: json.dumps(dice.choice(_TEXTS), ensure_ascii=False))
        return spelled()

    # Others out of them

    def mutant(self, genome: Genome, other: Genome, largest: int) -> Genome | None:
        """One or a few changes to an operation; None if it came out broken, too large, or the same."""
        found = Genome(genome.text, deepcopy(genome.variables), genome.text[:80])
        for _ in range(self._dice.choice((1, 1, 2, 3))):
            change: Callable[[Breeder, Genome, Genome, int], Genome | None] = self._dice.choice(self._CHANGES)
            try:
                changed = change(self, found, other, largest)
            except Exception:  # noqa: BLE001  (an operation that no parser takes cannot be changed as a tree)
                changed = self._inflated_text(found, other, largest)
            if changed is None or len(changed.body) > largest:
                return None
            found = changed
        for _ in range(_GROWTH):
            if len(found.body) > largest // _SMALL:
                break
            grow: Callable[[Breeder, Genome, Genome, int], Genome] = self._dice.choice(self._GROWING)
            with contextlib.suppress(Exception):  # not every operation has what this grows
                grown = grow(self, found, other, largest)
                found = grown if len(grown.body) <= largest else found
        return found if found.text != genome.text or found.variables != genome.variables else None

    def _repeated(self, genome: Genome, _: Genome, largest: int) -> Genome:
        """A field many times, under aliases or under its own name."""
        document = parse(genome.text)
        holder, node = self._dice.choice(list(_fields(document)))
        room = max(1, (largest - len(genome.body)) // (len(print_ast(node)) + 8))
        count = min(room, self._dice.choice((1, 2, 5, 20, 60, 500)))
        text = print_ast(node)
        bare = text.split(":", 1)[1] if node.alias else text
        aliased = self._dice.random() < 0.8
        more = [f"b{self._dice.randrange(10**6)}:{bare}" if aliased else text for _ in range(count)]
        added = parse(f"{{ {' '.join(more)} }}").definitions[0].selection_set.selections
        holder.selections = (*holder.selections, *added)
        return _printed(genome, document)

    def _grown(self, genome: Genome, _: Genome, __: int) -> Genome:
        """A field more, where the schema allows one."""
        document = parse(genome.text)
        holders = list(_holders(document, self._schema))
        kind, holder = self._dice.choice(holders)
        added = parse(f"{{ {self._alias()}{self._field(kind, self._dice.randint(1, 4))} }}").definitions[0]
        holder.selections = (*holder.selections, *added.selection_set.selections)
        return _printed(genome, document)

    def _argued(self, genome: Genome, _: Genome, __: int) -> Genome:
        """Other arguments for a field."""
        document = parse(genome.text)
        kind, holder = self._dice.choice(list(_holders(document, self._schema)))
        nodes = [one for one in holder.selections if isinstance(one, FieldNode) and one.name.value in kind.fields]
        node = self._dice.choice([one for one in nodes if kind.fields[one.name.value].args])
        arguments = self._arguments(kind.fields[node.name.value].args)
        node.arguments = parse(f"{{ f{arguments} }}").definitions[0].selection_set.selections[0].arguments
        return _printed(genome, document)

    def _unlimited(self, genome: Genome, _: Genome, __: int) -> Genome:
        """A list without its limit, or with the largest."""
        document = parse(genome.text)
        limited = [
            node
            for _, node in _fields(document)
            if any(one.name.value in ("limit", "first") for one in node.arguments or ())
        ]
        node = self._dice.choice(limited)
        node.arguments = tuple(one for one in node.arguments if one.name.value not in ("limit", "first"))
        return _printed(genome, document)

    def _filtered(self, genome: Genome, _: Genome, largest: int) -> Genome:
        """A filter of many conditions, side by side or one within another."""
        document = parse(genome.text)
        kind, holder = self._dice.choice(list(_holders(document, self._schema)))
        nodes = [
            one
            for one in holder.selections
            if isinstance(one, FieldNode)
            and one.name.value in kind.fields
            and "filter" in kind.fields[one.name.value].args
        ]
        node = self._dice.choice(nodes)
        filter_type = kind.fields[node.name.value].args["filter"].type
        condition = self.literal(filter_type, 3)
        room = max(1, (largest - len(genome.body)) // (len(condition) + 4))
        count = min(room, self._dice.choice((2, 8, 40, 250)))
        if self._dice.random() < 0.5:
            word = self._dice.choice(("or", "and"))
            spelled = f"{{{word}: [{', '.join([condition] * count)}]}}"
        else:
            levels = min(count, 60)
            spelled = "{not: " * levels + condition + "}" * levels
        argument = parse(f"{{ f(filter: {spelled}) }}").definitions[0].selection_set.selections[0].arguments
        node.arguments = (*(one for one in node.arguments if one.name.value != "filter"), *argument)
        return _printed(genome, document)

    def _lifted(self, genome: Genome, _: Genome, __: int) -> Genome:
        """An argument's value becomes a variable that several fields use."""
        document = parse(genome.text)
        operation = next(one for one in document.definitions if isinstance(one, OperationDefinitionNode))
        name = self._dice.choice([one.name.value for _, node in _fields(document) for one in node.arguments or ()])
        kinds = {
            str(kind.fields[node.name.value].args[name].type)
            for kind, holder in _holders(document, self._schema)
            for node in holder.selections
            if isinstance(node, FieldNode) and node.name.value in kind.fields
            if name in kind.fields[node.name.value].args
        }
        kind = self._dice.choice(sorted(kinds))
        variable = f"v{self._dice.randrange(10**6)}"
        value = next(
            one.value for _, node in _fields(document) for one in node.arguments or () if one.name.value == name
        )
        used = parse(f"{{ f({name}: ${variable}) }}").definitions[0].selection_set.selections[0].arguments[0].value
        for _, node in _fields(document):
            for one in node.arguments or ():
                if one.name.value == name:
                    one.value = used
        defined = parse(f"query (${variable}: {kind}) {{ a }}").definitions[0].variable_definitions
        operation.variable_definitions = (*(operation.variable_definitions or ()), *defined)
        found = _printed(genome, document)
        found.variables[variable] = value_from_ast_untyped(value)
        return found

    def _fragmented(self, genome: Genome, _: Genome, largest: int) -> Genome:
        """Fragments: a chain, a doubling tree, or a circle of them."""
        document = parse(genome.text)
        kind, holder = self._dice.choice(list(_holders(document, self._schema)))
        shape = self._dice.choice(("chain", "tree", "circle", "unreached"))
        count = self._dice.choice((2, 8, 20, 50, 120))
        base = f"F{self._dice.randrange(10**6)}"
        texts = []
        inside = print_ast(holder) if len(print_ast(holder)) < largest // 10 else "{ __typename }"
        for number in range(count):
            following = f"...{base}_{number + 1}" if number + 1 < count else ""
            if shape == "tree":
                following = f"{following} {following}"
            if shape == "circle" and number + 1 == count:
                following = f"...{base}_0 " * self._dice.choice((1, 3))
            own = inside if number + 1 == count else "{ __typename }"
            texts.append(f"fragment {base}_{number} on {kind.name} {{ {own[1:-1]} {following} }}")
        if shape != "unreached":
            spread = parse(f"{{ ...{base}_0 }}").definitions[0].selection_set.selections
            holder.selections = (*holder.selections, *spread)
        found = _printed(genome, document)
        return Genome(f"{found.text}\n{chr(10).join(texts)}", found.variables, genome.parent)

    def _many_operations(self, genome: Genome, _: Genome, largest: int) -> Genome:
        """More operations in the document (only unnamed ones are wrong, which is fine too)."""
        count = min(self._dice.choice((2, 10, 60, 600)), largest // 20)
        return Genome(f"{genome.text} {'query Q {__typename} ' * count}", genome.variables, genome.parent)

    def _directed(self, genome: Genome, _: Genome, __: int) -> Genome:
        """Directives, by the dozen."""
        count = self._dice.choice((1, 9, 60))
        directives = parse(f"{{ f {'@include(if: true) ' * count} }}").definitions[0].selection_set.selections[0]
        document = parse(genome.text)
        _, node = self._dice.choice(list(_fields(document)))
        node.directives = (*(node.directives or ()), *directives.directives)
        return _printed(genome, document)

    def _inflated_text(self, genome: Genome, _: Genome, largest: int) -> Genome:
        """Characters that mean nothing, or a literal that does not end."""
        room = max(1, largest - len(genome.body) - 100)
        count = self._dice.choice((room, room // 2, 100))
        filler = self._dice.choice(
            (" ", ",", "\n", "#\n", "{", "[", "a ", '"x" ', "...", "(", "$a:", "1 ", "\u00e5", "é ")
        )
        place = self._dice.randrange(len(genome.text) + 1)
        more = filler * (count // len(filler.encode()))
        return Genome(genome.text[:place] + more + genome.text[place:], genome.variables, genome.parent)

    def _inflated_variables(self, genome: Genome, _: Genome, largest: int) -> Genome:
        """Variables of all sizes and shapes."""
        room = max(1, largest - len(genome.body) - 100)
        dice = self._dice
        shapes: list[Callable[[], Any]] = [
            lambda: "x" * room,
            lambda: [1] * (room // 2),
            lambda: [{}] * (room // 3),
            lambda: {f"k{number}": number for number in range(room // 14)},
            lambda: int("9" * min(room, 4_000)),
            lambda: json.loads("[" * min(room // 2, 400) + "]" * min(room // 2, 400)),
            lambda: {"or": [{"id": {"eq": 1}}] * (room // 15)},
            lambda: {"or": [{"company": {"contains": "a"}}] * (room // 30)},
            lambda: {"id": {"in": [1] * (room // 2)}},
            lambda: {"company": {"in": ["ab"] * (room // 5)}},
            lambda: [{"firstName": "A", "lastName": "B"}] * min(1_000, room // 40),
            lambda: [_large_lead(number) for number in range(min(1_000, room // 2_000))],
            lambda: [{"field": "ID"}] * (room // 15),
        ]
        names = list(genome.variables) or ["v"]
        found = Genome(genome.text, {**genome.variables}, genome.parent)
        found.variables[dice.choice(names)] = dice.choice(shapes)()
        return found

    def _crossed(self, genome: Genome, other: Genome, _: int) -> Genome:
        """The roots of both."""
        document, second = parse(genome.text), parse(other.text)
        mine, theirs = (
            next(one for one in tree.definitions if isinstance(one, OperationDefinitionNode))
            for tree in (document, second)
        )
        mine.selection_set.selections = (*mine.selection_set.selections, *theirs.selection_set.selections)
        mine.variable_definitions = (*(mine.variable_definitions or ()), *(theirs.variable_definitions or ()))
        rest = [one for one in second.definitions if one is not theirs]
        document.definitions = (*document.definitions, *rest)
        return Genome(print_ast(document), {**other.variables, **genome.variables}, genome.parent)

    _GROWING = (_repeated, _filtered, _fragmented, _inflated_text, _inflated_variables)
    _CHANGES = (
        _repeated,
        _repeated,
        _grown,
        _grown,
        _argued,
        _unlimited,
        _filtered,
        _filtered,
        _lifted,
        _fragmented,
        _many_operations,
        _directed,
        _inflated_text,
        _inflated_variables,
        _crossed,
    )


def _large_lead(number: int) -> dict[str, Any]:
    """A lead as large as one may be."""
    tags = [f"tag {place} of {number}" for place in range(50)]
    return {"firstName": "A" * 100, "lastName": "Å" * 100, "company": "C" * 200, "location": "é" * 200, "tags": tags}


def _printed(genome: Genome, document: DocumentNode) -> Genome:
    return Genome(print_ast(document), dict(genome.variables), genome.parent)


def _fields(node: Any) -> Iterator[tuple[Any, FieldNode]]:
    """Each field with the selection set that holds it."""
    if isinstance(node, DocumentNode):
        for one in node.definitions:
            yield from _fields(one)
        return
    holder = getattr(node, "selection_set", None)
    for one in holder.selections if holder else ():
        if isinstance(one, FieldNode):
            yield holder, one
        yield from _fields(one)


def _holders(document: DocumentNode, schema: GraphQLSchema) -> Iterator[tuple[Any, Any]]:
    """Each selection set with the type that it selects from."""
    for one in document.definitions:
        if isinstance(one, OperationDefinitionNode):
            kind: Any = schema.get_root_type(one.operation)
        else:
            kind = schema.type_map.get(one.type_condition.name.value)
        yield from _within(one, kind)


def _within(node: Any, kind: Any) -> Iterator[tuple[Any, Any]]:
    holder = getattr(node, "selection_set", None)
    if holder is None or not isinstance(kind, GraphQLObjectType):
        return
    yield kind, holder
    for one in holder.selections:
        if isinstance(one, InlineFragmentNode):
            yield from _within(one, kind)
        elif isinstance(one, FieldNode) and one.name.value in kind.fields:
            yield from _within(one, get_named_type(kind.fields[one.name.value].type))
