"""REST over HTTP: finds the endpoint, runs its operation by the engine, shows the answer."""

import asyncio
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from starlette.routing import Route, Router

from crm.core import errors
from crm.core.identity import Viewer
from crm.graph.run.engine import Engine
from crm.web.deadline import RequestDeadline
from crm.web.http_io import (
    JSON,
    SAFE_HEADERS,
    Authenticator,
    Headers,
    Receive,
    Scope,
    Send,
    body_of,
    check_content_type,
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

    def __init__(self, engine: Engine, gate: Authenticator, endpoints: Iterable[Endpoint]) -> None:
        self._engine = engine
        self._gate = gate
        bound = [BoundCall.of(one, engine) for one in endpoints]
        self._public = {one.endpoint: Public(engine, one) for one in bound if one.endpoint.is_public}
        addresses = [Route(path, _Address(self, calls)) for path, calls in _by_path(bound).items()]
        self._router = Router(addresses, redirect_slashes=False, default=_Address(self, {}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        await self._router(scope, receive, send)

    async def answer(self, calls: _Calls, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to an address, where these calls are by their methods; no calls: there is nothing."""
        headers = dict(scope["headers"])
        out: _Headers = []
        shown = await self._shown(calls, scope, headers, receive, out)
        if shown.status != _NO_CONTENT:
            out += [
                (b"content-type", shown.media_type + b"; charset=utf-8"),
                (b"content-length", b"%d" % len(shown.body)),
            ]
        out += [*shown.headers, *SAFE_HEADERS]
        await send({"type": "http.response.start", "status": shown.status, "headers": out})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else shown.body})

    async def _shown(
        self, calls: _Calls, scope: Scope, headers: Headers, receive: Receive, out: _Headers
    ) -> RestAnswer:
        """The answer, within the request's deadline; headers that are there even if it fails go to `out`."""
        try:
            with RequestDeadline(asyncio.get_running_loop(), self._engine.settings.request_timeout_seconds) as patience:
                self._gate.check_origin(headers)
                bound = _chosen(calls, scope, out)
                if bound is None:
                    return RestAnswer(_NO_CONTENT)
                _deprecate(bound.endpoint, scope["raw_path"], out)
                if not _acceptable(headers.get(b"accept", b"")):
                    raise errors.NotAcceptable  # noqa: TRY301
                viewer = await self._viewer(bound.endpoint, headers)
                body = await self._body(bound, scope, receive, viewer)
                query = scope["query_string"]
                call = EndpointCall(bound, bound.variables(scope["path_params"], query, body), query)
                patience.watch(receive)
                return await self._answered(call, viewer, stale=headers.get(b"x-allow-stale") == b"true")
        except TimeoutError:
            return problem.refused(errors.Timeout())
        except Exception as error:  # noqa: BLE001  (whatever it is, the client gets a clear error)
            return problem.refused(error)

    async def _answered(self, call: EndpointCall, viewer: Viewer | None, *, stale: bool) -> RestAnswer:
        public = self._public.get(call.bound.endpoint)
        if public is not None:
            return await public.shown(viewer)
        assert viewer is not None
        request = call.bound.checked.named.request(call.variables)
        return render.shown(await self._engine.run(request, viewer, stale=stale), call)

    async def _viewer(self, endpoint: Endpoint, headers: Headers) -> Viewer | None:
        """Who asks; None for somebody without a token where those get an answer too."""
        if endpoint.deprecated is not None and b"authorization" not in headers:
            message = "This address needs a token, always: `Authorization: Bearer ...`."
            raise errors.Unauthenticated(message)
        try:
            return await self._gate.viewer(headers)
        except errors.Unauthenticated:
            if endpoint.is_public and b"authorization" not in headers:
                return None
            raise
        except errors.Unavailable:
            if endpoint.is_public:  # the answer will say so in its own words
                return None
            raise

    async def _body(self, bound: BoundCall, scope: Scope, receive: Receive, viewer: Viewer | None) -> Any:
        """What the body holds; None without one."""
        if bound.endpoint.method == "GET":
            return None
        headers = dict(scope["headers"])
        settings = self._engine.settings
        is_bulk = bound.checked.operation.is_bulk
        most = settings.max_bulk_body_bytes if is_bulk else settings.max_body_bytes
        body = await body_of(scope, headers, receive, viewer, most)
        if not body or viewer is None:
            return None
        check_content_type(headers.get(b"content-type", b""))
        return await read_json(self._engine.side, viewer, body)


class _Address:
    """An address as Starlette's router knows it: it takes every method."""

    def __init__(self, rest: Rest, calls: _Calls) -> None:
        self._rest = rest
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        await self._rest.answer(self._calls, scope, receive, send)


def _by_path(bound: Iterable[BoundCall]) -> Mapping[str, _Calls]:
    """The calls at each address by method. A path without places goes before one with them."""
    paths: dict[str, dict[str, BoundCall]] = {}
    for call in sorted(bound, key=lambda call: "{" in call.endpoint.path):
        calls = paths.setdefault(call.endpoint.path, {})
        assert call.endpoint.method not in calls, f"{call.endpoint.method} {call.endpoint.path} is there twice"
        calls[call.endpoint.method] = call
    return paths


def _chosen(calls: _Calls, scope: Scope, out: _Headers) -> BoundCall | None:
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
    out.append((b"allow", names.encode()))
    if method == "OPTIONS":
        return None
    message = f"There is no {method[:20]} at this address; there is: {names}."
    raise errors.MethodNotAllowed(message)


def _deprecate(endpoint: Endpoint, path: bytes, out: _Headers) -> None:
    """Say that an address is on its way out, and what to use instead (RFC 9745)."""
    if endpoint.deprecated is not None:
        out.append((b"deprecation", b"@%d" % endpoint.deprecated))
        out.append((b"link", b'<%s>; rel="successor-version"' % path))


@lru_cache(maxsize=256)
def _acceptable(accept: bytes) -> bool:
    return preferred(accept, _ACCEPTED) is not None
