"""Answers to requests, and the one place where errors are rendered as GraphQL errors."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
import psycopg
import structlog
from graphql import GraphQLError

from crm.core import errors
from crm.core.identity import new_request_id
from crm.core.language import Phrase
from crm.core.problems import shortened
from crm.db.outcome import is_perhaps_saved
from crm.db.sqlstates import translated
from crm.graph.compile.documents import InvalidVariables
from crm.graph.compile.parsing import InvalidDocument, UnparsedDocument
from crm.graph.run.error_fields import MAX_MESSAGE

log = structlog.get_logger()

_OK: Final = 200
_PARTIAL: Final = 294  # GraphQL over HTTP's own: `data` and `errors` together
_MALFORMED: Final = 400
UNPROCESSABLE: Final = 422
_SERVER_ERROR: Final = 500
# What is wrong with a request that can be read: the document, its variables, or how much it asks for.
MISTAKES: Final = frozenset({errors.BadUserInput.code, errors.TooComplex.code})
_PERHAPS_SAVED: Final = Phrase(
    "The request took too long, and what it wrote may have been saved: look before you try again.",
    "Det tog för lång tid, och det som skrevs kan ha blivit sparat: se efter innan du försöker igen.",
)


class NotGraphQL(errors.BadUserInput):
    """Send one request: {"query": "...", "variables": {...}}. Batches are not taken."""

    status = UNPROCESSABLE


@dataclass(frozen=True)
class Answer:
    """The answer to a request: finished JSON, and its HTTP status by the media type that the client accepts."""

    body: bytes
    status: int = _OK  # as application/graphql-response+json
    plain_status: int = _OK  # as application/json
    refused: bool = False  # no execution took place, so `data` is absent
    # The same in parts, for transports that do not send GraphQL's `data` (REST).
    parts: Sequence[tuple[str, bytes]] = ()
    problems: Sequence[dict[str, Any]] = ()
    # Whether the body ends with `extensions`.
    extended: bool = False
    # Whether anything was written: a mutation writes nothing where the data already is as it asks.
    changed: bool = False


def succeeded(
    parts: Sequence[tuple[str, bytes]],
    problems: Sequence[dict[str, Any]] = (),
    warnings: Sequence[dict[str, Any]] = (),
    *,
    changed: bool = False,
) -> Answer:
    """An answer with the root fields' JSON."""
    data = b",".join([b'"%s":%s' % (key.encode(), value) for key, value in parts])
    rest = _aside(problems, warnings) if problems or warnings else b""
    status = _PARTIAL if problems else _OK
    return Answer(
        b'{"data":{%s}%s}' % (data, rest),
        status,
        parts=parts,
        problems=problems,
        changed=changed,
        extended=bool(warnings),
    )


def nothing(problems: Sequence[dict[str, Any]], warnings: Sequence[dict[str, Any]] = ()) -> Answer:
    """An answer with null for data: a non-null root field failed."""
    body = b'{"data":null%s}' % _aside(problems, warnings)
    return Answer(body, _PARTIAL, problems=problems, extended=bool(warnings))


def refused(error: Exception) -> Answer:
    """The answer to a well-formed request that was not executed: 200 as application/json, but for server errors."""
    if isinstance(error, InvalidDocument):
        problems = error.rendered
        status = _MALFORMED if isinstance(error, UnparsedDocument) else UNPROCESSABLE
        return Answer(b'{"errors":%s}' % dumped(problems), status, refused=True, problems=problems)
    if isinstance(error, InvalidVariables):
        problems = [rendered(error, None, *error.nodes)]
        return Answer(b'{"errors":%s}' % dumped(problems), UNPROCESSABLE, refused=True, problems=problems)
    known = known_error(error)
    status = UNPROCESSABLE if known.code in MISTAKES else known.status
    return _not_run(known, status, status if status >= _SERVER_ERROR else _OK)


def turned_away(error: Exception) -> Answer:
    """The answer to a request that is no GraphQL operation: one status, whatever media type the client accepts."""
    known = known_error(error)
    return _not_run(known, known.status, known.status)


def _not_run(error: errors.CrmError, status: int, plain_status: int) -> Answer:
    problems = [rendered(error)]
    return Answer(b'{"errors":%s}' % dumped(problems), status, plain_status, refused=True, problems=problems)


def known_error(error: BaseException, request_id: str | None = None) -> errors.CrmError:
    """Any exception as a CrmError; an unknown one is logged and becomes INTERNAL, under the request's id if it has one.

    It has one as soon as it may write: what it saves before it fails is found by the same id.
    """
    if isinstance(error, errors.CrmError):
        return error
    if isinstance(error, psycopg.Error):
        translated_error = translated(error)
        if not isinstance(translated_error, errors.Internal):
            return translated_error
    if isinstance(error, GraphQLError):
        original = error.original_error
        return known_error(original, request_id) if original is not None else errors.BadUserInput(error.message)
    if isinstance(error, TimeoutError):
        return errors.Timeout(_PERHAPS_SAVED, outcome="UNKNOWN") if is_perhaps_saved(error) else errors.Timeout()
    if isinstance(error, RecursionError):
        return errors.TooComplex("The operation nests too deeply; select fewer levels of fields, or of filters.")
    request_id = request_id or new_request_id()
    log.error("request.failed", request_id=request_id, exc_info=error)
    return errors.Internal(requestId=request_id)


def rendered(error: errors.CrmError, path: Sequence[str | int] | None = None, *nodes: Any) -> dict[str, Any]:
    """An error as a member of the response's `errors`, with the places of the document's nodes that it is about."""
    problem: dict[str, Any] = {"message": error.message[:MAX_MESSAGE]}
    places = [node.loc for node in nodes if node is not None and node.loc is not None]
    if places:
        problem["locations"] = [place.source.get_location(place.start).formatted for place in places]
    if path is not None:
        problem["path"] = list(path)
    extensions = {key: value for key, value in error.extensions.items() if value is not None}
    if "field" in extensions:
        extensions["field"] = shortened(str(extensions["field"]))
    problem["extensions"] = extensions
    return problem


def rendered_warning(error: errors.CrmError, path: Sequence[str | int]) -> dict[str, Any]:
    """An error beside a field's data, as a member of `extensions.warnings`."""
    return {**error.extensions, "message": error.message[:MAX_MESSAGE], "path": list(path)}


def with_cost(answered: Answer, requested: int, most: int) -> Answer:
    """The answer with the points that its operation cost, and those that it might have cost besides."""
    cost = b'"cost":%s' % dumped({"requested": requested, "remaining": max(most - requested, 0)})
    ended = b",%s}}" % cost if answered.extended else b',"extensions":{%s}}' % cost
    return replace(answered, body=answered.body[: -2 if answered.extended else -1] + ended, extended=True)


def _aside(problems: Sequence[dict[str, Any]], warnings: Sequence[dict[str, Any]]) -> bytes:
    """The members of the response after `data`: errors and warnings."""
    members = b',"errors":%s' % dumped(problems) if problems else b""
    return members + (b',"extensions":{"warnings":%s}' % dumped(warnings) if warnings else b"")


def dumped(problems: object) -> bytes:
    """Dump problems as JSON, even if a message repeats text that is not valid Unicode."""
    try:
        return orjson.dumps(problems)
    except TypeError:  # half of a surrogate pair, repeated in a message
        return json.dumps(problems).encode()
