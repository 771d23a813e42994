"""Answers rendered for REST: the JSON of the operation's only field, or a problem document."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from crm.core import errors
from crm.graph.run.answers import Answer
from crm.web.rest import problem
from crm.web.rest.answers import RestAnswer

if TYPE_CHECKING:
    from crm.web.rest.endpoint import BoundCall, EndpointCall

_NOTHING: Final = b"null"
_OK: Final = 200
_CREATED: Final = 201


def shown(answer: Answer, call: "EndpointCall") -> RestAnswer:
    """The answer for REST; a record that does not exist is a 404."""
    if answer.problems:
        return _failed(answer, _Words(call.bound, call.variables))
    part = answer.parts[0][1]
    if part == _NOTHING:
        return problem.refused(errors.NotFound())
    status = call.bound.endpoint.status
    there_already = status == _CREATED and not answer.changed
    return RestAnswer(_OK if there_already else status, part, headers=call.follow_up_headers(part))


def _failed(answer: Answer, words: "_Words") -> RestAnswer:
    """The problem document of an answer's errors, with the status of the first."""
    code = answer.problems[0]["extensions"]["code"]
    return problem.document(errors.ErrorCode[code].status, [words.of(error) for error in answer.problems])


@dataclass(frozen=True)
class _Words:
    """Errors without GraphQL's terms: callers of an address know only its parameters and its body."""

    bound: "BoundCall"
    variables: Mapping[str, Any]

    def of(self, error: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same error, with the caller's names."""
        extensions = dict(error["extensions"])
        message, field = error["message"], extensions.get("field")
        if field is not None:
            extensions["field"] = self._name(field)
            message = message.replace(f"`{field}`", f"`{extensions['field']}`")
        if "problems" in extensions:
            extensions["problems"] = [
                {**problem, "field": self._name(problem["field"])} for problem in extensions["problems"]
            ]
        return {"message": message, "extensions": extensions}

    def _name(self, field: str) -> str:
        """The caller's name for a field."""
        return self._at(field) or field

    def _at(self, field: str) -> str | None:
        """The caller's name for a variable's place in the document, or for a place within the variable's value."""
        for place, name in self.bound.checked.places.items():
            if name != self.bound.endpoint.body and f"{field}.".startswith(f"{place}."):
                return name if name in self.bound.from_address else name + field.removeprefix(place)
        return None
