"""WebSockets: uvicorn's protocol, with bounds on pings, on pieces of messages, and on clients that do not read.

The size of a message (`ws_max_size`) is checked by the websockets library before its bytes are gathered.
"""

import asyncio
import logging
from http import HTTPStatus
from typing import Any, Final, cast

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent, WebSocketReceiveEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request

from crm.protocol.config import Config
from crm.protocol.patience import Stall, Stopwatch
from crm.protocol.state import State

_log = logging.getLogger(__name__)

# An extension of ASGI: the text of `websocket.send` may be bytes.
UTF8: Final = "crm.utf8"
# What is parsed at a time: some hundred of the smallest frames, or a part of a large message.
_PIECE: Final = 4096
_FRAMES_A_TURN: Final = 64
_MOST_PINGS_A_TICK: Final = 100
_MOST_FRAGMENTS: Final = 1024
_LINGER_SECONDS: Final = 5.0


class WebSocket(WebSocketsSansIOProtocol):
    """A connection that has become a WebSocket."""

    config: Config

    def __init__(
        self,
        config: Config,
        server_state: State,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = config.limits
        self._unread = server_state.unread
        self._sending = asyncio.Lock()
        self._waiting = 0  # bytes that are to be sent when the client has taken what there is
        self._unparsed = bytearray()
        self._turn: asyncio.Handle | None = None
        self._frames_seen = 0
        self._pings = 0
        # When a ping was due and the client had not even taken what was sent before: how much that was.
        self._unsent_at_ping: int | None = None
        self._stopwatch = Stopwatch()
        self._stall = Stall()

    # What comes in

    def data_received(self, data: bytes) -> None:
        """Bytes came, as many as the system had."""
        self._unparsed += data
        if self._turn is None:
            self._parse()

    def _parse(self) -> None:
        """Read some frames; the rest waits until the application has taken them, or for the loop's next turn."""
        self._turn = None
        most = self._frames_seen + _FRAMES_A_TURN
        while self._unparsed and not self.transport.is_closing():
            if self.read_paused:  # a message waits for the application; `receive` goes on
                return
            if self._frames_seen > most:
                self.transport.pause_reading()
                self._turn = self.loop.call_soon(self._parse)
                return
            piece = bytes(self._unparsed[:_PIECE])
            del self._unparsed[:_PIECE]
            super().data_received(piece)
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def handle_events(self) -> None:
        """Frames were read."""
        self._frames_seen += len(self.conn.events)
        super().handle_events()

    def handle_connect(self, event: Request) -> None:
        """The opening came. The application may send its texts as they are in UTF-8."""
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            cast("dict[str, Any]", self.scope["extensions"])[UTF8] = {}

    async def receive(self) -> ASGIReceiveEvent:
        """The application takes a message."""
        message = await self.queue.get()
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            if self._turn is None:
                self._parse()
        return message

    def handle_cont(self, event: Frame) -> None:
        """A piece of a message; empty ones would cost memory and never reach its largest size."""
        if len(self.frames) >= _MOST_FRAGMENTS:
            self._fail(CloseCode.MESSAGE_TOO_BIG, f"a message has {_MOST_FRAGMENTS:,} pieces at most")
        else:
            super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """A message is complete."""
        data, self.frames = b"".join(self.frames), []
        if self.close_sent:
            return
        try:
            message = {"text": data.decode()} if self.curr_msg_data_type == "text" else {"bytes": data}
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA, "text is UTF-8")
            return
        self.queue.put_nowait(cast("WebSocketReceiveEvent", {"type": "websocket.receive", **message}))
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def handle_ping(self) -> None:
        """A ping is answered if the client reads; the library has the pong ready."""
        pong = b"".join(self.conn.data_to_send())
        self._pings += 1
        if self._pings > _MOST_PINGS_A_TICK:
            self._fail(CloseCode.POLICY_VIOLATION, "too many pings")
        elif self.writable.is_set() and not self.transport.is_closing():
            self.transport.write(pong)

    # What goes out

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message, when the client has taken most of what was sent before: one after the other."""
        if self.disconnected or (self.writable.is_set() and not self._sending.locked()):
            await self._send(message)
            return
        size = len(cast("dict[str, Any]", message).get("text") or "")
        self._waiting += size
        self._unread.grew(self)
        try:
            async with self._sending:
                await self._send(message)
        finally:
            self._waiting -= size
            if self.writable.is_set():
                self._unread.over(self)

    async def _send(self, message: ASGISendEvent) -> None:
        """uvicorn's, which would encode as UTF-8 what was decoded for it alone."""
        text: object = cast("dict[str, Any]", message).get("text")
        if not isinstance(text, bytes):
            await super().send(message)
            return
        await self.writable.wait()
        if self.disconnected or self.close_sent:
            raise ClientDisconnected
        self.conn.send_text(text)
        self.transport.write(b"".join(self.conn.data_to_send()))

    def _fail(self, code: CloseCode, reason: str) -> None:
        if not self.close_sent:
            _log.warning("websocket refused", extra={"code": int(code), "why": reason, "client": self.client})
            self.conn.fail(code, reason)
            self.handle_parser_exception()

    def handle_parser_exception(self) -> None:
        """What came is not the protocol, or too much of it."""
        self._unparsed.clear()
        if self.writable.is_set():
            super().handle_parser_exception()
        else:
            self.transport.abort()

    # Whether anybody is there

    def send_keepalive_ping(self) -> None:
        """Ping, if the client reads; else see later whether it has taken anything meanwhile."""
        if self.writable.is_set():
            super().send_keepalive_ping()
            return
        self.ping_timer = None
        self._unsent_at_ping = self.transport.get_write_buffer_size()
        self.pong_timer = self.loop.call_later(self.ping_timeout or 0, self.keepalive_timeout)

    def keepalive_timeout(self) -> None:
        """No pong came: the client is told 1011 if it reads, and is gone either way."""
        unsent, self._unsent_at_ping = self._unsent_at_ping, None
        if unsent is not None and (self.writable.is_set() or self.transport.get_write_buffer_size() < unsent):
            self.pong_timer = None
            self.schedule_ping()  # a slow reader, but a reader
        elif self.writable.is_set():
            super().keepalive_timeout()
        else:
            self.transport.abort()

    def pause_writing(self) -> None:
        """The client does not keep up with what is written."""
        super().pause_writing()
        self._unread.grew(self)

    def resume_writing(self) -> None:
        """The client has taken most of what was written."""
        self._stall.over()
        self._unread.over(self)
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._unread.over(self)
        super().connection_lost(exc)

    def unread(self) -> int:
        """Bytes that wait for the client."""
        return self.transport.get_write_buffer_size() + self._waiting

    def stands(self, now: float) -> float:
        """Seconds that the client has taken nothing."""
        return self._stall.lasts(now, self.transport.get_write_buffer_size())

    def drop(self) -> None:
        """Close at once: others need the memory."""
        self.transport.abort()

    def check(self, now: float) -> None:
        """Drop a client that does not read. The server calls this a few times a second."""
        self._pings = 0
        closing = self.transport.is_closing()
        stalled = self.stands(now) > self._limits.stalled_seconds
        if stalled or (self._stopwatch.lasts(now, closing) > _LINGER_SECONDS and closing):
            self.transport.abort()

    def shutdown(self) -> None:
        """The server stops: clients that read are told to come back (1012)."""
        if self.writable.is_set():
            super().shutdown()
        else:
            self.transport.abort()
