"""Answers as REST shows them: the operation's one field by itself, or a problem document."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from crm.core import errors
from crm.graph.answer import Answer
from crm.rest import problem
from crm.rest.shown import Shown

if TYPE_CHECKING:
    from crm.rest.endpoint import Bound

_NOTHING: Final = b"null"
# graphql-core's words for a variable that does not fit: `Variable '$limit' has invalid value at .x[3]: ...`
_VARIABLE: Final = re.compile(
    r"Variable '\$(\w+)' (?:has invalid value(?: at ([^:]*))?: |of required type )(.*)", re.DOTALL
)
_MEMBER: Final = re.compile(r"(?:required|unknown) field '(\w+)'")
_INDEX: Final = re.compile(r"\[(\d+)\]")


def shown(answer: Answer, bound: "Bound") -> Shown:
    """An answer as it goes out; a record that is not there is a 404."""
    if answer.problems:
        return failed(answer, bound)
    part = answer.parts[0][1]
    return problem.refused(errors.NotFound()) if part == _NOTHING else Shown(bound.endpoint.status, part)


def failed(answer: Answer, bound: "Bound") -> Shown:
    """What went wrong, with the status of the first error."""
    code = answer.problems[0]["extensions"]["code"]
    status = answer.status if answer.refused else errors.STATUSES.get(code, errors.Internal.status)
    return problem.document(status, [_in_words_of(bound, one) for one in answer.problems])


def _in_words_of(bound: "Bound", found: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same without GraphQL's words: those who call an address know its parameters and its body."""
    message, extensions = found["message"], found["extensions"]
    told = _VARIABLE.match(message)
    if told:
        return _told(extensions, *_of_variable(told, bound.endpoint.body))
    for place, name in bound.checked.places.items():
        if extensions.get("field") == place and name != bound.endpoint.body:
            return _told(extensions, name, message.replace(f"`{place}`", f"`{name}`"))
    return found


def _told(extensions: Mapping[str, Any], field: str, message: str) -> Mapping[str, Any]:
    return {"message": message, "extensions": {**extensions, "field": field}}


def _of_variable(told: re.Match[str], body: str | None) -> tuple[str, str]:
    name, within, words = told[1], told[2] or "", told[3]
    below: Sequence[str] = [part for part in _INDEX.sub(r".\1", within).split(".") if part]
    place = below if name == body else [name, *below]
    member = _MEMBER.search(words)
    field = ".".join([*place, member[1]] if member else place)
    missing = "was not provided" in words
    return field, f"`{field}` is needed." if missing else f"`{field}`: {words}"
