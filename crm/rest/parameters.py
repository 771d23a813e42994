"""Parameters of an address: text on the way in, values of the operation's variables on the way out."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

from graphql import GraphQLEnumType, GraphQLInputObjectType, GraphQLInputType, GraphQLList, GraphQLNonNull

from crm.core import errors
from crm.graph.named import Variable

_MOST_PARAMETERS: Final = 100
_WHOLE: Final = re.compile(r"-?[0-9]{1,10}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")
_FLAGS: Final = {"true": True, "false": False}


def parameters(query: bytes, known: Mapping[str, Variable]) -> dict[str, Any]:
    """The values of a query string. A list is given by commas, or by the same name again."""
    given: dict[str, list[str]] = {}
    for name, text in _pairs(query):
        given.setdefault(name, []).append(text)
    refuse_unknown(given, known, "parameter")
    return {name: _value(known[name].kind, texts, name) for name, texts in given.items()}


def refuse_unknown(given: Mapping[str, object], known: Mapping[str, object], what: str) -> None:
    """A name that means nothing here is a mistake."""
    for name in given:
        if name not in known:
            names = sorted(known)
            there_are = f"there are: {', '.join(names)}" if names else "none is taken here"
            message = f"There is no {what} {name[:100]!r}; {there_are}."
            raise errors.BadUserInput(message, field=name[:100], known=names)


def fits_address(kind: GraphQLInputType) -> bool:
    """Whether text can stand for values of this type."""
    bare = _bare(kind)
    if isinstance(bare, GraphQLList):
        bare = _bare(bare.of_type)
    return not isinstance(bare, GraphQLInputObjectType | GraphQLList)


def _pairs(query: bytes) -> Sequence[tuple[str, str]]:
    try:
        return parse_qsl(query.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        message = f"The parameters are not UTF-8, or more than {_MOST_PARAMETERS}."
        raise errors.BadUserInput(message) from None


def _value(kind: GraphQLInputType, texts: Sequence[str], name: str) -> Any:
    bare = _bare(kind)
    if isinstance(bare, GraphQLList):
        return [_scalar(bare.of_type, one.strip(), name) for text in texts for one in text.split(",")]
    if len(texts) > 1:
        message = f"`{name}` is given {len(texts)} times; once is enough."
        raise errors.BadUserInput(message, field=name)
    return _scalar(bare, texts[0], name)


def _scalar(kind: Any, text: str, name: str) -> Any:
    bare = _bare(kind)
    if isinstance(bare, GraphQLEnumType):
        if text.upper() not in bare.values:
            raise _unfit(name, text, f"one of {', '.join(bare.values)}")
        return text.upper()
    if bare.name == "Int":
        if not _WHOLE.fullmatch(text):
            raise _unfit(name, text, "a whole number")
        return int(text)
    if bare.name == "Float":
        if not _NUMBER.fullmatch(text):
            raise _unfit(name, text, "a number")
        return float(text)
    if bare.name == "Boolean":
        if text not in _FLAGS:
            raise _unfit(name, text, "true or false")
        return _FLAGS[text]
    return text


def _unfit(name: str, text: str, needed: str) -> errors.BadUserInput:
    return errors.BadUserInput(f"`{name}` must be {needed}, not {text[:50]!r}.", field=name)


def _bare(kind: Any) -> Any:
    return kind.of_type if isinstance(kind, GraphQLNonNull) else kind
