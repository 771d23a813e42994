"""Errors rendered for REST: problem documents, with the same `code` as in GraphQL.

https://www.rfc-editor.org/rfc/rfc9457
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from crm.core import errors
from crm.graph.run.answers import dumped, known_error, rendered
from crm.web.rest.answers import RestAnswer

MEDIA_TYPE: Final = b"application/problem+json"
# A name to compare with, the same on every server; it is no address of a document.
_TYPE: Final = "urn:crm:problem:"
# Details whose names the RFC uses for other members.
_RENAMED: Final = {"status": "currentStatus"}


def refused(error: BaseException) -> RestAnswer:
    """The answer to a request that was not run."""
    known = known_error(error)
    return document(known.status, [rendered(known)])


def document(status: int, problems: Sequence[Mapping[str, Any]]) -> RestAnswer:
    """The problem document of the first error, with the others in it; `problems` are rendered as for GraphQL."""
    first, *others = [_flat(problem) for problem in problems]
    code = first["code"]
    body_members = {"type": _TYPE + code, "title": errors.ErrorCode[code].heading, "status": status, **first}
    body = dumped({**body_members, "others": others} if others else body_members)
    return RestAnswer(status, body, MEDIA_TYPE, tuple(_headers(status, first)))


def _flat(problem: Mapping[str, Any]) -> dict[str, Any]:
    extensions = problem["extensions"]
    details = {_RENAMED.get(name, name): value for name, value in extensions.items()}
    return {"detail": problem["message"], "code": extensions["code"], **details}


def _headers(status: int, problem: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    if status == errors.Unauthenticated.status:
        return [(b"www-authenticate", b"Bearer")]
    pause = problem.get("retryAfterSeconds")
    return [] if pause is None else [(b"retry-after", b"%d" % pause)]
