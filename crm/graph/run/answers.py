"""Answers, and the one place where errors become GraphQL."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import orjson
import psycopg
import structlog
from graphql import GraphQLError

from crm.core import errors
from crm.db.sqlstates import translated
from crm.graph.compile.documents import InvalidDocument
from crm.graph.run.error_fields import MAX_MESSAGE, shortened

log = structlog.get_logger()

_SERVER_ERROR: Final = 500


class NotGraphQL(errors.BadUserInput):
    """Send one request: {"query": "...", "variables": {...}}. Batches are not taken."""


@dataclass(frozen=True)
class Answer:
    """What a request gets: finished JSON, and its HTTP status by the media type that the client takes."""

    body: bytes
    status: int = 200  # as application/graphql-response+json
    plain_status: int = 200  # as application/json
    refused: bool = False  # no execution took place, so `data` is absent
    # The same in parts, for those who do not show it as GraphQL does.
    parts: Sequence[tuple[str, bytes]] = ()
    problems: Sequence[dict[str, Any]] = ()
    # Whether anything was written. A mutation may find that what it was to do has been done.
    changed: bool = False


def succeeded(
    parts: Sequence[tuple[str, bytes]],
    problems: Sequence[dict[str, Any]] = (),
    warnings: Sequence[dict[str, Any]] = (),
    *,
    changed: bool = False,
) -> Answer:
    """The roots' JSON, put together."""
    data = b",".join([b'"%s":%s' % (key.encode(), value) for key, value in parts])
    aside = _aside(problems, warnings) if problems or warnings else b""
    return Answer(b'{"data":{%s}%s}' % (data, aside), parts=parts, problems=problems, changed=changed)


def nothing(problems: Sequence[dict[str, Any]], warnings: Sequence[dict[str, Any]] = ()) -> Answer:
    """A non-null root failed, so there is no data at all."""
    return Answer(b'{"data":null%s}' % _aside(problems, warnings), problems=problems)


def refused(error: Exception) -> Answer:
    """A well-formed request that was not executed. Clients of application/json get 200, unless the fault is ours."""
    if isinstance(error, InvalidDocument):
        problems = error.problems
        return Answer(b'{"errors":%s}' % dumped(problems), error.status, refused=True, problems=problems)
    known = known_error(error)
    plain_status = known.status if known.status >= _SERVER_ERROR else 200
    return _not_run(known, plain_status)


def turned_away(error: Exception) -> Answer:
    """A request that never became a GraphQL operation: its status holds whatever the client takes."""
    known = known_error(error)
    return _not_run(known, known.status)


def _not_run(error: errors.CrmError, plain_status: int) -> Answer:
    problems = [rendered(error)]
    return Answer(b'{"errors":%s}' % dumped(problems), error.status, plain_status, refused=True, problems=problems)


def known_error(error: BaseException) -> errors.CrmError:
    """Any exception as one of ours; what is not known is logged and shown as INTERNAL."""
    if isinstance(error, errors.CrmError):
        return error
    if isinstance(error, psycopg.Error):
        found = translated(error)
        if not isinstance(found, errors.Internal):
            return found
    if isinstance(error, GraphQLError):
        original = error.original_error
        return known_error(original) if original is not None else errors.BadUserInput(error.message)
    if isinstance(error, TimeoutError):
        return errors.Timeout()
    if isinstance(error, RecursionError):
        return errors.TooComplex("The operation nests too deeply; select fewer levels of fields, or of filters.")
    request_id = uuid4().hex
    log.error("request.failed", request_id=request_id, exc_info=error)
    return errors.Internal(requestId=request_id)


def rendered(error: errors.CrmError, path: Sequence[str | int] | None = None, node: Any = None) -> dict[str, Any]:
    """An error as GraphQL shows it."""
    shown: dict[str, Any] = {"message": error.message[:MAX_MESSAGE]}
    if node is not None and node.loc is not None:
        location = node.loc.source.get_location(node.loc.start)
        shown["locations"] = [{"line": location.line, "column": location.column}]
    if path is not None:
        shown["path"] = list(path)
    extensions = {key: value for key, value in error.extensions.items() if value is not None}
    if "field" in extensions:
        extensions["field"] = shortened(str(extensions["field"]))
    shown["extensions"] = extensions
    return shown


def rendered_warning(error: errors.CrmError, path: Sequence[str | int]) -> dict[str, Any]:
    """What did not work, though the field has its data: for `extensions.warnings`."""
    return {**error.extensions, "message": error.message[:MAX_MESSAGE], "path": list(path)}


def _aside(problems: Sequence[dict[str, Any]], warnings: Sequence[dict[str, Any]]) -> bytes:
    """What stands beside the data."""
    shown = b',"errors":%s' % dumped(problems) if problems else b""
    return shown + (b',"extensions":{"warnings":%s}' % dumped(warnings) if warnings else b"")


def dumped(problems: object) -> bytes:
    """As JSON, whatever a message repeats."""
    try:
        return orjson.dumps(problems)
    except TypeError:  # half of a surrogate pair, repeated in a message
        return json.dumps(problems).encode()
