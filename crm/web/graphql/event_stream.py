"""GraphQL over server-sent events, in distinct connections: an operation a request, its answers as they come.

https://github.com/graphql/graphql-over-http/blob/main/rfcs/GraphQLOverSSE.md
"""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Final

from graphql import OperationType

from crm.core import errors
from crm.core.identity import Viewer
from crm.graph.compile.documents import Operation
from crm.graph.run import answers as answer
from crm.graph.run.engine import Engine, Request
from crm.graph.run.priced import asks_for_cost, run_priced
from crm.web.http_io import NO_SNIFFING, STREAM, Authenticator, Headers, Receive, Scope, Send
from crm.web.socket_user import Room, SocketUser

_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),  # nginx passes each event on at once
    NO_SNIFFING,
)
_BEAT: Final = b":\n\n"
# Sent once the client has read most of what was sent before: whoever waits for that has not made the next answer yet.
_NOTHING: Final = {"type": "http.response.body", "body": b"", "more_body": True}
_COMPLETE: Final = b"event: complete\ndata:\n\n"


class EventStream:
    """The answers of one operation, to one client."""

    def __init__(self, engine: Engine, authenticator: Authenticator, headers: Headers, send: Send) -> None:
        self._engine = engine
        self._seconds = engine.settings.websocket_ping_seconds
        self._is_priced = asks_for_cost(headers)
        self._headers = {name: value for name, value in headers.items() if name == b"authorization"}
        self._send = send
        self._answering: asyncio.Task[None] | None = None
        self._expelled: str | None = None
        timeout = engine.settings.request_timeout_seconds
        self._user = SocketUser(authenticator, timeout, self._expel, lambda: True)

    async def run(self, scope: Scope, receive: Receive, request: Request, operation: Operation | Exception) -> None:
        """Send all answers, or the error for which there is no operation; until the client has enough."""
        scope.setdefault("state", {})[STREAM] = True
        await self._send({"type": "http.response.start", "status": 200, "headers": [*_HEADERS]})
        _forget_head(scope)
        self._answering = asyncio.create_task(self._answers(request, operation))
        del request, operation  # a subscription keeps less of them
        gone = asyncio.create_task(_disconnected(receive))
        beating = asyncio.create_task(self._beat())
        try:
            await asyncio.wait({self._answering, gone}, return_when=asyncio.FIRST_COMPLETED)
            is_gone = gone.done()
        finally:
            for task in (self._answering, gone, beating):
                task.cancel()
            await asyncio.gather(self._answering, gone, beating, self._user.leave(), return_exceptions=True)
            self._answering = None  # its frame refers to this object
        if is_gone:
            return
        if self._expelled is not None:
            await self._next(answer.turned_away(errors.Unauthenticated(self._expelled)).body)
        await self._send({"type": "http.response.body", "body": _COMPLETE})

    async def _answers(self, request: Request, operation: Operation | Exception) -> None:
        try:
            if isinstance(operation, Exception):
                raise operation  # noqa: TRY301  (rendered as those of the operation are)
            viewer = await self._user.enter(self._headers)
            request = replace(request, variables=operation.declared(request.variables))
            if operation.kind is not OperationType.SUBSCRIPTION:
                await self._one(request, operation, viewer)
                return
            del operation  # it keeps the first of several with the same text
            async with aclosing(self._engine.subscribe(request, viewer, room=Room(self._user))) as parts_of_each:
                async for parts in parts_of_each:
                    await self._next(*parts)
                    del parts  # while the next ones are waited for
                    await self._send(_NOTHING)
        except Exception as error:  # noqa: BLE001  (whatever it is, the client gets a clear error)
            await self._next(answer.refused(error).body)

    async def _one(self, request: Request, operation: Operation, viewer: Viewer) -> None:
        async with asyncio.timeout(self._engine.settings.request_timeout_seconds):
            run = partial(run_priced, self._engine) if self._is_priced else self._engine.run
            reply = await run(request, viewer, operation=operation)
        await self._next(reply.body)

    async def _next(self, *payload: bytes) -> None:
        """Send an answer. PostgreSQL writes line breaks between the values of a list, which an event may not have."""
        data = b"".join(payload).replace(b"\n", b"")
        await self._send({"type": "http.response.body", "body": b"event: next\ndata: %s\n\n" % data, "more_body": True})

    async def _beat(self) -> None:
        """Say now and then that the stream goes on: proxies close what is silent."""
        while True:
            await self._send({"type": "http.response.body", "body": _BEAT, "more_body": True})
            await asyncio.sleep(self._seconds)

    def _expel(self, reason: str) -> None:
        self._expelled = reason
        if self._answering is not None:
            self._answering.cancel()


def _forget_head(scope: Scope) -> None:
    """Free the request's head, which would take memory for as long as the stream is open."""
    scope["headers"].clear()  # the connection has the same list
    scope["query_string"], scope["raw_path"] = b"", b""


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
