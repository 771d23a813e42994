"""The parameters of a GraphQL request: from a body, an address, or a WebSocket's message."""

from typing import Any, NoReturn
from urllib.parse import parse_qsl

from crm.core import errors
from crm.graph.run.answers import NotGraphQL
from crm.graph.run.engine import Request
from crm.web.graphql.persisted import PersistedDocuments
from crm.web.http_io import loaded

_MOST_PARAMETERS = 20


def request_of(parameters: Any, documents: PersistedDocuments) -> Request:
    """The request that these parameters make, with the document that they have or name."""
    if not isinstance(parameters, dict):
        raise NotGraphQL
    query, variables, name = parameters.get("query"), parameters.get("variables"), parameters.get("operationName")
    if variables is not None and not isinstance(variables, dict):
        _refuse("variables", "an object")
    if name is not None and not isinstance(name, str):
        _refuse("operationName", "text")
    if not isinstance(parameters.get("extensions"), dict | None):
        _refuse("extensions", "an object")
    if isinstance(query, str) and query:
        text = documents.sent(query)
    else:
        text = (query in (None, "") and documents.named(parameters)) or _refuse("query", "a GraphQL document, as text")
    if "onError" in parameters:
        return Request(text, name or None, variables or {}, null_on_error=_nulls(parameters["onError"]))
    return Request(text, name or None, variables or {})


def in_address(query_string: bytes) -> dict[str, Any]:
    """The parameters in an address."""
    try:
        pairs = parse_qsl(
            query_string.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS
        )
    except ValueError:
        message = f"The address is not UTF-8, or has more than {_MOST_PARAMETERS} parameters."
        raise errors.BadUserInput(message) from None
    parameters: dict[str, Any] = dict(pairs)
    for name in ("variables", "extensions"):
        if text := parameters.pop(name, None):
            parameters[name] = _value(text, name)
    return parameters


def _value(text: str, name: str) -> Any:
    try:
        return loaded(text.encode(), f"`{name}`")
    except errors.BadUserInput as error:
        raise NotGraphQL(error.message, field=name) from None


def _nulls(on_error: Any) -> bool:
    """Whether a root field that fails is null, whatever its type.

    https://github.com/graphql/graphql-spec/pull/1163; its third behaviour, HALT, is not offered.
    """
    if on_error not in (None, "", "PROPAGATE", "NULL"):
        _refuse("onError", "`NULL` or `PROPAGATE`")
    return bool(on_error == "NULL")


def _refuse(field: str, needed: str) -> NoReturn:
    message = f"`{field}` must be {needed}."
    raise NotGraphQL(message, field=field)
