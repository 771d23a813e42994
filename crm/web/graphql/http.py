"""GraphQL over HTTP: a plain ASGI application, since every microsecond here is paid by every request.

https://graphql.github.io/graphql-over-http/draft/ says which status goes with which media type: for
`application/graphql-response+json` a refused operation is a 4xx; for `application/json` it is a 200, and only a request
that is no GraphQL operation, or a server error, has another status.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl

from crm.core import errors
from crm.core.identity import Viewer
from crm.graph.compile.documents import Operation
from crm.graph.run import answers as answer
from crm.graph.run.answers import Answer, NotGraphQL
from crm.graph.run.engine import Engine, Request
from crm.web.deadline import RequestDeadline
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
_ACCEPTED: Final = {JSON: JSON, _RESPONSE_JSON: _RESPONSE_JSON, b"application/*": JSON, b"*/*": JSON}
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
        media_type = _negotiated(headers.get(b"accept", b""))
        answered = await self._answer(scope, headers, receive, acceptable=media_type is not None)
        status = answered.status if media_type is _RESPONSE_JSON else answered.plain_status
        response_headers = [
            (b"content-type", (media_type or JSON) + b"; charset=utf-8"),
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
                    request = _asked(scope["query_string"])
                    return await self._engine.run(request, viewer, stale=stale, mutations=False)
                check_content_type(headers.get(b"content-type", b""))
                body = await body_of(scope, headers, receive, viewer, self._settings.max_bulk_body_bytes)
                deadline.watch(receive)
                if len(body) > min(SMALL_BODY, self._settings.max_body_bytes):
                    async with self._engine.large_requests.taken(viewer.id, len(body)):  # for what it is parsed into
                        request, operation = await self._posted(body, viewer)
                        del body  # its memory is free while the operation runs
                        # The body, or the place, may have come long after the head with the token.
                        return await self._engine.run(request, await viewer.now(), operation=operation, stale=stale)
                request = _request(loaded(body, "The body"))
                return await self._engine.run(request, await viewer.now(), stale=stale)
        except Exception as error:  # noqa: BLE001  (whatever it is, the client gets a clear error)
            return answer.turned_away(error)

    async def _posted(self, body: bytes | bytearray, viewer: Viewer) -> tuple[Request, Operation | None]:
        """The request of a large body, and its operation; without the variables that the operation does not declare.

        It may wait for long.
        """
        request = _request(await read_json(self._engine.side, viewer, body))
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
def _negotiated(accept: bytes) -> bytes | None:
    """The media type to answer with; None if the client accepts neither."""
    return preferred(accept, _ACCEPTED)


def _request(body: Any) -> Request:
    if not isinstance(body, dict):
        raise NotGraphQL
    query, variables, name = body.get("query"), body.get("variables"), body.get("operationName")
    if not isinstance(query, str) or not query:
        _refuse("query", "a GraphQL document, as text")
    if variables is not None and not isinstance(variables, dict):
        _refuse("variables", "an object")
    if name is not None and not isinstance(name, str):
        _refuse("operationName", "text")
    if not isinstance(body.get("extensions"), dict | None):
        _refuse("extensions", "an object")
    return Request(query, name or None, variables or {})


def _refuse(field: str, needed: str) -> NoReturn:
    message = f"`{field}` must be {needed}."
    raise NotGraphQL(message, field=field)


def _asked(query_string: bytes) -> Request:
    try:
        pairs = parse_qsl(query_string.decode(), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        message = "The URL is not UTF-8."
        raise NotGraphQL(message) from None
    parameters: dict[str, Any] = dict(pairs)
    for name in ("variables", "extensions"):
        if parameters.get(name):
            parameters[name] = loaded(parameters[name].encode(), f"`{name}`")
        else:
            parameters.pop(name, None)
    return _request(parameters)
