"""GraphQL over WebSocket: the graphql-transport-ws protocol, and nothing older.

https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
"""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Any, ClassVar, Final, NoReturn

import orjson
from graphql import OperationType
from uvicorn.protocols.utils import ClientDisconnected

from crm.core import errors
from crm.core.identity import Viewer
from crm.core.language import set_language
from crm.core.shared_room import Place
from crm.graph.compile.documents import Operation
from crm.graph.run import answers as answer
from crm.graph.run.answers import Answer, NotGraphQL
from crm.graph.run.engine import Engine, Request
from crm.web.graphql.parameters import request_of
from crm.web.graphql.persisted import NONE as NO_DOCUMENTS
from crm.web.graphql.persisted import PersistedDocuments
from crm.web.http_io import MAX_PARTS, OWNER, SMALL_BODY, Authenticator, Message, Receive, Scope, Send, has_many_parts
from crm.web.session import TOO_LARGE, UNAUTHORIZED, Closed, Session, Socket

PROTOCOL: Final = "graphql-transport-ws"
_BAD_MESSAGE: Final = 4400
_NOT_THAT_PROTOCOL: Final = 4406
_INIT_TIMEOUT: Final = 4408
_SAME_ID: Final = 4409
_INIT_TWICE: Final = 4429
# Queries under way, until the client has read their answers, so that not more answers wait for a slow client.
_READS_AT_ONCE: Final = 4
_LANGUAGE_NAMES: Final = ("accept-language", "acceptlanguage")  # as the header is called, or as JavaScript spells it
_MAX_ID: Final = 200  # the id is repeated in every answer


