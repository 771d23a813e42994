"""The base of WebSocket sessions: all that does not depend on the protocol of the messages."""

import asyncio
from collections.abc import Coroutine, Hashable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, TypeVar

from crm.core import errors
from crm.core.identity import Viewer
from crm.core.language import set_language
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
_LONGEST_TOKEN: Final = 8 * 1024

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
    headers: dict[bytes, bytes]  # the token's alone
    receive: Receive
    send: Send
    # The application's subprotocol; None if the client did not offer it.
    subprotocol: str | None

    @classmethod
    async def accepted(
        cls, scope: Scope, receive: Receive, send: Send, authenticator: Authenticator, subprotocol: str
    ) -> "Socket | None":
        """Accept the socket; None for a page of another origin, which is refused before: HTTP 403."""
        headers = dict(scope["headers"])
        await receive()  # websocket.connect
        try:
            authenticator.check_origin(headers)
        except errors.CrmError:
            await send({"type": "websocket.close", "code": FORBIDDEN})
            return None
        # Never another offered subprotocol: it may be a token, and would appear in the answer's headers.
        spoken = subprotocol if subprotocol in (scope.get("subprotocols") or []) else None
        await send({"type": "websocket.accept", "subprotocol": spoken})
        set_language(headers.get(b"accept-language"))  # in the session's task, and those that it begins
        _forget_head(scope)
        return cls(scope, _token_of(headers), receive, send, spoken)

    @property
    def takes_utf8(self) -> bool:
        """Whether a text may be sent as bytes, in parts."""
        return _UTF8 in self.scope.get("extensions", {})


def _token_of(headers: Headers) -> dict[bytes, bytes]:
    """The only header that is asked for again, unless it can be no token of ours."""
    token = headers.get(b"authorization")
    return {} if token is None or len(token) > _LONGEST_TOKEN else {b"authorization": token}


def _forget_head(scope: Scope) -> None:
    """Free the opening's head, which would take memory for as long as the socket is open."""
    scope["headers"], scope["query_string"], scope["raw_path"] = [], b"", b""


class Session(Generic[Key]):
    """One client's session: its user, and the operations that it runs, by the client's keys."""

    # The code and reason for a client that signs in too late.
    late: ClassVar[tuple[int, str]] = (UNAUTHORIZED, "No token came in time")
    # The seconds that a client which does not read has to take the message with the reason of the close.
    farewell_seconds: ClassVar[float | None] = None

    def __init__(self, socket: Socket, authenticator: Authenticator, settings: Settings) -> None:
        self.socket = socket
        self.settings = settings
        self.operations: dict[Key, asyncio.Task[None]] = {}
        self.user = SocketUser(
            authenticator,
            settings.request_timeout_seconds,
            lambda reason: self.close_with(Closed(UNAUTHORIZED, reason)),
            lambda: bool(self.operations),
        )
        self.room = Room(self.user)
        self._reading: asyncio.Task[None] | None = None
        self._closing: Closed | None = None

    async def opened(self) -> None:
        """Act before the first message; a hook for subclasses."""

    async def hear(self, message: Message) -> None:
        """Act on a client's message."""
        raise NotImplementedError

    def helpers(self) -> Iterable[Coroutine[Any, Any, None]]:
        """Coroutines that run beside the reading for as long as the session."""
        return ()

    async def run(self) -> None:
        """Read messages until either side closes."""
        self._reading = asyncio.create_task(self._read())
        helpers = [asyncio.create_task(helper) for helper in self.helpers()]
        timer = asyncio.get_running_loop().call_later(
            self.settings.websocket_init_seconds, self._close_unless_signed_in
        )
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
                await self._send_close(self._closing)
            vars(self).clear()  # its user and its tasks refer to it: only the collector would free it, with its socket

    async def enter(self, headers: Headers) -> Viewer:
        """Sign the user in by these headers, or close."""
        try:
            return await self.user.enter(headers)
        except errors.Unauthenticated as error:
            raise Closed(UNAUTHORIZED, error.message) from None
        except errors.CrmError as error:
            raise Closed(TRY_AGAIN, error.message) from None

    def begin(self, key: Key, operation: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run an operation beside the others; it calls `ended` at its end."""
        task = self.operations[key] = asyncio.create_task(operation)
        return task

    def cancel(self, key: Key) -> None:
        """Cancel the operation of this key, if there is one."""
        task = self.operations.pop(key, None)
        if task is not None:
            task.cancel()

    def ended(self, key: Key) -> None:
        """Forget the calling operation; its key may belong to another one since."""
        if self.operations.get(key) is asyncio.current_task():
            del self.operations[key]

    def close_with(self, closed: Closed) -> None:
        """Close the socket; the first of several reasons is sent."""
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

    async def _send_close(self, closed: Closed) -> None:
        with suppress(Exception):
            async with asyncio.timeout(self.farewell_seconds):
                await self.socket.send(closed.message)

    def _close_unless_signed_in(self) -> None:
        if self.user.viewer is None:
            self.close_with(Closed(*self.late))
