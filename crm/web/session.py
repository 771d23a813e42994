"""A WebSocket from its opening to its end: all that does not depend on which messages it carries."""

import asyncio
from collections.abc import Coroutine, Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, TypeVar

from crm.core import errors
from crm.core.identity import Viewer
from crm.core.pacing import Pace
from crm.core.settings import Settings
from crm.web.http_io import Authenticator, Headers, Message, Receive, Scope, Send
from crm.web.socket_user import Room, SocketUser

UNAUTHORIZED: Final = 4401
FORBIDDEN: Final = 4403
TOO_LARGE: Final = 1009
TRY_AGAIN: Final = 1013
_UTF8: Final = "crm.utf8"  # whether the server takes texts as bytes, in parts: crm/web/protocol/websocket.py
_MAX_REASON: Final = 120

Key = TypeVar("Key", bound=Hashable)


class Closed(Exception):
    """Close the socket, with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(reason)

    @property
    def message(self) -> Message:
        """The ASGI message that closes it."""
        return {"type": "websocket.close", "code": self.code, "reason": self.reason[:_MAX_REASON]}


@dataclass(frozen=True, slots=True)
class Socket:
    """A WebSocket that was accepted."""

    scope: Scope
    headers: dict[bytes, bytes]
    receive: Receive
    send: Send
    # The one that was asked for; None if the client did not offer it.
    subprotocol: str | None

    @classmethod
    async def accepted(
        cls, scope: Scope, receive: Receive, send: Send, gate: Authenticator, subprotocol: str
    ) -> "Socket | None":
        """The socket; None for a page of another origin, which is refused before the socket is accepted: HTTP 403."""
        headers = dict(scope["headers"])
        await receive()  # websocket.connect
        try:
            gate.check_origin(headers)
        except errors.CrmError:
            await send({"type": "websocket.close", "code": FORBIDDEN})
            return None
        # Never another one that was offered: it may be a token, and would stand in the answer's headers.
        spoken = subprotocol if subprotocol in (scope.get("subprotocols") or []) else None
        await send({"type": "websocket.accept", "subprotocol": spoken})
        return cls(scope, headers, receive, send, spoken)

    @property
    def takes_utf8(self) -> bool:
        """Whether a text may be sent as bytes, in parts."""
        return _UTF8 in self.scope.get("extensions", {})


class Session(Generic[Key]):
    """One connection: its user, and what it runs for them by the keys that the client gave."""

    # The code for a token that is not valid.
    refused_code: ClassVar[int] = UNAUTHORIZED
    # What a client is told that says too late who it is.
    late: ClassVar[tuple[int, str]] = (UNAUTHORIZED, "No token came in time")
    # How long a client that does not read may take to read why it was closed.
    farewell_seconds: ClassVar[float | None] = None

    def __init__(self, socket: Socket, gate: Authenticator, settings: Settings) -> None:
        self.socket = socket
        self.settings = settings
        self.operations: dict[Key, asyncio.Task[None]] = {}
        self.user = SocketUser(
            gate,
            settings.request_timeout_seconds,
            lambda reason: self.close_with(Closed(UNAUTHORIZED, reason)),
            lambda: bool(self.operations),
        )
        self.room = Room(self.user)
        self._reading: asyncio.Task[None] | None = None
        self._closing: Closed | None = None

    async def opened(self) -> None:
        """Do what comes before the first message."""

    async def hear(self, message: Message) -> None:
        """Act on a message of the client's."""
        raise NotImplementedError

    def helpers(self) -> Iterable[Coroutine[Any, Any, None]]:
        """What runs beside the reading for as long as the session does."""
        return ()

    async def run(self) -> None:
        """Read messages until either side closes."""
        self._reading = asyncio.create_task(self._read())
        helpers = [asyncio.create_task(helper) for helper in self.helpers()]
        timer = asyncio.get_running_loop().call_later(self.settings.websocket_init_seconds, self._close_unless_in)
        try:
            await self._reading
        except Closed as closed:
            self._closing = closed
        except asyncio.CancelledError:
            if self._closing is None:
                raise
        finally:
            timer.cancel()
            tasks = [*helpers, *self.operations.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, self.user.leave(), return_exceptions=True)
            if self._closing is not None:
                await self._say_why(self._closing)

    async def enter(self, headers: Headers) -> Viewer:
        """Let the user in by these headers, or close."""
        try:
            return await self.user.enter(headers)
        except errors.Unauthenticated as error:
            raise Closed(self.refused_code, error.message) from None
        except errors.CrmError as error:
            raise Closed(TRY_AGAIN, error.message) from None

    def begin(self, key: Key, operation: Coroutine[Any, Any, None]) -> None:
        """Run it beside the others. It calls `ended` when it has ended."""
        self.operations[key] = asyncio.create_task(operation)

    def cancel(self, key: Key) -> None:
        """End what runs by this key, if anything does."""
        task = self.operations.pop(key, None)
        if task is not None:
            task.cancel()

    def ended(self, key: Key) -> None:
        """Forget the operation that calls this; another one may have taken its key since."""
        if self.operations.get(key) is asyncio.current_task():
            del self.operations[key]

    def close_with(self, closed: Closed) -> None:
        """Close the socket; of several reasons the first is told."""
        if self._reading is not None and not self._reading.done():
            self._closing = self._closing or closed
            self._reading.cancel()

    async def _read(self) -> None:
        await self.opened()
        pace = Pace()
        while True:
            await pace.keep()
            message = await self.socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            await self.hear(message)

    async def _say_why(self, closed: Closed) -> None:
        with suppress(Exception):
            async with asyncio.timeout(self.farewell_seconds):
                await self.socket.send(closed.message)

    def _close_unless_in(self) -> None:
        if self.user.viewer is None:
            self.close_with(Closed(*self.late))
