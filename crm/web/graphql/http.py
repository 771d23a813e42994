"""GraphQL over HTTP: a plain ASGI application, since every microsecond here is paid by every request.

https://graphql.github.io/graphql-over-http/ says which status goes with which answer. A client that does not know
`application/graphql-response+json` is answered as before that text, so that it shows its user what went wrong:
docs/decisions/0032-statuses-by-media-type.md.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, Final

from graphql import OperationType

from crm.core import errors
from crm.core.identity import Viewer
from crm.core.language import set_language
from crm.graph.compile.documents import Operation
from crm.graph.run import answers as answer
from crm.graph.run.answers import Answer
from crm.graph.run.engine import Engine, Request
from crm.graph.run.priced import asks_for_cost, run_priced
from crm.web.deadline import RequestDeadline
from crm.web.graphql.event_stream import EventStream
from crm.web.graphql.media import ANY, EVENTS, LEAST_REFUSAL, Media, negotiated
from crm.web.graphql.parameters import in_address, request_of
from crm.web.graphql.persisted import NONE as NO_DOCUMENTS
from crm.web.graphql.persisted import PersistedDocuments, UntrustedDocument
from crm.web.http_io import (
    JSON,
    NO_SNIFFING,
    SAFE_HEADERS,
    SMALL_BODY,
    Authenticator,
    Receive,
    Scope,
    Send,
    body_of,
    check_content_type,
    loaded,
    read_json,
    refuse_size,
)
from crm.web.packing import LEAST_PACKED, matches, packed, tag_of, takes_gzip

_OK: Final = 200
_NOT_MODIFIED: Final = 304
_METHODS: Final = frozenset({"POST", "QUERY", "GET", "HEAD"})
_QUERY: Final = "QUERY"
_TAKES_QUERY: Final = (b"accept-query", JSON)
_EXTRA_HEADERS: Final = {
    errors.MethodNotAllowed.status: ((b"allow", b"GET, HEAD, POST, QUERY"), _TAKES_QUERY),
    errors.UnsupportedMediaType.status: (_TAKES_QUERY,),
    errors.Unauthenticated.status: ((b"www-authenticate", b"Bearer"),),
}
# Kept by the client alone, and never used unasked: the data may have changed.
_KEPT: Final = (b"cache-control", b"private, no-cache")
_VARY: Final = (b"vary", b"accept-encoding")
_VARY_OF_QUERY: Final = (b"vary", b"accept, accept-encoding, authorization, x-allow-stale, x-cost")
# Refusals of what is a request all the same.
_WELL_FORMED: Final = (errors.PersistedQueryNotFound, errors.PersistedQueryNotSupported, UntrustedDocument)
_Headers = list[tuple[bytes, bytes]]


class SendByPost(errors.MethodNotAllowed):
    """Send mutations by POST."""


class OnlyQueries(errors.MethodNotAllowed):
    """The method QUERY only reads: send mutations by POST."""

    status = 422  # the address does take the method


class GraphQLHTTP:
    """Answers POST, QUERY and GET at one address, and HEAD as GET: the server leaves the body out."""

    def __init__(
        self, engine: Engine, authenticator: Authenticator, documents: PersistedDocuments = NO_DOCUMENTS
    ) -> None:
        self._engine = engine
        self._authenticator = authenticator
        self._documents = documents
        self._settings = engine.settings

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()  # on Python 3.11 that is a system call (getpid)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = dict(scope["headers"])
        set_language(headers.get(b"accept-language"))
        media = negotiated(headers.get(b"accept", b""))
        if media is EVENTS and scope["method"] != "HEAD":
            await self._stream(scope, headers, receive, send)
            return
        answered = await self._answer(scope, headers, receive, acceptable=media is not None)
        await self._respond(scope, headers, send, media or ANY, answered)

    def _respond(
        self, scope: Scope, headers: Mapping[bytes, bytes], send: Send, media: Media, answered: Answer
    ) -> Coroutine[Any, Any, None]:
        """Send an answer, by its media type and method."""
        status, body = (answered.status if media.is_modern else answered.plain_status), answered.body
        media_type = media.type if status < LEAST_REFUSAL else media.refusal_type
        if scope["method"] == _QUERY and status == _OK and not answered.problems:
            return self._keepable(headers, send, media_type, body)
        response_headers = [(b"content-type", media_type), *SAFE_HEADERS]
        if status in _EXTRA_HEADERS:
            response_headers += _EXTRA_HEADERS[status]
        if len(body) <= LEAST_PACKED:
            return _send(send, status, response_headers, body)
        response_headers.append(_VARY)
        return self._send_packed(headers, send, status, response_headers, body)

    async def _keepable(self, headers: Mapping[bytes, bytes], send: Send, media_type: bytes, body: bytes) -> None:
        """Send an answer that the client may keep, unless it has it already."""
        tag = await tag_of(body, self._engine.side, headers.get(b"authorization"))
        response_headers = [(b"etag", tag), _KEPT, _VARY_OF_QUERY, NO_SNIFFING]
        if matches(headers.get(b"if-none-match", b""), tag):
            await send({"type": "http.response.start", "status": _NOT_MODIFIED, "headers": response_headers})
            await send({"type": "http.response.body", "body": b""})
            return
        response_headers.append((b"content-type", media_type))
        await self._send_packed(headers, send, _OK, response_headers, body)

    async def _send_packed(
        self, headers: Mapping[bytes, bytes], send: Send, status: int, response_headers: _Headers, body: bytes
    ) -> None:
        """Send a body, by gzip if it is large and the client takes that."""
        if len(body) > LEAST_PACKED and takes_gzip(headers.get(b"accept-encoding", b"")):
            body = await packed(body, self._engine.side, headers.get(b"authorization"))
            response_headers.append((b"content-encoding", b"gzip"))
        await _send(send, status, response_headers, body)

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
                    message = "Send GraphQL by POST (or queries by QUERY or GET)."
                    raise errors.MethodNotAllowed(message)  # noqa: TRY301
                if not acceptable:
                    message = "Accept application/graphql-response+json or application/json."
                    raise errors.NotAcceptable(message)  # noqa: TRY301
                viewer = await self._authenticator.viewer(headers)
                stale = headers.get(b"x-allow-stale") == b"true"
                run = partial(run_priced, self._engine) if asks_for_cost(headers) else self._engine.run
                if method in {"GET", "HEAD"}:
                    deadline.watch(receive)
                    request = request_of(in_address(scope["query_string"]), self._documents)
                    return await run(request, viewer, stale=stale, no_mutation=SendByPost)
                no_mutation = OnlyQueries if method == _QUERY else None
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
                        return await run(
                            request, await viewer.now(), operation=operation, stale=stale, no_mutation=no_mutation
                        )
                request = request_of(loaded(body, "The body"), self._documents)
                return await run(request, await viewer.now(), stale=stale, no_mutation=no_mutation)
        except _WELL_FORMED as error:
            return answer.refused(error)
        except Exception as error:  # noqa: BLE001  (whatever it is, the client gets a clear error)
            late = isinstance(error, TimeoutError) and not is_received
            return answer.turned_away(errors.BodyTimeout() if late else error)

    async def _stream(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        """Answer one request by an event stream."""
        try:
            request, operation = await self._streamed(scope, headers, receive)
        except TimeoutError:
            await self._respond(scope, headers, send, EVENTS, answer.turned_away(errors.BodyTimeout()))
        except _WELL_FORMED as error:
            await self._respond(scope, headers, send, EVENTS, answer.refused(error))
        except Exception as error:  # noqa: BLE001  (whatever it is, the client gets a clear error)
            await self._respond(scope, headers, send, EVENTS, answer.turned_away(error))
        else:
            stream = EventStream(self._engine, self._authenticator, headers, send)
            headers.clear()
            running = stream.run(scope, receive, request, operation)
            del request, operation  # a subscription keeps less of them
            await running

    async def _streamed(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive
    ) -> tuple[Request, Operation | Exception]:
        """The request for an event stream, and its operation: one that is not valid is told by the stream."""
        with RequestDeadline(self._loop, self._settings.request_timeout_seconds):
            self._authenticator.check_origin(headers)
            method = scope["method"]
            if method not in _METHODS:
                raise errors.MethodNotAllowed
            viewer = await self._authenticator.viewer(headers)
            if method == "GET":
                parameters = in_address(scope["query_string"])
            else:
                check_content_type(headers.get(b"content-type", b""))
                body = await body_of(scope, headers, receive, viewer, self._settings.max_body_bytes)
                async with self._engine.large_requests.taken(viewer.id, len(body)):
                    parameters = await read_json(self._engine.side, viewer, body)
            request = request_of(parameters, self._documents)
            try:
                operation = await self._engine.opened(request, viewer)
            except errors.CrmError as error:
                return request, error
            if method != "POST" and operation.kind is OperationType.MUTATION:
                raise OnlyQueries if method == _QUERY else SendByPost
            return request, operation

    async def _posted(self, body: bytes | bytearray, viewer: Viewer) -> tuple[Request, Operation | None]:
        """The request of a large body, and its operation; without the variables that the operation does not declare.

        It may wait for long.
        """
        request = request_of(await read_json(self._engine.side, viewer, body), self._documents)
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


async def _send(send: Send, status: int, headers: _Headers, body: bytes) -> None:
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
