"""Random operations against the schema: valid ones, with everything that GraphQL's language offers."""

import json
import random
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
)

from tests.graph.reference import EnumName

# Text search, aggregates, activities, the place in the stream of changes, what is not in the database or is each user's
# own: they have tests of their own.
_ELSEWHERE = (
    "activities",
    "changeStream",
    "search",
    "leadStats",
    "taskStats",
    "interactionStats",
    "tagCounts",
    "taskAnalytics",
    "aiUsage",
    "aiStatus",
    "aiTask",
    "aiTasks",
    "aiTaskQueueStatus",
    "aiTaskStatistics",
)
NODES = ("Lead", "Task", "Interaction", "User")
_LONG = "an_alias_that_is_longer_than_any_name_that_PostgreSQL_would_keep_whole"


@dataclass
class Cursor:
    """A cursor that is yet to be found: of a row under these arguments, so far down (0 to 1)."""

    variable: str
    query: str
    place: float


@dataclass
class Operation:
    """An operation and its variables."""

    text: str
    variables: dict[str, Any]
    cursors: list[Cursor] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.text}\nvariables: {json.dumps(self.variables, ensure_ascii=False)}"


@dataclass
class Pools:
    """Values that occur in the data, so that filters find something."""

    texts: Sequence[str]
    moments: Sequence[str]
    amounts: Sequence[str]
    users: Sequence[str]
    emails: Sequence[str]
    changes: Sequence[str]
    highest: int


