"""Answers, and the one place where errors become GraphQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg
import structlog
from graphql import GraphQLError

from crm.core import errors
from crm.core.database import translated
from crm.graph.documents import InvalidDocument, InvalidVariables

log = structlog.get_logger()


@dataclass(frozen=True)
class Answer:
    """What a request gets: finished JSON, and whether the request itself was at fault."""

    body: bytes
    status: int = 200
    refused: bool = False  # no execution took place, so `data` is absent


def succeeded(parts: Sequence[tuple[str, bytes]], problems: Sequence[dict[str, Any]] = ()) -> Answer:
    """The roots' JSON, put together."""
    data = b",".join(b'"%s":%s' % (key.encode(), value) for key, value in parts)
    if not problems:
        return Answer(b'{"data":{%s}}' % data)
    return Answer(b'{"data":{%s},"errors":%s}' % (data, orjson.dumps(list(problems))))


def nothing(problems: Sequence[dict[str, Any]]) -> Answer:
    """A non-null root failed, so there is no data at all."""
    return Answer(b'{"data":null,"errors":%s}' % orjson.dumps(list(problems)))


def refused(error: Exception) -> Answer:
    """The request was not executed."""
    if isinstance(error, InvalidDocument):
        problems = [_problem(one, is_variable=isinstance(error, InvalidVariables)) for one in error.found]
        return Answer(b'{"errors":%s}' % orjson.dumps(problems), error.status, refused=True)
    known = known_error(error)
    return Answer(b'{"errors":%s}' % orjson.dumps([rendered(known)]), known.status, refused=True)


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
    log.error("request.failed", exc_info=error)
    return errors.Internal()


def rendered(error: errors.CrmError, path: Sequence[str | int] | None = None, node: Any = None) -> dict[str, Any]:
    """An error as GraphQL shows it."""
    shown: dict[str, Any] = {"message": error.message}
    if node is not None and node.loc is not None:
        location = node.loc.source.get_location(node.loc.start)
        shown["locations"] = [{"line": location.line, "column": location.column}]
    if path is not None:
        shown["path"] = list(path)
    shown["extensions"] = {key: value for key, value in error.extensions.items() if value is not None}
    return shown


def _problem(error: GraphQLError, *, is_variable: bool) -> dict[str, Any]:
    shown: Mapping[str, Any] = error.formatted
    extensions: dict[str, Any] = {"code": "BAD_USER_INPUT"}
    if error.original_error is not None and isinstance(error.original_error, errors.CrmError):
        extensions = dict(error.original_error.extensions)
    field = _named(error.message, is_variable=is_variable)
    if field:
        extensions.setdefault("field", field)
    return {**shown, "extensions": extensions}


def _named(message: str, *, is_variable: bool) -> str | None:
    """The field that an error of graphql-core is about: it says so only in words."""
    if is_variable and "'" in message:
        quoted = message.split("'")
        where = next((part for part in quoted[1::2] if part), "")
        at = message.split(" at '")
        if len(at) > 1:
            where = at[1].split("'")[0]
        return where.lstrip("$") or None
    quoted = message.split("'")
    return quoted[1].lstrip("$") if len(quoted) > 2 else None  # noqa: PLR2004
