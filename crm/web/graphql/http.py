"""GraphQL over HTTP: a plain ASGI application, since every microsecond here is paid by every request.

https://graphql.github.io/graphql-over-http/ says which status goes with which answer. A client that does not know
`application/graphql-response+json` is answered as before that text, so that it shows its user what went wrong:
docs/decisions/0032-statuses-by-media-type.md.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

from crm.core import errors
from crm.core.identity import Viewer
from crm.graph.compile.documents import Operation
from crm.graph.run import answers as answer
from crm.graph.run.answers import Answer
from crm.graph.run.engine import Engine, Request
from crm.web.deadline import RequestDeadline
from crm.web.graphql.parameters import in_address, request_of
from crm.web.http_io import (
    JSON,
    SAFE_HEADERS,
    SMALL_BODY,
    Authenticator,
    Receive,
    Scope,
    Send,
    body_of,
    check_content_type,
    loaded,
    preferred,
    read_json,
    refuse_size,
)

_RESPONSE_JSON: Final = b"application/graphql-response+json"


class _Media(NamedTuple):
    """How a client wants its answers."""

    type: bytes
    refusal_type: bytes  # of what is no 2xx
    is_modern: bool  # with the statuses of the published text


_MODERN: Final = _Media(_RESPONSE_JSON, _RESPONSE_JSON, is_modern=True)
# Clients that name JSON alone read `errors` of what is no 2xx only from the type that is GraphQL's own; old ones that
# name nothing know no such type.
_NAMED: Final = _Media(JSON, _RESPONSE_JSON, is_modern=False)
_ANY: Final = _Media(JSON, JSON, is_modern=False)
_ACCEPTED: Final = {JSON: _NAMED, _RESPONSE_JSON: _MODERN, b"application/*": _ANY, b"*/*": _ANY}
_LEAST_REFUSAL: Final = 300
_METHODS: Final = ("POST", "GET", "HEAD")
_EXTRA_HEADERS: Final = {
    errors.MethodNotAllowed.status: (b"allow", b"GET, HEAD, POST"),
    errors.Unauthenticated.status: (b"www-authenticate", b"Bearer"),
}


class GraphQLHTTP:
    """Answers GET and POST at one address, and HEAD as GET: the server leaves the body out."""

    def __init__(self, engine: Engine, authenticator: Authenticator) -> None:
        self._engine = engine
        self._authenticator = authenticator
        self._settings = engine.settings

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()  # on Python 3.11 that is a system call (getpid)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = dict(scope["headers"])
        media = _negotiated(headers.get(b"accept", b""))
        answered = await self._answer(scope, headers, receive, acceptable=media is not None)
        media = media or _ANY
        status = answered.status if media.is_modern else answered.plain_status
        media_type = media.type if status < _LEAST_REFUSAL else media.refusal_type
        response_headers = [
            (b"content-type", media_type + b"; charset=utf-8"),
            (b"content-length", b"%d" % len(answered.body)),
            *SAFE_HEADERS,
        ]
        if status in _EXTRA_HEADERS:
            response_headers.append(_EXTRA_HEADERS[status])
        await send({"type": "http.response.start", "status": status, "headers": response_headers})
        await send({"type": "http.response.body", "body": answered.body})

    async def _answer(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, *, acceptable: bool
    ) -> Answer:
        """The answer, within the request's deadline."""
        is_received = True
        try:
            with RequestDeadline(self._loop, self._settings.request_timeout_seconds) as deadline:
                self._authenticator.check_origin(headers)
                method = scope["method"]
                if method not in _METHODS:
                    message = "Send GraphQL by POST (or queries by GET)."
                    raise errors.MethodNotAllowed(message)  # noqa: TRY301
                if not acceptable:
                    message = "Accept application/graphql-response+json or application/json."
                    raise errors.NotAcceptable(message)  # noqa: TRY301
                viewer = await self._authenticator.viewer(headers)
                stale = headers.get(b"x-allow-stale") == b"true"
                if method != "POST":
                    deadline.watch(receive)
                    request = request_of(in_address(scope["query_string"]))
                    return await self._engine.run(request, viewer, stale=stale, mutations=False)
                check_content_type(headers.get(b"content-type", b""))
                is_received = False
                body = await body_of(scope, headers, receive, viewer, self._settings.max_bulk_body_bytes)
                is_received = True
                deadline.watch(receive)
                if len(body) > min(SMALL_BODY, self._settings.max_body_bytes):
                    async with self._engine.large_requests.taken(viewer.id, len(body)):  # for what it is parsed into
                        request, operation = await self._posted(body, viewer)
                        del body  # its memory is free while the operation runs
                        # The body, or the place, may have come long after the head with the token.
                        return await self._engine.run(request, await viewer.now(), operation=operation, stale=stale)
                request = request_of(loaded(body, "The body"))
                return await self._engine.run(request, await viewer.now(), stale=stale)
        except Exception as error:  # noqa: BLE001  (whatever it is, the client gets a clear error)
            late = isinstance(error, TimeoutError) and not is_received
            return answer.turned_away(errors.BodyTimeout() if late else error)

    async def _posted(self, body: bytes | bytearray, viewer: Viewer) -> tuple[Request, Operation | None]:
        """The request of a large body, and its operation; without the variables that the operation does not declare.

        It may wait for long.
        """
        request = request_of(await read_json(self._engine.side, viewer, body))
        most = self._settings.max_body_bytes
        if len(request.query) > most:
            refuse_size(most)
        try:
            operation = await self._engine.opened(request, viewer)
        except errors.CrmError:
            return replace(request, variables={}), None  # the engine will refuse the request with the same error
        if len(body) > most and not operation.is_bulk:
            refuse_size(most)
        return replace(request, variables=operation.declared(request.variables)), operation


@lru_cache(maxsize=256)
def _negotiated(accept: bytes) -> _Media | None:
    """How to answer; None if the client accepts neither type."""
    return preferred(accept, _ACCEPTED)
