"""Answers rendered for REST: the JSON of the operation's only field, or a problem document."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from crm.core import errors
from crm.graph.run.answers import Answer
from crm.web.rest import problem
from crm.web.rest.answers import RestAnswer
from crm.web.rest.values import at, unfit

if TYPE_CHECKING:
    from crm.web.rest.endpoint import BoundCall, EndpointCall

_NOTHING: Final = b"null"
_OK: Final = 200
_CREATED: Final = 201
# graphql-core's message about an invalid variable: `Variable '$limit' has invalid value at .x[3]: ...`
_VARIABLE: Final = re.compile(r"Variable '\$(\w+)' has invalid value(?: at ([^:]*))?: (.*)", re.DOTALL)
_MISSING: Final = re.compile(r"Expected value of type '\w+' to include required field '(\w+)'")
_STEP: Final = re.compile(r"\w+")


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
    status = errors.STATUSES.get(code, errors.Internal.status)
    return problem.document(status, [words.of(error) for error in answer.problems])


@dataclass(frozen=True)
class _Words:
    """Errors without GraphQL's terms: callers of an address know only its parameters and its body."""

    bound: "BoundCall"
    variables: Mapping[str, Any]

    def of(self, error: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same error, with the caller's names."""
        match = _VARIABLE.match(error["message"])
        if match:
            return self._of_variable(*match.groups(""))
        message, extensions = error["message"], error["extensions"]
        field = str(extensions.get("field", ""))
        name = self._at(field)
        if name is None:
            return error
        return {"message": message.replace(f"`{field}`", f"`{name}`"), "extensions": {**extensions, "field": name}}

    def _of_variable(self, name: str, within: str, words: str) -> Mapping[str, Any]:
        path = _STEP.findall(within)
        missing = _MISSING.match(words)
        field = ".".join([*self._place(name, path), missing[1]] if missing else self._place(name, path))
        if missing or name not in self.variables:
            return _rendered(errors.BadUserInput(f"`{field}` is needed.", field=field))
        error = unfit(*at(self.bound.checked.variables[name].kind, self.variables[name], path), field)
        return _rendered(error or errors.BadUserInput(f"`{field}`: {words}", field=field))

    def _place(self, name: str, path: list[str]) -> list[str]:
        """A place within a variable's value, by the caller's names."""
        if name in self.bound.from_address:
            return [name]
        return path if name == self.bound.endpoint.body else [name, *path]

    def _at(self, field: str) -> str | None:
        """The caller's name for a variable's place in the document, or for a place within the variable's value."""
        for place, name in self.bound.checked.places.items():
            if name != self.bound.endpoint.body and f"{field}.".startswith(f"{place}."):
                return name if name in self.bound.from_address else name + field.removeprefix(place)
        return None


def _rendered(error: errors.CrmError) -> Mapping[str, Any]:
    return {"message": error.message, "extensions": error.extensions}
