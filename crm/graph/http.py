"""GraphQL over HTTP: a plain ASGI application, since every microsecond here is paid by every request."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

import orjson

from crm.core import errors
from crm.core.identity import Viewer
from crm.graph import answer
from crm.graph.answer import Answer
from crm.graph.engine import Engine, Request

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_JSON: Final = b"application/json; charset=utf-8"
_RESPONSE_JSON: Final = b"application/graphql-response+json; charset=utf-8"
_NO_STORE: Final = (b"cache-control", b"no-store")
_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
_WATCH_AFTER_SECONDS: Final = 0.2
_BULK: Final = "createLeads"
_CLIENT_CLOSED: Final = 499


class Gate(Protocol):
    """Who may come in, and as whom."""

    async def viewer(self, headers: Mapping[bytes, bytes]) -> Viewer:
        """The request's viewer, or UNAUTHENTICATED."""

    def check_origin(self, headers: Mapping[bytes, bytes]) -> None:
        """Refuse a page of another origin, or a name that is not ours."""


class GraphQLHTTP:
    """Answers GET and POST at one address."""

    def __init__(self, engine: Engine, gate: Gate) -> None:
        self._engine = engine
        self._gate = gate
        self._settings = engine.settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        headers = dict(scope["headers"])
        found, allow = await self._answer(scope, headers, receive)
        modern = _wants_response_json(headers)
        status = found.status if modern or not found.refused or found.status in _ALWAYS else 200
        content_type = _RESPONSE_JSON if modern else _JSON
        out = [
            (b"content-type", content_type),
            (b"content-length", b"%d" % len(found.body)),
            _NO_STORE,
            _NOSNIFF,
        ]
        if allow:
            out.append((b"allow", b"GET, POST"))
        if status == errors.Unauthenticated.status:
            out.append((b"www-authenticate", b"Bearer"))
        await send({"type": "http.response.start", "status": status, "headers": out})
        await send({"type": "http.response.body", "body": found.body})

    async def _answer(self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive) -> tuple[Answer, bool]:
        method = scope["method"]
        try:
            self._gate.check_origin(headers)
            if method not in ("GET", "POST"):
                return _plain(405, "Send GraphQL by POST (or queries by GET)."), True
            _check_accept(headers)
            viewer = await self._gate.viewer(headers)
            if method == "POST":
                request = self._posted(headers, await self._body(headers, receive))
            else:
                request = _asked(scope["query_string"])
        except BadRequest as error:
            return _plain(error.status, error.message, error.code), False
        except Exception as error:  # noqa: BLE001
            return answer.refused(error), False
        stale = headers.get(b"x-allow-stale") == b"true"
        return await self._run(request, viewer, receive, stale=stale, mutations=method == "POST"), False

    async def _run(
        self,
        request: Request,
        viewer: Viewer,
        receive: Receive,
        *,
        stale: bool,
        mutations: bool,
    ) -> Answer:
        """Run it within its deadline, and stop when the client goes away."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        watching: list[asyncio.Task[None]] = []

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            if task is not None:
                task.cancel()

        timer = loop.call_later(_WATCH_AFTER_SECONDS, lambda: watching.append(loop.create_task(watch())))
        try:
            async with asyncio.timeout(self._settings.request_timeout_seconds):
                return await self._engine.run(request, viewer, stale=stale, mutations=mutations)
        except TimeoutError:
            return answer.refused(errors.Timeout())
        finally:
            timer.cancel()
            for one in watching:
                one.cancel()

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        most = self._settings.max_bulk_body_bytes
        try:
            announced = int(headers.get(b"content-length", b"0"))
        except ValueError:
            announced = 0
        if announced > most:
            raise _too_large(most)
        message = await receive()
        if not message.get("more_body"):
            body: bytes = message.get("body", b"")
        else:
            chunks, size = [message.get("body", b"")], len(message.get("body", b""))
            while message.get("more_body"):
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise BadRequest(_CLIENT_CLOSED, "The client went away.")
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
                if size > most:
                    raise _too_large(most)
            body = b"".join(chunks)
        if len(body) > most:
            raise _too_large(most)
        return body

    def _posted(self, headers: Mapping[bytes, bytes], body: bytes) -> Request:
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if kind != b"application/json":
            raise BadRequest(415, "Send the request as `Content-Type: application/json`.")
        charset = headers.get(b"content-type", b"").lower()
        if b"charset=" in charset and b"utf-8" not in charset:
            raise BadRequest(415, "Send the request as UTF-8.")
        request = _request(_loaded(body))
        if len(body) > self._settings.max_body_bytes and _BULK not in request.query:
            raise _too_large(self._settings.max_body_bytes)
        return request


class BadRequest(Exception):
    """Not a GraphQL request at all."""

    def __init__(self, status: int, message: str, code: str = "BAD_USER_INPUT") -> None:
        self.status = status
        self.message = message
        self.code = code
        super().__init__(message)


# Statuses that hold whatever the client accepts: the request never was a well-formed GraphQL request.
_ALWAYS: Final = frozenset({400, 401, 403, 405, 406, 413, 415, 503, 504})


def _too_large(most: int) -> errors.TooLarge:
    return errors.TooLarge(f"The request is larger than {most:,} bytes.", limit=most)


def _plain(status: int, message: str, code: str = "BAD_USER_INPUT") -> Answer:
    body = orjson.dumps({"errors": [{"message": message, "extensions": {"code": code}}]})
    return Answer(body, status, refused=True)


def _loaded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        # orjson refuses lone surrogates; json lets them through to the check that names the field.
        return json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest(400, "The body is not JSON.") from None


def _request(found: Any) -> Request:
    if not isinstance(found, dict):
        raise BadRequest(
            400,
            'Send one request: {"query": "...", "variables": {...}}. Batches are not taken.',
        )
    query, variables, name = (
        found.get("query"),
        found.get("variables"),
        found.get("operationName"),
    )
    if not isinstance(query, str) or not query:
        raise BadRequest(400, "`query` must be a GraphQL document, as text.")
    if variables is not None and not isinstance(variables, dict):
        raise BadRequest(400, "`variables` must be an object.")
    if name is not None and not isinstance(name, str):
        raise BadRequest(400, "`operationName` must be text.")
    if found.get("extensions") is not None and not isinstance(found["extensions"], dict):
        raise BadRequest(400, "`extensions` must be an object.")
    return Request(query, name or None, variables or {})


def _asked(query_string: bytes) -> Request:
    try:
        given = {key: values[-1] for key, values in parse_qs(query_string.decode(), keep_blank_values=True).items()}
    except (UnicodeDecodeError, ValueError):
        raise BadRequest(400, "The URL is not UTF-8.") from None
    found: dict[str, Any] = dict(given)
    for name in ("variables", "extensions"):
        if name in found:
            found[name] = _loaded(found[name].encode("utf-8", "surrogatepass")) if found[name] else None
    return _request(found)


def _wants_response_json(headers: Mapping[bytes, bytes]) -> bool:
    accept = headers.get(b"accept", b"")
    if b"graphql-response+json" not in accept:
        return False
    plain = accept.find(b"application/json")
    return plain < 0 or accept.find(b"application/graphql-response+json") < plain


def _check_accept(headers: Mapping[bytes, bytes]) -> None:
    accept = headers.get(b"accept", b"")
    if not accept or b"*/*" in accept or b"json" in accept or b"application/*" in accept:
        return
    raise BadRequest(
        406,
        "This address answers application/graphql-response+json or application/json.",
    )
