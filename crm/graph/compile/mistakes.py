"""All mistakes in the values of an operation's variables: those of the schema's types, and of the columns' rules.

graphql-core's coercion finds only the former, and names types. This runs once coercion has failed, so that a form is
told at once what is wrong with each of its fields.
"""

from typing import Any, Final

from graphql import (
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    Undefined,
    get_nullable_type,
)

from crm.core import errors
from crm.core.language import Phrase
from crm.core.problems import MAX_PROBLEMS, FieldProblem, Problem
from crm.graph.compile.arguments import python_name
from crm.graph.declare.inputs import rules_of
from crm.graph.declare.scalars import Unfit, quoted

_SHOWN: Final = 50
_WHOLE: Final = Phrase("{label} must be a whole number, not {given}.", "{label} ska vara ett heltal, inte {given}.")
_INT_RANGE: Final = Phrase(
    "{label} must be {least} to {most}, not {given}.", "{label} ska vara {least} till {most}, inte {given}."
)
_LEAST: Final = -(2**31)
_MOST: Final = 2**31 - 1
_ONE_OF: Final = Phrase("{label} takes exactly one of {members}.", "{label} tar precis en av {members}.")
_NEEDED: Final = {
    "Boolean": Phrase("true or false", "true eller false"),
    "String": Phrase("text", "text"),
    "ID": Phrase("an id", "ett id"),
    "list": Phrase("a list", "en lista"),
    "object": Phrase("an object", "ett objekt"),
}
_OTHER: Final = Phrase("of another form", "av annan form")

Path = tuple[str, ...]


def mistakes_in(kind: Any, value: Any, path: Path) -> list[Problem]:
    """The mistakes in a variable's value; `path` leads to the place where the operation uses it."""
    walk = _Walk()
    walk.visit(kind, value, path)
    return walk.found[:MAX_PROBLEMS]


class _Walk:
    """One walk over a value, in the order in which the schema's inputs declare their fields."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def visit(self, kind: Any, value: Any, path: Path) -> Any:
        """The value as a resolver would get it; Undefined if there is a mistake in it, or enough were found."""
        if len(self.found) >= MAX_PROBLEMS:
            return Undefined
        if isinstance(kind, GraphQLNonNull):
            if value is None or value is Undefined:
                return self._add(Problem.of(_field(path), FieldProblem.REQUIRED))
            kind = kind.of_type
        if value is None or value is Undefined:
            return value
        if isinstance(kind, GraphQLList):
            return self._list(kind, value, path)
        if isinstance(kind, GraphQLInputObjectType):
            return self._object(kind, value, path)
        return self._leaf(kind, value, path)

    def _list(self, kind: Any, value: Any, path: Path) -> Any:
        if not isinstance(value, list):  # a single value stands for a list of one
            if isinstance(get_nullable_type(kind.of_type), GraphQLInputObjectType) and not isinstance(value, dict):
                return self._add(_malformed(path, value, _NEEDED["list"]))
            return [self.visit(kind.of_type, value, path)]
        elements = [self.visit(kind.of_type, element, (*path, str(index))) for index, element in enumerate(value)]
        return Undefined if any(element is Undefined for element in elements) else elements

    def _object(self, kind: GraphQLInputObjectType, value: Any, path: Path) -> Any:
        if not isinstance(value, dict):
            return self._add(_malformed(path, value, _NEEDED["object"]))
        rules = rules_of(kind.extensions["strawberry-definition"].origin)
        for name, member in kind.fields.items():
            if name not in value and member.default_value is not Undefined:
                continue
            kept = self.visit(member.type, value.get(name), (*path, name))
            rule = rules.get(python_name(kind, name))
            if rule is not None and name in value and kept is not Undefined:
                self._keep(rule, kept, (*path, name))
        for name in value:
            if name not in kind.fields:
                shown = repr(name[:_SHOWN])
                self._add(Problem.of(_field((*path, name[:100])), FieldProblem.UNKNOWN_FIELD, given=shown))
        if kind.is_one_of and sum(member is not None for member in value.values()) != 1:
            self._add(Problem.of(_field(path), FieldProblem.MALFORMED, _ONE_OF, members=", ".join(kind.fields)))
        return value

    def _keep(self, rule: Any, value: Any, path: Path) -> None:
        """Apply a column's rule; its own label stands in the message, the whole path in the field."""
        *above, name = path
        try:
            rule(name, value)
        except errors.BadUserInput as error:
            self.found += [problem.within(_field(tuple(above))) if above else problem for problem in error.mistakes]

    def _leaf(self, kind: Any, value: Any, path: Path) -> Any:
        try:
            return kind.parse_value(value)
        except Unfit as error:
            return self._add(error.problem(_field(path), value))
        except GraphQLError:
            return self._add(_unfit(kind, value, path))

    def _add(self, problem: Problem) -> Any:
        self.found.append(problem)
        return Undefined


def _unfit(kind: Any, value: Any, path: Path) -> Problem:
    """The mistake of a value that GraphQL's own scalars, or an enum, refuse."""
    if isinstance(kind, GraphQLEnumType):
        return Problem.of(_field(path), FieldProblem.NOT_A_CHOICE, known=list(kind.values), given=quoted(value))
    if kind.name == "Int" and type(value) is int:
        limit = _LEAST if value < _LEAST else _MOST
        about: dict[str, Any] = {"least": _LEAST, "most": _MOST, "given": value}
        return Problem.of(_field(path), FieldProblem.OUT_OF_RANGE, _INT_RANGE, limit=limit, **about)
    if kind.name in ("Int", "Float"):
        phrase = _WHOLE if kind.name == "Int" else None
        return Problem.of(_field(path), FieldProblem.NOT_A_NUMBER, phrase, given=quoted(value))
    return _malformed(path, value, _NEEDED.get(kind.name, _OTHER))


def _malformed(path: Path, value: Any, needed: Phrase) -> Problem:
    return Problem.of(_field(path), FieldProblem.MALFORMED, needed=needed, given=quoted(value))


def _field(path: Path) -> str:
    return ".".join(path)
