"""Endpoints: each an address, and the stored operation that is run there."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from crm.core import errors
from crm.graph.run.answers import Answer
from crm.graph.run.engine import Engine
from crm.graph.run.stored_operations import BoundOperation, StoredOperation, Variable
from crm.web.rest.answers import RestAnswer
from crm.web.rest.paging import next_page
from crm.web.rest.parameters import fits_address, parameters
from crm.web.rest.values import from_json, members

_PLACE: Final = re.compile(r"\{(\w+)\}")
_ID: Final = re.compile(rb'\{\s*"id"\s*:\s*"([^"\\]+)"')


@dataclass(frozen=True)
class Endpoint:
    """A line of the table. Variables come from the path, and for a GET from the query string, else from the body."""

    method: str
    path: str
    operation: StoredOperation
    status: int = 200
    # The variable whose value is the whole body; without it, the body's members are the variables.
    body: str | None = None
    # The address of the created record, with `{id}` for its id.
    location: str | None = None
    # Whether `limit` and `offset` page through a list, so that a full page has a link to the next.
    paged: bool = False
    # The time of its deprecation, in seconds since 1970. (A mutation by GET is; it needs a token even in `crm dev`.)
    deprecated: int | None = None
    # Renders a public answer. The set has the root fields that the viewer would get by GraphQL; None is a request
    # without a token.
    shown: Callable[[Answer, frozenset[str] | None], RestAnswer] | None = None

    @property
    def is_public(self) -> bool:
        """Whether requests without a token get an answer too."""
        return self.shown is not None


@dataclass(frozen=True)
class BoundCall:
    """An endpoint whose operation is valid for the schema."""

    endpoint: Endpoint
    checked: BoundOperation

    @classmethod
    def of(cls, endpoint: Endpoint, engine: Engine) -> "BoundCall":
        """Check an endpoint and its operation: an error in a line is found when the program starts."""
        call = cls(endpoint, endpoint.operation.checked(engine))
        where = f"{endpoint.method} {endpoint.path}"
        for name in _PLACE.findall(endpoint.path):
            if name not in call.checked.variables:
                msg = f"{where}: {endpoint.operation.name} takes no ${name}."
                raise ValueError(msg)
        for variable in call.from_address.values():
            if not fits_address(variable.kind):
                msg = f"{where}: ${variable.name} cannot be given in an address."
                raise ValueError(msg)
        if endpoint.body is not None and list(call.from_body) != [endpoint.body]:
            msg = f"{where}: the body is to be ${endpoint.body}, and there is more, or less."
            raise ValueError(msg)
        if endpoint.paged and not all(type(call.default(name)) is int for name in ("limit", "offset")):
            msg = f"{where}: pages need $limit and $offset, with defaults."
            raise ValueError(msg)
        if endpoint.is_public and call.checked.variables:
            msg = f"{where}: an answer for everybody takes no variables."
            raise ValueError(msg)
        return call

    @cached_property
    def from_address(self) -> Mapping[str, Variable]:
        """The variables that come from the query string."""
        return self._others if self.endpoint.method == "GET" else {}

    @cached_property
    def from_body(self) -> Mapping[str, Variable]:
        """The variables that come from the body."""
        return {} if self.endpoint.method == "GET" else self._others

    @cached_property
    def _others(self) -> Mapping[str, Variable]:
        placed = _PLACE.findall(self.endpoint.path)
        return {name: variable for name, variable in self.checked.variables.items() if name not in placed}

    @cached_property
    def wants_body(self) -> bool:
        """Whether a body is required."""
        return any(variable.required for variable in self.from_body.values())

    def variables(self, path: Mapping[str, str], query: bytes, body: Any) -> dict[str, Any]:
        """The operation's variables, from the body, the query string and the path."""
        return {**self._of_body(body), **parameters(query, self.from_address), **path}

    def _of_body(self, body: Any) -> dict[str, Any]:
        if body is None and not self.wants_body:
            return {}
        if not isinstance(body, dict):
            message = "Send a JSON object as the body."
            raise errors.BadUserInput(message)
        kinds = {name: variable.kind for name, variable in self.from_body.items()}
        name = self.endpoint.body
        self.checked.operation.count(body if name is None else {name: body})
        return members(body, kinds) if name is None else {name: from_json(kinds[name], body, "")}

    def default(self, name: str) -> Any:
        """A variable's default."""
        variable = self.checked.variables.get(name)
        return variable and variable.default


@dataclass(frozen=True)
class EndpointCall:
    """A call of an endpoint, with its variables and query string."""

    bound: BoundCall
    variables: Mapping[str, Any]
    query: bytes

    def follow_up_headers(self, part: bytes) -> Sequence[tuple[bytes, bytes]]:
        """The headers with links from an answer: to the created record, or to the next page of a list."""
        endpoint = self.bound.endpoint
        record_id = _ID.match(part) if endpoint.location else None
        if record_id and endpoint.location:
            return [(b"location", endpoint.location.encode().replace(b"{id}", record_id[1]))]
        following = self._next_page(part) if endpoint.paged else None
        return [(b"link", f'<{endpoint.path}?{following}>; rel="next"'.encode())] if following else []

    def _next_page(self, part: bytes) -> str | None:
        limit, offset = (self.variables.get(name, self.bound.default(name)) for name in ("limit", "offset"))
        return next_page(self.query, limit, offset, part)
