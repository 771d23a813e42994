"""WebSockets: uvicorn's protocol, with bounds on pings, on messages and their pieces, and on clients that do not read.

The websockets library checks a message's size (`ws_max_size`; less until the application has set the user) before its
bytes are gathered.
"""

import asyncio
import logging
import struct
from http import HTTPStatus
from typing import Any, Final, cast

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent, WebSocketReceiveEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request
from websockets.protocol import State as ConnectionState

from crm.web.protocol.bodies import OWNER, SMALL, Body
from crm.web.protocol.config import Config
from crm.web.protocol.intake import ReceivedBytes, work
from crm.web.protocol.state import State
from crm.web.protocol.stopwatch import Stall, Stopwatch

_log = logging.getLogger(__name__)

# An extension of ASGI: the text of `websocket.send` may be bytes in UTF-8, or a tuple of such parts.
UTF8: Final = "crm.utf8"
# The parts of a message up to this size are joined; those of a larger one are written without a copy.
_SMALL: Final = 16 * 1024
# A part from this size on is counted once for all connections that keep it.
_LARGE: Final = 64 * 1024
# The memory of a sender that waits, besides its message.
_WAITING: Final = 10 * 1024
# Pongs are sent while the client's unread bytes are at most this.
_LITTLE_UNREAD: Final = 64 * 1024
_TEXT: Final = 0x81  # a frame that is a whole text
# The bytes parsed at a time: some hundred of the smallest frames, or a part of a large message.
_PIECE: Final = 4096
_FRAME: Final = 32  # the cost of a frame, relative to a piece of a body over HTTP
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
        self._portions = server_state.portions
        self._turns = server_state.turns
        self._waiting_bytes = 0  # bytes to be sent after the client has read the earlier ones
        self._written_parts: list[bytes] = []  # large parts that the transport has not sent yet
        self._is_opening = True
        self._unparsed = ReceivedBytes()
        self._bodies = server_state.bodies
        self._body: Body | None = None  # a message being received, if it is large enough to be counted
        self._has_turn = False  # whether it is queued to parse more
        self._frames_seen = 0
        self._fragments = 0  # of the message that is being received
        self._pings = 0
        # The unread bytes when a ping was due that could not be sent, since the client had not read earlier messages.
        self._unsent_at_ping: int | None = None
        self._has_read = False  # whether the client has read a whole message since then
        self._stopwatch = Stopwatch()
        self._stall = Stall()

    # Receiving

    def data_received(self, data: bytes) -> None:
        """Parse received bytes: at once if they are few, else in turns with other connections."""
        if self._is_opening:  # a head whose size HTTP has checked, handed over as a whole
            super().data_received(data)
            return
        self._unparsed.add(data)
        if self._has_turn:
            return
        if self.read_paused:
            self._count()
        elif len(self._unparsed) <= _PIECE:
            self.feed_on()
        else:
            self._take_turns()

    def _take_turns(self) -> None:
        self._has_turn = True
        self.transport.pause_reading()
        self._turns.take(self)
        self._count()

    def feed_on(self) -> int:
        """Parse some of the waiting bytes, and return the cost."""
        if not self._unparsed:  # dropped since it stood in line
            self._has_turn = False
            return work(0, 0)
        before = self._frames_seen
        self.conn.max_message_size = self.config.ws_max_size if self._is_user_known() else SMALL
        piece = self._unparsed.take(_PIECE)
        super().data_received(piece)
        goes_on = not self.read_paused and not self.transport.is_closing()
        if goes_on and not self._unparsed:
            self.transport.resume_reading()
        self._has_turn = goes_on and bool(self._unparsed)
        self._count()
        return work(_FRAME * (self._frames_seen - before), len(piece))

    def waits(self) -> bool:
        """Whether more bytes can be parsed now, without waiting for the application to take a message."""
        return self._has_turn

    def _is_user_known(self) -> bool:
        accepted = self.handshake_complete and not self.transport.is_closing()
        return accepted and self.scope["state"].get(OWNER) is not None

    def _count(self) -> None:
        """Count the bytes of incomplete messages, which take memory that others may need."""
        size = len(self._unparsed) + len(self.conn.reader.buffer) + (self.conn.current_size or 0)
        if self.transport.is_closing():
            self._forget()
        elif size > SMALL:
            self._body = self._body or Body(self.scope, self._make_room)
            if not self._bodies.grew(self._body, size):
                self._make_room()
        elif self._body is not None:
            self._uncount(self._body)

    def _uncount(self, body: Body) -> None:
        self._body = None
        self._bodies.over(body)

    def _make_room(self) -> None:
        """Refuse the message that is being received: others need the memory."""
        if self.close_sent or not self._is_user_known():  # to say why to a thousand of them takes 0.1 s
            self._forget()
            self.transport.abort()
        else:
            self._fail(CloseCode.TRY_AGAIN_LATER, "too many messages are under way: send fewer at once")

    def _forget(self) -> None:
        """Free received bytes at once, without waiting for the garbage collector: nothing is read any more."""
        self._unparsed.clear()
        self.conn.reader.discard()
        self.frames = []
        if self._body is not None:
            self._uncount(self._body)

    def handle_events(self) -> None:
        """Handle frames, and free their data: the library keeps the last frame until the next one."""
        events = self.conn.events
        self._frames_seen += len(events)
        super().handle_events()
        for event in events:
            if isinstance(event, Frame):
                event.data = b""

    def handle_connect(self, event: Request) -> None:
        """Handle the opening, and offer the application the extension for texts in UTF-8."""
        self._is_opening = False
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            cast("dict[str, Any]", self.scope["extensions"])[UTF8] = {}
        event.headers.clear()  # the library's parser keeps the opening for as long as the connection

    async def receive(self) -> ASGIReceiveEvent:
        """Give the application a message, and resume reading if it was the last."""
        message = await self.queue.get()
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            if self._unparsed:
                self._take_turns()
            elif not self.transport.is_closing():
                self.transport.resume_reading()
        return message

    def handle_cont(self, event: Frame) -> None:
        """Handle a fragment of a message; their number is limited, since empty ones have no size.

        Short ones are kept together: each for itself would take fifty times the memory of its one byte.
        """
        self._fragments += 1
        if self._fragments >= _MOST_FRAGMENTS:
            self._fail(CloseCode.MESSAGE_TOO_BIG, f"a message has {_MOST_FRAGMENTS:,} pieces at most")
            return
        if len(event.data) < _PIECE and self.frames and isinstance(self.frames[-1], bytearray):
            self.frames[-1] += event.data
        else:
            self.frames.append(bytearray(event.data))  # type: ignore[arg-type]  # they are joined in the end
        if event.fin:
            self.send_receive_event_to_app()

    def send_receive_event_to_app(self) -> None:
        """Queue a complete message for the application, and pause reading."""
        data, self.frames, self._fragments = b"".join(self.frames), [], 0
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
        """Answer a ping with the library's pong, if the client reads."""
        pong = b"".join(self.conn.data_to_send())
        self._pings += 1
        if self._pings > _MOST_PINGS_A_TICK:
            self._fail(CloseCode.POLICY_VIOLATION, "too many pings")
        elif self._takes_pongs() and not self.transport.is_closing():
            self.transport.write(pong)

    # Sending

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set the transport to buffer one message at most, so that later ones can be counted."""
        cast("asyncio.Transport", transport).set_write_buffer_limits(high=0)
        super().connection_made(transport)

    async def send(self, message: ASGISendEvent) -> None:
        """Send a message after the client has read the earlier ones, one after the other."""
        text: object = cast("dict[str, Any]", message).get("text")
        parts = text if isinstance(text, tuple) else (text,) if isinstance(text, bytes) else None
        if self.disconnected or (self.writable.is_set() and not self._sending.locked()):
            await self._send(message, parts)
            return
        large = [part for part in parts or () if len(part) >= _LARGE]
        size = _WAITING + (sum(map(len, parts)) if parts is not None else len(cast("str", text) or ""))
        self._waiting_bytes += size
        self._unread.parts.keep(self, large)
        self._unread.grew(self)
        try:
            async with self._sending:
                await self.writable.wait()
                await self._portions.turn(size)
                await self._send(message, parts)
        finally:
            self._waiting_bytes -= size
            self._unread.parts.release(self, large)
            if self.writable.is_set():
                self._unread.over(self)

    async def _send(self, message: ASGISendEvent, parts: tuple[bytes, ...] | None) -> None:
        """Send a message by uvicorn, or parts in UTF-8 without it, which saves decoding, encoding and copies."""
        if parts is None:
            await super().send(message)
            return
        await self.writable.wait()
        if self.disconnected or self.close_sent or self.conn.state is not ConnectionState.OPEN:
            raise ClientDisconnected
        size = sum(map(len, parts))
        if size <= _SMALL:
            self.transport.write(b"".join((_head(size), *parts)))
        else:
            self._write(_head(size), *parts)

    def _write(self, *parts: bytes) -> None:
        """Write parts without a copy; the large ones are counted until the transport has sent them."""
        self._written_parts = [part for part in parts if len(part) >= _LARGE]
        self._unread.parts.keep(self, self._written_parts)
        self.transport.writelines(parts)
        if self.writable.is_set():
            self._passed_on()

    def _passed_on(self) -> None:
        self._unread.parts.release(self, self._written_parts)
        self._written_parts = []

    def _takes_pongs(self) -> bool:
        return self.writable.is_set() or self.transport.get_write_buffer_size() <= _LITTLE_UNREAD

    def _fail(self, code: CloseCode, reason: str) -> None:
        if not self.close_sent:
            _log.warning("websocket refused", extra={"code": int(code), "why": reason, "client": self.client})
            self.conn.fail(code, reason)
            self.handle_parser_exception()

    def handle_parser_exception(self) -> None:
        """Close after an error of the protocol or a limit exceeded."""
        self._forget()
        if self.writable.is_set() and self.conn.close_sent is not None:  # else the WebSocket was not open yet
            super().handle_parser_exception()
        else:
            self.transport.abort()

    # Keeping alive

    def send_keepalive_ping(self) -> None:
        """Send a ping, if the client reads; else check later whether it has read anything meanwhile."""
        if self.writable.is_set():
            super().send_keepalive_ping()
            return
        self.ping_timer = None
        self._unsent_at_ping = self.transport.get_write_buffer_size()
        self._has_read = False
        self.pong_timer = self.loop.call_later(self.ping_timeout or 0, self.keepalive_timeout)

    def keepalive_timeout(self) -> None:
        """Close after no pong came: with 1011 if the client reads, else without a word."""
        unsent, self._unsent_at_ping = self._unsent_at_ping, None
        if unsent is not None and (self._has_read or self.transport.get_write_buffer_size() < unsent):
            self.pong_timer = None
            self.schedule_ping()  # the client reads, if slowly
        elif self.writable.is_set():
            super().keepalive_timeout()
        else:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Count unread bytes, since the client does not keep up."""
        super().pause_writing()
        self._unread.grew(self)

    def resume_writing(self) -> None:
        """Count unread bytes no longer: the client has read all that was written."""
        self._passed_on()
        self._has_read = True
        self._stall.over()
        self._unread.over(self)
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free everything that belongs to the connection."""
        self._passed_on()
        self._unread.over(self)
        self._forget()
        self.conn.parser.close()  # the parser refers to itself, and to the last frame
        super().connection_lost(exc)

    def unread(self) -> int:
        """The number of bytes that wait for the client."""
        return self.transport.get_write_buffer_size() + self._waiting_bytes

    def stands(self, now: float) -> float:
        """The seconds for which the client has read nothing."""
        return self._stall.lasts(now, self.transport.get_write_buffer_size())

    def drop(self) -> None:
        """Close the connection at once: others need the memory."""
        self.transport.abort()

    def check(self, now: float) -> None:
        """Drop a client that does not read. The server calls this a few times a second."""
        self._pings = 0
        closing = self.transport.is_closing()
        stalled = self.stands(now) > self._limits.stalled_seconds
        if stalled or (self._stopwatch.lasts(now, closing) > _LINGER_SECONDS and closing):
            self.transport.abort()

    def shutdown(self) -> None:
        """Close when the server stops, with 1012 (service restart) if the client reads."""
        if self.writable.is_set():
            super().shutdown()
        else:
            self.transport.abort()


def _head(size: int) -> bytes:
    """The head of a text frame; a server's frames are not masked."""
    if size < 126:  # noqa: PLR2004  (RFC 6455, section 5.2)
        return bytes((_TEXT, size))
    if size < 1 << 16:
        return struct.pack("!BBH", _TEXT, 126, size)
    return struct.pack("!BBQ", _TEXT, 127, size)
