"""REST over HTTP: finds the endpoint, runs its operation by the engine, and sends the answer."""

import asyncio
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from starlette.routing import Route, Router

from crm.core import errors
from crm.core.identity import Viewer
from crm.core.language import set_language
from crm.graph.run.engine import Engine
from crm.web.deadline import RequestDeadline
from crm.web.http_io import (
    JSON,
    SAFE_HEADERS,
    SMALL_BODY,
    Authenticator,
    Headers,
    Receive,
    Scope,
    Send,
    body_of,
    check_content_type,
    loaded,
    preferred,
    read_json,
)
from crm.web.rest import problem, render
from crm.web.rest.answers import RestAnswer
from crm.web.rest.endpoint import BoundCall, Endpoint, EndpointCall
from crm.web.rest.public import Public

_ACCEPTED: Final = {JSON: JSON, problem.MEDIA_TYPE: JSON, b"application/*": JSON, b"*/*": JSON}
_NO_CONTENT: Final = 204
_Headers = list[tuple[bytes, bytes]]
_Calls = Mapping[str, BoundCall]


class Rest:
    """Everything under /api."""

    def __init__(self, engine: Engine, authenticator: Authenticator, endpoints: Iterable[Endpoint]) -> None:
        self._engine = engine
        self._authenticator = authenticator
        bound = [BoundCall.of(endpoint, engine) for endpoint in endpoints]
        self._public = {call.endpoint: Public(engine, call) for call in bound if call.endpoint.is_public}
        addresses = [Route(path, _AddressEndpoint(self, calls)) for path, calls in _by_path(bound).items()]
        self._router = Router(addresses, redirect_slashes=False, default=_AddressEndpoint(self, {}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._router(scope, receive, send)

    async def answer(self, calls: _Calls, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to an address with these calls, by their methods; without calls it is a 404."""
        headers = dict(scope["headers"])
        set_language(headers.get(b"accept-language"))
        response_headers: _Headers = []
        answer = await self._answer(calls, scope, headers, receive, response_headers)
        if answer.status != _NO_CONTENT:
            response_headers += [
                (b"content-type", answer.media_type + b"; charset=utf-8"),
                (b"content-length", b"%d" % len(answer.body)),
            ]
        response_headers += [*answer.headers, *SAFE_HEADERS]
        await send({"type": "http.response.start", "status": answer.status, "headers": response_headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})

    async def _answer(
        self, calls: _Calls, scope: Scope, headers: Headers, receive: Receive, response_headers: _Headers
    ) -> RestAnswer:
        """The answer, within the request's deadline; headers that failures have too go to `response_headers`."""
        try:
            with RequestDeadline(asyncio.get_running_loop(), self._engine.settings.request_timeout_seconds) as deadline:
                self._authenticator.check_origin(headers)
                bound = _chosen(calls, scope, response_headers)
                if bound is None:
                    return RestAnswer(_NO_CONTENT)
                _deprecate(bound.endpoint, scope["raw_path"], response_headers)
                if not _acceptable(headers.get(b"accept", b"")):
                    raise errors.NotAcceptable  # noqa: TRY301
                viewer = await self._viewer(bound.endpoint, headers)
                stale = headers.get(b"x-allow-stale") == b"true"
                body = await self._body(bound, scope, receive, viewer)
                deadline.watch(receive)
                if viewer is None or len(body) <= SMALL_BODY:
                    value = loaded(body, "The body") if body else None
                    return await self._run_call(_call(bound, scope, value), viewer, stale=stale)
                async with self._engine.large_requests.taken(viewer.id, len(body)):
                    value = await read_json(self._engine.side, viewer, body)
                    del body  # its memory is free while the operation runs
                    return await self._run_call(_call(bound, scope, value), viewer, stale=stale)
        except Exception as error:  # noqa: BLE001  (whatever it is, the client gets a clear error)
            return problem.refused(error)

    async def _run_call(self, call: EndpointCall, viewer: Viewer | None, *, stale: bool) -> RestAnswer:
        public = self._public.get(call.bound.endpoint)
        if public is not None:
            return await public.shown(viewer)
        assert viewer is not None
        viewer = await viewer.now()  # the body may have come long after the head with the token
        request = call.bound.checked.named.request(call.variables)
        return render.shown(await self._engine.run(request, viewer, stale=stale), call)

    async def _viewer(self, endpoint: Endpoint, headers: Headers) -> Viewer | None:
        """The request's viewer; None without a token, at endpoints that answer without one too."""
        if endpoint.deprecated is not None and b"authorization" not in headers:
            message = "This address needs a token, always: `Authorization: Bearer ...`."
            raise errors.Unauthenticated(message)
        try:
            return await self._authenticator.viewer(headers)
        except errors.Unauthenticated:
            if endpoint.is_public and b"authorization" not in headers:
                return None
            raise
        except errors.Unavailable:
            if endpoint.is_public:  # the endpoint's answer reports it
                return None
            raise

    async def _body(self, bound: BoundCall, scope: Scope, receive: Receive, viewer: Viewer | None) -> bytes | bytearray:
        """The JSON body; empty without one, or where nobody may send one."""
        if bound.endpoint.method == "GET":
            return b""
        headers = dict(scope["headers"])
        settings = self._engine.settings
        is_bulk = bound.checked.operation.is_bulk
        most = settings.max_bulk_body_bytes if is_bulk else settings.max_body_bytes
        body = await body_of(scope, headers, receive, viewer, most)
        if not body or viewer is None:
            return b""
        check_content_type(headers.get(b"content-type", b""))
        return body


class _AddressEndpoint:
    """An endpoint of Starlette's router for one address and all methods."""

    def __init__(self, rest: Rest, calls: _Calls) -> None:
        self._rest = rest
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._rest.answer(self._calls, scope, receive, send)


def _call(bound: BoundCall, scope: Scope, body: Any) -> EndpointCall:
    """The call of a request with the value of its body; None without one."""
    query = scope["query_string"]
    return EndpointCall(bound, bound.variables(scope["path_params"], query, body), query)


def _by_path(bound: Iterable[BoundCall]) -> Mapping[str, _Calls]:
    """The calls at each address by method. A path without parameters goes before one with them."""
    paths: dict[str, dict[str, BoundCall]] = {}
    for call in sorted(bound, key=lambda call: "{" in call.endpoint.path):
        calls = paths.setdefault(call.endpoint.path, {})
        assert call.endpoint.method not in calls, f"{call.endpoint.method} {call.endpoint.path} is there twice"
        calls[call.endpoint.method] = call
    return paths


def _chosen(calls: _Calls, scope: Scope, response_headers: _Headers) -> BoundCall | None:
    """The call for the request's method; None for OPTIONS, which is answered by a header."""
    if not calls:
        message = f"There is nothing at {scope['path'][:200]}."
        raise errors.NotFound(message)
    method = scope["method"]
    allowed = {*calls, "OPTIONS"}
    if "GET" in calls and calls["GET"].endpoint.deprecated is None:
        allowed.add("HEAD")
    if method == "HEAD" and "HEAD" in allowed:
        return calls["GET"]
    if method in calls:
        return calls[method]
    names = ", ".join(sorted(allowed))
    response_headers.append((b"allow", names.encode()))
    if method == "OPTIONS":
        return None
    message = f"There is no {method[:20]} at this address; there is: {names}."
    raise errors.MethodNotAllowed(message)


def _deprecate(endpoint: Endpoint, path: bytes, response_headers: _Headers) -> None:
    """Add headers to a deprecated address's answer, with the address to use instead (RFC 9745)."""
    if endpoint.deprecated is not None:
        response_headers.append((b"deprecation", b"@%d" % endpoint.deprecated))
        response_headers.append((b"link", b'<%s>; rel="successor-version"' % path))


@lru_cache(maxsize=256)
def _acceptable(accept: bytes) -> bool:
    return preferred(accept, _ACCEPTED) is not None
