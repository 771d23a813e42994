"""GraphQL over HTTP: a plain ASGI application, since every microsecond here is paid by every request.

https://graphql.github.io/graphql-over-http/draft/ says which status goes with which media type: for
`application/graphql-response+json` a refused operation is a 4xx; for `application/json` it is a 200, and only what
never became a GraphQL operation, or a fault of ours, has another status.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import cached_property, lru_cache
from typing import Any, Final, NoReturn, Protocol
from urllib.parse import parse_qsl

import orjson

from crm.core import errors
from crm.core.identity import Viewer
from crm.graph import answer
from crm.graph.answer import Answer, MethodNotAllowed, NotAcceptable, NotGraphQL, UnsupportedMediaType
from crm.graph.engine import Engine, Request
from crm.graph.patience import Patience

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_JSON: Final = b"application/json"
_RESPONSE_JSON: Final = b"application/graphql-response+json"
_ACCEPTED: Final = {_JSON: _JSON, _RESPONSE_JSON: _RESPONSE_JSON, b"application/*": _JSON, b"*/*": _JSON}
_CHARSETS: Final = frozenset({b"charset=utf-8", b'charset="utf-8"', b"charset=utf8"})
_HEADERS: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_EXTRA_HEADERS: Final = {
    MethodNotAllowed.status: (b"allow", b"GET, POST"),
    errors.Unauthenticated.status: (b"www-authenticate", b"Bearer"),
}


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

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()  # on Python 3.11 that is a system call (getpid)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        headers = dict(scope["headers"])
        media_type = _negotiated(headers.get(b"accept", b""))
        found = await self._answer(scope, headers, receive, acceptable=media_type is not None)
        status = found.status if media_type is _RESPONSE_JSON else found.plain_status
        out = [
            (b"content-type", (media_type or _JSON) + b"; charset=utf-8"),
            (b"content-length", b"%d" % len(found.body)),
            *_HEADERS,
        ]
        if status in _EXTRA_HEADERS:
            out.append(_EXTRA_HEADERS[status])
        await send({"type": "http.response.start", "status": status, "headers": out})
        await send({"type": "http.response.body", "body": found.body})

    async def _answer(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, *, acceptable: bool
    ) -> Answer:
        """The answer, within the request's deadline."""
        try:
            with Patience(self._loop, self._settings.request_timeout_seconds) as patience:
                self._gate.check_origin(headers)
                method = scope["method"]
                if method not in ("GET", "POST"):
                    raise MethodNotAllowed  # noqa: TRY301
                if not acceptable:
                    raise NotAcceptable  # noqa: TRY301
                viewer = await self._gate.viewer(headers)
                if method == "POST":
                    _check_content_type(headers.get(b"content-type", b""))
                    request = self._posted(await self._body(headers, receive))
                else:
                    request = _asked(scope["query_string"])
                stale = headers.get(b"x-allow-stale") == b"true"
                patience.watch(receive)
                return await self._engine.run(request, viewer, stale=stale, mutations=method == "POST")
        except TimeoutError:
            return answer.turned_away(errors.Timeout())
        except Exception as error:  # noqa: BLE001  (whatever it is, the client gets a clear error)
            return answer.turned_away(error)

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes | bytearray:
        most = self._settings.max_bulk_body_bytes
        announced = headers.get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > most:
            _refuse_size(most)
        message = await receive()
        if not message.get("more_body"):
            whole: bytes = message.get("body", b"")
            return whole
        body = bytearray(message.get("body", b""))
        while message.get("more_body") and len(body) <= most:
            message = await receive()
            body += message.get("body", b"")
        if len(body) > most:
            _refuse_size(most)
        return body

    def _posted(self, body: bytes | bytearray) -> Request:
        request = _request(_loaded(body, "The body"))
        most = self._settings.max_body_bytes
        if len(body) > most and (len(request.query) > most or not self._may_be_large(request)):
            _refuse_size(most)
        return request

    def _may_be_large(self, request: Request) -> bool:
        try:
            return self._engine.operation(request).is_bulk
        except errors.CrmError:
            return True  # it will not run either way, and the engine's refusal says why


def _refuse_size(most: int) -> NoReturn:
    message = f"The request is larger than {most:,} bytes."
    raise errors.TooLarge(message, limit=most)


@lru_cache(maxsize=256)
def _negotiated(accept: bytes) -> bytes | None:
    """The media type to answer with; None when the client takes neither. Equally welcome ones: the first."""
    best, found = 0.0, None
    for one in (accept or b"*/*").lower().split(b","):
        kind, *parameters = (part.strip() for part in one.split(b";"))
        weight = next((_weight(part[2:]) for part in parameters if part.startswith(b"q=")), 1.0)
        if kind in _ACCEPTED and weight > best:
            best, found = weight, _ACCEPTED[kind]
    return found


def _weight(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _check_content_type(given: bytes) -> None:
    """Exactly JSON: browsers may not send that to another origin without asking first (CORS)."""
    if given == _JSON:
        return
    kind, *parameters = (part.strip() for part in given.lower().split(b";"))
    charsets = [part for part in parameters if part.startswith(b"charset")]
    if kind != _JSON or not _CHARSETS.issuperset(charsets):
        raise UnsupportedMediaType


def _loaded(text: bytes | bytearray, what: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        # orjson refuses halves of surrogate pairs, and numbers beyond a double; json lets them through to the check
        # that names the field.
        return json.loads(text.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        message = f"{what} is not JSON."
        raise NotGraphQL(message) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _request(found: Any) -> Request:
    if not isinstance(found, dict):
        raise NotGraphQL
    query, variables, name = found.get("query"), found.get("variables"), found.get("operationName")
    if not isinstance(query, str) or not query:
        _refuse("query", "a GraphQL document, as text")
    if variables is not None and not isinstance(variables, dict):
        _refuse("variables", "an object")
    if name is not None and not isinstance(name, str):
        _refuse("operationName", "text")
    if not isinstance(found.get("extensions"), dict | None):
        _refuse("extensions", "an object")
    return Request(query, name or None, variables or {})


def _refuse(field: str, needed: str) -> NoReturn:
    message = f"`{field}` must be {needed}."
    raise NotGraphQL(message, field=field)


def _asked(query_string: bytes) -> Request:
    try:
        given = parse_qsl(query_string.decode(), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        message = "The URL is not UTF-8."
        raise NotGraphQL(message) from None
    found: dict[str, Any] = dict(given)
    for name in ("variables", "extensions"):
        if found.get(name):
            found[name] = _loaded(found[name].encode(), f"`{name}`")
        else:
            found.pop(name, None)
    return _request(found)
