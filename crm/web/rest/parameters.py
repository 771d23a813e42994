"""Parameters of an address: texts converted to values of the operation's variables."""

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
    """The values of a query string. A list is separated by commas, or its name is repeated."""
    texts_by_name: dict[str, list[str]] = {}
    for name, text in _pairs(query):
        texts_by_name.setdefault(name, []).append(text)
    refuse_unknown(texts_by_name, known, "parameter")
    return {name: _value(known[name].kind, texts, name) for name, texts in texts_by_name.items()}


def fits_address(graphql_type: GraphQLInputType) -> bool:
    """Whether values of this type can be written as text."""
    bare_type = bare(graphql_type)
    if isinstance(bare_type, GraphQLList):
        bare_type = bare(bare_type.of_type)
    return not isinstance(bare_type, GraphQLInputObjectType | GraphQLList)


def _pairs(query: bytes) -> Sequence[tuple[str, str]]:
    try:
        return parse_qsl(query.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        message = f"The parameters are not UTF-8, or more than {_MOST_PARAMETERS}."
        raise errors.BadUserInput(message) from None


def _value(graphql_type: GraphQLInputType, texts: Sequence[str], name: str) -> Any:
    bare_type = bare(graphql_type)
    if isinstance(bare_type, GraphQLList):
        return [_scalar(bare(bare_type.of_type), part.strip()) for text in texts for part in text.split(",")]
    if len(texts) > 1:
        message = f"`{name}` is given {len(texts)} times; once is enough."
        raise errors.BadUserInput(message, field=name)
    return _scalar(bare_type, texts[0])


def _scalar(scalar_type: Any, text: str) -> Any:
    """The value of a text, if it is one of this type; else the text itself, which the engine will refuse."""
    if isinstance(scalar_type, GraphQLEnumType):
        return enum_value(scalar_type, text)
    if scalar_type.name == "Int" and _WHOLE.fullmatch(text):
        return int(text)
    if scalar_type.name == "Float" and _NUMBER.fullmatch(text):
        return float(text)
    return _FLAGS.get(text, text) if scalar_type.name == "Boolean" else text