class GraphQLWebSocket:
    """Answers WebSockets at one address."""

    def __init__(
        self, engine: Engine, authenticator: Authenticator, documents: PersistedDocuments = NO_DOCUMENTS
    ) -> None:
        self._engine = engine
        self._authenticator = authenticator
        self._documents = documents

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket, from its opening to its end."""
        socket = await Socket.accepted(scope, receive, send, self._authenticator, PROTOCOL)
        if socket is None:
            return
        socket.scope.pop("subprotocols", None)
        if socket.subprotocol is None:
            await send(Closed(_NOT_THAT_PROTOCOL, f"Subprotocol not acceptable: use {PROTOCOL}").message)
            return
        await _GraphQLSession(self._engine, self._authenticator, self._documents, socket).run()


class _GraphQLSession(Session[str]):
    """One client's session."""

    late: ClassVar[tuple[int, str]] = (_INIT_TIMEOUT, "Connection initialisation timeout")

    def __init__(
        self, engine: Engine, authenticator: Authenticator, documents: PersistedDocuments, socket: Socket
    ) -> None:
        super().__init__(socket, authenticator, engine.settings)
        self._documents = documents
        self._engine = engine
        self._takes_utf8 = socket.takes_utf8
        self._reads = asyncio.Semaphore(_READS_AT_ONCE)

    async def hear(self, message: Message) -> None:
        """Act on a message; a large one is parsed in turns with those of other users, once its user is known."""
        size, viewer = _size_of(message), self.user.viewer
        if viewer is None and size > SMALL_BODY:
            raise Closed(TOO_LARGE, f"A message has {SMALL_BODY:,} bytes at most before the ack")
        if viewer is None or size <= SMALL_BODY:
            await self._act(_parsed(message), size, None)
            return
        place = await self._engine.large_requests.take(viewer.id, size)
        try:
            parsed = await self._engine.side.run_short(viewer.id, _parsed, message)
            begun = await self._act(parsed, size, place)
        except BaseException:
            place.free()
            raise
        if begun is None:
            place.free()
        else:
            begun.add_done_callback(lambda _: place.free())

    async def _act(self, parsed: dict[str, Any], size: int, place: Place | None) -> "asyncio.Task[None] | None":
        """Act on a parsed message, and return the operation that it began, if it did."""
        kind = parsed["type"]
        if kind == "connection_init":
            await self._init(parsed)
        elif kind == "ping":
            await self._send({"type": "pong"})
        elif kind == "subscribe":
            return await self._subscribe(parsed, size, place)
        elif kind == "complete":
            self.cancel(_id_of(parsed))
        elif kind != "pong":
            raise Closed(_BAD_MESSAGE, f"Unknown message type {kind[:40]!r}")
        return None

    async def _init(self, message: dict[str, Any]) -> None:
        if self.user.viewer is not None:
            raise Closed(_INIT_TWICE, "Too many initialisation requests")
        payload = message.get("payload")
        if payload is not None and not isinstance(payload, dict):
            raise Closed(_BAD_MESSAGE, "`payload` must be an object")
        headers = dict(self.socket.headers)
        for name, value in (payload or {}).items():
            if name.lower() == "authorization" and isinstance(value, str):
                headers[b"authorization"] = value.encode("utf-8", "replace")
            elif name.lower() in _LANGUAGE_NAMES and isinstance(value, str):
                set_language(value)
        viewer = await self.enter(headers)
        self.socket.scope.setdefault("state", {})[OWNER] = viewer.id  # from now on messages may be large
        await self._send({"type": "connection_ack"})

    async def _subscribe(self, message: dict[str, Any], size: int, place: Place | None) -> "asyncio.Task[None] | None":
        key = _id_of(message)
        if self.user.viewer is None:
            raise Closed(UNAUTHORIZED, "Unauthorized: send connection_init first")
        if key in self.operations:
            raise Closed(_SAME_ID, f"Subscriber for {key[:60]} already exists")
        if len(self.operations) >= self.settings.websocket_operations:
            await self._send_errors(key, [answer.rendered(errors.TooComplex("Too many operations on this socket."))])
            return None
        try:
            request = request_of(message.get("payload"), self._documents)
        except NotGraphQL as error:
            raise Closed(_BAD_MESSAGE, f"Invalid message, in its payload: {error.message}") from None
        except errors.CrmError as error:
            await self._send_errors(key, [answer.rendered(error)])
            return None
        return self.begin(key, self._run_operation(key, request, size, place))

    async def _run_operation(self, key: str, request: Request, size: int, place: Place | None) -> None:
        """Run an operation; its error is freed before the client has room for the message that tells it."""
        run = self._problems(key, request, size, place)
        del request  # a subscription keeps less of it
        try:
            if problems := await run:
                await self._send_errors(key, problems)
        except ClientDisconnected:
            return  # the client is gone; the reading task will notice
        finally:
            self.ended(key)

    async def _problems(self, key: str, request: Request, size: int, place: Place | None) -> list[dict[str, Any]]:
        """Run an operation, and return the errors for which it was refused."""
        try:
            viewer = await self.user.current()
            operation = await self._opened(request, size, viewer)
            request = replace(request, variables=operation.declared(request.variables))  # a subscription keeps them
            if operation.kind is OperationType.SUBSCRIPTION:
                del operation  # it keeps the first of several with the same text
                if place is not None:
                    place.free()  # what subscriptions keep is counted otherwise
                return await self._follow(key, request, viewer)
            if operation.kind is OperationType.QUERY:
                async with self._reads:
                    return await self._answer(key, request, operation, viewer)
            return await self._answer(key, request, operation, viewer)
        except (asyncio.CancelledError, ClientDisconnected):
            raise
        except Exception as error:  # noqa: BLE001
            return _problems_of(answer.refused(error))

    async def _opened(self, request: Request, size: int, viewer: Viewer) -> Operation:
        """Open the operation of a message, which may be as large as a body over HTTP."""
        most = self.settings.max_body_bytes
        if size > most and len(request.query) > most:
            _refuse_size(most)
        operation = await self._engine.opened(request, viewer)
        if size > most and operation.is_bulk:
            most = self.settings.max_bulk_body_bytes
        if size > most:
            _refuse_size(most)
        return operation

    async def _follow(self, key: str, request: Request, viewer: Viewer) -> list[dict[str, Any]]:
        """Send a subscription's answers."""
        async with aclosing(self._engine.subscribe(request, viewer, room=self.room)) as answers:
            async for parts in answers:
                await self._send_text(*_next(key, *parts))
                del parts  # while the next ones are waited for
        await self._send({"id": key, "type": "complete"})
        return []

    async def _answer(self, key: str, request: Request, operation: Operation, viewer: Viewer) -> list[dict[str, Any]]:
        """Answer a query or mutation; `complete` can only be sent once the client has read most of the answer."""
        async with asyncio.timeout(self.settings.request_timeout_seconds):
            reply = await self._engine.run(request, viewer, operation=operation)
        if reply.refused:
            return _problems_of(reply)
        message = _next(key, reply.body)
        del reply
        await self._send_text(*message)
        del message  # while the client has no room for the next one
        await self._send({"id": key, "type": "complete"})
        return []

    async def _send_text(self, *parts: bytes) -> None:
        text = parts if self._takes_utf8 else b"".join(parts).decode()
        await self.socket.send({"type": "websocket.send", "text": text})

    async def _send_errors(self, key: str, problems: list[dict[str, Any]]) -> None:
        await self._send({"id": key, "type": "error", "payload": problems})

    async def _send(self, message: dict[str, Any]) -> None:
        await self._send_text(orjson.dumps(message))


def _problems_of(refusal: Answer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = orjson.loads(refusal.body)["errors"]
    return found


def _refuse_size(most: int) -> NoReturn:
    message = f"The message is larger than {most:,} bytes."
    raise errors.TooLarge(message, limit=most)


def _next(key: str, *payload: bytes) -> tuple[bytes, ...]:
    """A message in parts: large parts are shared with other clients, and not copied."""
    return b'{"id":%s,"type":"next","payload":' % orjson.dumps(key), *payload, b"}"


def _parsed(message: Any) -> dict[str, Any]:
    text = message.get("text")
    if text is None:
        raise Closed(_BAD_MESSAGE, "Send text, not bytes")
    if has_many_parts(text):
        raise Closed(TOO_LARGE, f"A message has at most {MAX_PARTS:,} braces, brackets and colons")
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Closed(_BAD_MESSAGE, "Invalid message: not JSON") from None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("type"), str):
        raise Closed(_BAD_MESSAGE, "Invalid message: an object with a `type` is expected")
    return parsed


def _size_of(message: Any) -> int:
    text: str = message.get("text") or ""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _id_of(message: dict[str, Any]) -> str:
    key = message.get("id")
    if not isinstance(key, str) or not 0 < len(key) <= _MAX_ID:
        raise Closed(_BAD_MESSAGE, f"Invalid message: `id` must be text of 1 to {_MAX_ID} characters")
    return key
