"""Answers as REST shows them: the operation's one field by itself, or one error with its status."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from crm.core import errors
from crm.graph.answer import Answer, dumped, known_error, rendered

if TYPE_CHECKING:
    from crm.rest.endpoint import Bound

Shown = tuple[int, bytes]

_NOTHING: Final = b"null"
# graphql-core's words for a variable that does not fit: `Variable '$limit' has invalid value at .x[3]: ...`
_VARIABLE: Final = re.compile(
    r"Variable '\$(\w+)' (?:has invalid value(?: at ([^:]*))?: |of required type )(.*)", re.DOTALL
)
_MEMBER: Final = re.compile(r"(?:required|unknown) field '(\w+)'")
_INDEX: Final = re.compile(r"\[(\d+)\]")


def shown(answer: Answer, bound: "Bound") -> Shown:
    """The status and the body for an answer; a record that is not there is a 404."""
    if answer.problems:
        return failed(answer, bound)
    part = answer.parts[0][1]
    return refused(errors.NotFound()) if part == _NOTHING else (bound.endpoint.status, part)


def refused(error: BaseException) -> Shown:
    """The status and the body for whatever went wrong before anything was run."""
    known = known_error(error)
    return known.status, dumped({"error": _flat(rendered(known))})


def failed(answer: Answer, bound: "Bound") -> Shown:
    """The first error, and beside it the others."""
    found = [_in_words_of(bound, _flat(problem)) for problem in answer.problems]
    status = answer.status if answer.refused else errors.STATUSES.get(found[0]["code"], errors.Internal.status)
    more = {"others": found[1:]} if len(found) > 1 else {}
    return status, dumped({"error": {**found[0], **more}})


def retry_after(body: bytes) -> bytes | None:
    """The pause that an error asks for, in whole seconds."""
    found = re.search(rb'"retryAfterSeconds":([0-9]+)', body[:2000])
    return found[1] if found else None


def _flat(problem: Mapping[str, Any]) -> dict[str, Any]:
    extensions: Mapping[str, Any] = problem["extensions"]
    return {"code": extensions["code"], "message": problem["message"], **extensions}


def _in_words_of(bound: "Bound", problem: dict[str, Any]) -> dict[str, Any]:
    """The same without GraphQL's words: those who call an address know its parameters and its body."""
    told = _VARIABLE.match(problem["message"])
    if told:
        return {**problem, **_of_variable(told, bound.endpoint.body)}
    field = problem.get("field")
    for place, name in bound.checked.places.items():
        if field == place and name != bound.endpoint.body:
            return {**problem, "field": name, "message": problem["message"].replace(f"`{place}`", f"`{name}`")}
    return problem


def _of_variable(told: re.Match[str], body: str | None) -> dict[str, str]:
    name, within, words = told[1], told[2] or "", told[3]
    below: Sequence[str] = [part for part in _INDEX.sub(r".\1", within).split(".") if part]
    place = below if name == body else [name, *below]
    member = _MEMBER.search(words)
    field = ".".join([*place, member[1]] if member else place)
    missing = "was not provided" in words
    return {"field": field, "message": f"`{field}` is needed." if missing else f"`{field}`: {words}"}