class Generator:
    """Makes one operation."""

    def __init__(self, schema: GraphQLSchema, pools: Pools, seed: str, *, deleted: bool) -> None:
        self._schema = schema
        self._pools = pools
        self._dice = random.Random(seed)
        self._deleted = deleted
        self._count = 0
        self._definitions: dict[str, str] = {}
        self._variables: dict[str, Any] = {}
        self._cursors: list[Cursor] = []
        self._flags: list[str] = []
        self._fragments: list[tuple[str, GraphQLObjectType, int]] = []
        self._fragment_texts: list[str] = []
        self._plain_arguments: dict[tuple[str, str], str] = {}
        # Of which type the records behind `Node` are asked for more: types share names of fields that are different.
        self._nodes = self._dice.choice(NODES)

    def operation(self) -> Operation:
        query = self._schema.query_type
        assert query is not None
        body = self._selection(query, self._dice.randint(2, 6), self._dice.choice((1, 1, 2, 4)))
        defined = ", ".join(self._definitions.values())
        texts = [f"query Generated{f'({defined})' if defined else ''} {body}", *self._fragment_texts]
        self._dice.shuffle(texts)
        return Operation("\n".join(texts), self._variables, self._cursors)

    def write_and_read(self, write: str, read: str) -> tuple[Operation, Operation]:
        """The same selection of a mutation's result and of a query's."""
        query = self._schema.query_type
        assert query is not None
        kind = get_named_type(query.fields[read].type)
        assert isinstance(kind, GraphQLObjectType)
        body = self._selection(kind, self._dice.randint(1, 4), self._dice.choice((1, 3, 6)))
        defined = "".join(f", {one}" for one in self._definitions.values())
        rest = "\n".join(self._fragment_texts)
        texts = (
            f"mutation ($id: Int!{defined}) {{ found: {write}(id: $id, input: {{}}) {body} }}\n{rest}",
            f"query ($id: Int!{defined}) {{ found: {read}(id: $id) {body} }}\n{rest}",
        )
        written, shown = (Operation(text, self._variables) for text in texts)
        return written, shown

    def filter(self, name: str, depth: int) -> dict[str, Any]:
        """A filter alone."""
        kind = self._schema.type_map[name]
        assert isinstance(kind, GraphQLInputObjectType)
        return self._input(kind, depth)

    # Selections

    def _selection(self, kind: Any, depth: int, size: int | None = None) -> str:
        if isinstance(kind, GraphQLInterfaceType):
            return self._of_any(depth)
        leaves = [name for name, one in kind.fields.items() if is_leaf_type(get_named_type(one.type))]
        branches = [name for name in kind.fields if name not in (*leaves, *_ELSEWHERE)] if depth > 1 else []
        made: list[tuple[str, GraphQLObjectType]] = []
        count = size or self._dice.choice((1, 2, 3, 3, 5))
        parts = [self._part(kind, depth, leaves, branches, made) for _ in range(count)]
        if leaves and self._chance(0.02):
            parts.extend(f"{self._alias(0.9)}{self._dice.choice(leaves)}" for _ in range(60))
        return f"{{ {' '.join(parts)} }}"

    def _of_any(self, depth: int) -> str:
        within = self._selection(self._schema.type_map[self._nodes], depth)
        fragment = f"... on {self._nodes}{self._directives()} {within}"
        plain = ["__typename", "nodeId", "... on Node { nodeId }", "... on AiTask { waitMs }"]
        parts = [fragment, *self._dice.sample(plain, self._dice.randint(0, 4))]
        self._dice.shuffle(parts)
        return f"{{ {' '.join(parts)} }}"

    def _part(  # noqa: PLR0911  (one line for each kind of selection)
        self, kind: Any, depth: int, leaves: list[str], branches: list[str], made: list[Any]
    ) -> str:
        roll = self._dice.random()
        if roll < 0.06:
            return f"{self._alias(0.4)}__typename{self._directives()}"
        if roll < 0.13:
            condition = self._dice.choice((f" on {kind.name}", ""))
            return f"...{condition}{self._directives()} {self._selection(kind, depth)}"
        if roll < 0.2:
            return f"...{self._fragment(kind, depth)}{self._directives()}"
        if made and self._chance(0.2):
            again, target = self._dice.choice(made)
            return f"{again}{self._directives()} {self._selection(target, depth - 1)}"
        if branches and (not leaves or self._chance(0.45)):
            return self._branch(kind, self._dice.choice(branches), depth, made)
        if leaves:
            return self._leaf(self._dice.choice(leaves))
        return f"{self._alias(0.4)}__typename"

    def _leaf(self, name: str) -> str:
        return f"{self._alias(0.25)}{name}{self._directives()}"

    def _branch(self, kind: GraphQLObjectType, name: str, depth: int, made: list[Any]) -> str:
        alias = self._alias(0.4)
        arguments = self._plain_arguments.get((kind.name, name)) if not alias else None
        if arguments is None:
            arguments = self._arguments(name, kind.fields[name].args, is_root=kind is self._schema.query_type)
            if not alias:  # the same key must mean the same, wherever two selections merge
                self._plain_arguments[kind.name, name] = arguments
        target: Any = get_named_type(kind.fields[name].type)
        field_ = f"{alias}{name}{arguments}"
        made.append((field_, target))
        return f"{field_}{self._directives()} {self._selection(target, depth - 1)}"

    def _fragment(self, kind: GraphQLObjectType, depth: int) -> str:
        known = [name for name, target, deep in self._fragments if target is kind and deep <= depth]
        if known and self._chance(0.5):
            return self._dice.choice(known)
        name = self._name("F")
        body = self._selection(kind, depth)
        self._fragments.append((name, kind, depth))
        self._fragment_texts.append(f"fragment {name} on {kind.name} {body}")
        return name

    def _alias(self, chance: float) -> str:
        if not self._chance(chance):
            return ""
        return f"{self._name(_LONG if self._chance(0.08) else 'a')}: "

    def _directives(self) -> str:
        if not self._chance(0.08):
            return ""
        kinds = self._dice.choice((["skip"], ["include"], ["include"], ["skip", "include"]))
        return "".join(f" @{one}(if: {self._flag(one)})" for one in kinds)

    def _flag(self, directive: str) -> str:
        usual = directive == "include"
        if self._chance(0.4):
            return str(usual if self._chance(0.7) else not usual).lower()
        if len(self._flags) < 5 and self._chance(0.6):
            name = self._name("flag")
            self._flags.append(name)
            value = self._chance(0.5)
            default = self._dice.choice(("", " = true", " = false"))
            self._definitions[name] = f"${name}: Boolean!{default}"
            if not default or self._chance(0.5):
                self._variables[name] = value
            return f"${name}"
        return f"${self._dice.choice(self._flags)}" if self._flags else "true"

    # Arguments

    def _arguments(self, field_: str, arguments: dict[str, GraphQLArgument], *, is_root: bool) -> str:
        texts = []
        backwards = self._chance(0.3)
        for name, argument in arguments.items():
            if name in ("after", "before") and "first" in arguments:
                continue
            if name in ("first", "last") and (name == "last") != backwards:
                continue
            if name == "includeDeleted" and not self._deleted:
                continue
            required = isinstance(argument.type, GraphQLNonNull) and argument.default_value in (None, ...)
            required = required or name in ("id", "leadId", "input", "nodeId", "nodeIds")
            if required or self._chance(0.9 if name == "last" else 0.35):
                value = self._argument(name, argument, required=required)
                texts.append(f"{name}: {self._placed(argument.type, value, name, free=not required)}")
        if "first" in arguments and is_root:
            texts += self._ends(field_, [one for one in texts if not one.startswith(("first", "last"))])
        self._dice.shuffle(texts)
        return f"({', '.join(texts)})" if texts else ""

    def _argument(self, name: str, argument: GraphQLArgument, *, required: bool) -> Any:  # noqa: PLR0911
        dice = self._dice
        if not required and not isinstance(argument.type, GraphQLNonNull) and name != "last" and self._chance(0.05):
            return None
        if name == "nodeId":
            return self._node_id()
        if name == "nodeIds":
            return [self._node_id() for _ in range(dice.choice((0, 1, 2, 5, 20)))]
        if name in ("id", "leadId"):
            number = dice.randint(1, self._pools.highest + 2)
            return str(number) if str(argument.type) == "ID!" and self._chance(0.5) else number
        if name in ("limit", "offset", "first", "last"):
            return dice.choice((0, 1, 2, 3, 5, 8, 1000))
        if name == "before":
            return dice.choice(self._pools.changes)
        if name == "types":
            return dice.sample(("lead.updated", "lead.created", "task.updated", "task.created"), dice.randint(0, 3))
        if name == "input":
            if self._chance(0.5):
                return {"email": dice.choice((str.upper, str.lower))(dice.choice(self._pools.emails))}
            return {"id": self._number_id()}
        return self._value(argument.type, 2)

    def _node_id(self) -> str:
        kind = self._nodes if self._chance(0.5) else self._dice.choice((*NODES, "Nothing"))
        users = self._dice.choice(self._pools.users)
        return node_id(kind, users if kind == "User" else self._dice.randint(1, self._pools.highest + 2))

    def _ends(self, field_: str, given: list[str]) -> list[str]:
        """`after` and `before`: cursors can only be found under the very same filter and order."""
        texts = []
        for end in ("after", "before"):
            if self._chance(0.3):
                name = self._name("cursor")
                inner = ", ".join([*given, "first: 1000"])
                names = dict.fromkeys(re.findall(r"\$(v\d+)\b", inner))
                used = ", ".join(self._definitions[one] for one in names if one in self._definitions)
                query = f"query{f'({used})' if used else ''} {{ {field_}({inner}) {{ edges {{ cursor }} }} }}"
                self._definitions[name] = f"${name}: String"
                self._cursors.append(Cursor(name, query, self._dice.random()))
                texts.append(f"{end}: ${name}")
        return texts

    # Values

    def _value(self, kind: Any, depth: int) -> Any:
        if isinstance(kind, GraphQLNonNull):
            return self._value(kind.of_type, depth)
        if isinstance(kind, GraphQLList):
            return [self._value(kind.of_type, depth - 1) for _ in range(self._dice.choice((0, 1, 1, 2, 3)))]
        if isinstance(kind, GraphQLInputObjectType):
            return self._input(kind, depth)
        if isinstance(kind, GraphQLEnumType):
            return EnumName(self._dice.choice([one for one in kind.values if one != "RELEVANCE"]))
        pools = self._pools
        return {
            "Int": lambda: self._dice.choice((0, 1, 2, 3, 7, 20, 50, 100, self._dice.randint(-5, pools.highest))),
            "String": self._text,
            "ID": lambda: self._dice.choice(pools.users),
            "Boolean": lambda: self._chance(0.5),
            "DateTime": lambda: self._dice.choice(pools.moments),
            "Date": lambda: self._dice.choice(pools.moments)[:10],
            "Decimal": lambda: self._dice.choice(pools.amounts),
        }[kind.name]()

    def _number_id(self) -> int | str:
        number = self._dice.randint(-5, self._pools.highest)
        return str(number) if self._chance(0.5) else number

    def _input(self, kind: GraphQLInputObjectType, depth: int) -> dict[str, Any]:
        if kind.name.endswith("Order"):
            names = ["field", *(one for one in ("direction", "nulls") if self._chance(0.6))]
            return {name: self._value(kind.fields[name].type, 0) for name in names}
        if kind.name.endswith("CountFilter"):
            operators = self._dice.sample([one for one in kind.fields if one != "where"], self._dice.choice((1, 1, 2)))
            counted = {name: self._value(kind.fields[name].type, 0) for name in operators}
            return {"where": self._input(kind.fields["where"].type, depth - 1), **counted} if depth > 0 else counted
        composite = [name for name, one in kind.fields.items() if _is_filter(get_named_type(one.type)) and depth > 0]
        plain = [name for name, one in kind.fields.items() if not _is_filter(get_named_type(one.type))]
        plain = [name for name in plain if name != "search"]
        chosen = self._dice.sample(plain, min(len(plain), self._dice.choice((0, 1, 1, 2))))
        if composite and self._chance(0.6):
            chosen.append(self._dice.choice(composite))
        self._dice.shuffle(chosen)
        return {name: self._field(kind, name, depth) for name in chosen}

    def _field(self, kind: GraphQLInputObjectType, name: str, depth: int) -> Any:
        is_condition = not isinstance(get_named_type(kind.fields[name].type), GraphQLInputObjectType)
        if not is_condition and self._chance(0.03):
            return None
        if kind.name == "IntIDFilter" and name != "isNull":
            return [self._number_id() for _ in range(3)] if name in ("in", "notIn") else self._number_id()
        return self._value(kind.fields[name].type, depth - 1)

    def _text(self) -> str:
        text = self._dice.choice(self._pools.texts)
        if not text or self._chance(0.4):
            return text
        start = self._dice.randrange(len(text))
        piece = text[start : start + self._dice.randint(1, 4)]
        return self._dice.choice((piece, piece.upper(), piece.lower()))

    # Spelling

    def _placed(self, kind: Any, value: Any, hint: str = "", *, free: bool = True) -> str:
        """A value where the schema wants this type: a literal, a variable, or a literal with variables inside."""
        if self._chance(0.2):
            return self._variable(kind, value, hint, free=free)
        bare = kind.of_type if isinstance(kind, GraphQLNonNull) else kind
        if isinstance(value, list):
            return f"[{', '.join(self._placed(bare.of_type, one) for one in value)}]"
        if isinstance(value, dict) and hint != "input":
            fields_ = (f"{name}: {self._placed(bare.fields[name].type, one)}" for name, one in value.items())
            return f"{{{', '.join(fields_)}}}"
        return literal(value)

    def _variable(self, kind: Any, value: Any, hint: str, *, free: bool) -> str:
        name = self._name("v")
        never_null = isinstance(kind, GraphQLNonNull)
        modes = ["given", "given", "default", "both"]
        if free and not never_null and hint not in ("last", "first"):
            modes.append("absent")
        mode = self._dice.choice(modes)
        spelled = str(kind)
        if mode in ("default", "both"):
            spelled = spelled.removesuffix("!") if self._chance(0.3) else spelled
            other = value if mode == "default" or value is None or hint == "input" else self._other(kind, value, hint)
            spelled = f"{spelled} = {literal(other)}"
        elif mode == "given" and not never_null and value is not None and self._chance(0.5):
            spelled += "!"
        if mode in ("given", "both"):
            self._variables[name] = value
        self._definitions[name] = f"${name}: {spelled}"
        return f"${name}"

    def _other(self, kind: Any, value: Any, hint: str) -> Any:
        return value if hint else self._value(kind, 1)

    def _name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def _chance(self, share: float) -> bool:
        return self._dice.random() < share


def _is_filter(kind: Any) -> bool:
    """Whether an input is a record's filter, or one across an edge; not a scalar's."""
    return isinstance(kind, GraphQLInputObjectType) and ("and" in kind.fields or "some" in kind.fields)


def node_id(kind: str, key: Any) -> str:
    """The global id of a record."""
    return b64encode(f"{kind}:{key}".encode()).decode()


def literal(value: Any) -> str:
    """A value as GraphQL spells it."""
    if isinstance(value, EnumName):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {literal(one)}' for name, one in value.items())}}}"
    return json.dumps(value, ensure_ascii=False)
