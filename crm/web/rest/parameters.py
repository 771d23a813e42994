"""Parameters of an address: text on the way in, values of the operation's variables on the way out."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLInputType, GraphQLList

from crm.core import errors
from crm.graph.run.stored_operations import Variable
from crm.web.rest.values import bare, enum_value, refuse_unknown

_MOST_PARAMETERS: Final = 100
_WHOLE: Final = re.compile(r"-?[0-9]{1,50}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")
_FLAGS: Final = {"true": True, "false": False}


def parameters(query: bytes, known: Mapping[str, Variable]) -> dict[str, Any]:
    """The values of a query string. A list is given by commas, or by the same name again."""
    given: dict[str, list[str]] = {}
    for name, text in _pairs(query):
        given.setdefault(name, []).append(text)
    refuse_unknown(given, known, "parameter")
    return {name: _value(known[name].kind, texts, name) for name, texts in given.items()}


def fits_address(kind: GraphQLInputType) -> bool:
    """Whether text can stand for values of this type."""
    one = bare(kind)
    if isinstance(one, GraphQLList):
        one = bare(one.of_type)
    return not isinstance(one, GraphQLInputObjectType | GraphQLList)


def _pairs(query: bytes) -> Sequence[tuple[str, str]]:
    try:
        return parse_qsl(query.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        message = f"The parameters are not UTF-8, or more than {_MOST_PARAMETERS}."
        raise errors.BadUserInput(message) from None


def _value(kind: GraphQLInputType, texts: Sequence[str], name: str) -> Any:
    one = bare(kind)
    if isinstance(one, GraphQLList):
        return [_scalar(bare(one.of_type), part.strip()) for text in texts for part in text.split(",")]
    if len(texts) > 1:
        message = f"`{name}` is given {len(texts)} times; once is enough."
        raise errors.BadUserInput(message, field=name)
    return _scalar(one, texts[0])


def _scalar(kind: Any, text: str) -> Any:
    """What the text says, if it says something of this type; else itself, about which the engine will complain."""
    if isinstance(kind, GraphQLEnumType):
        return enum_value(kind, text)
    if kind.name == "Int" and _WHOLE.fullmatch(text):
        return int(text)
    if kind.name == "Float" and _NUMBER.fullmatch(text):
        return float(text)
    return _FLAGS.get(text, text) if kind.name == "Boolean" else text
