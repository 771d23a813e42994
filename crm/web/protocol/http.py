"""HTTP/1.1: uvicorn's protocol, with limits on a request's head, on waiting, and on bytes after a request.

The parser (llhttp) decides how a request is framed. Its one trap is `Upgrade:`: the request then ends at its head,
whatever Content-Length says, and the body would be parsed as the next request.
"""

import asyncio
from enum import Enum, auto
from functools import partial
from typing import Any, Final

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from crm.web.protocol import heads
from crm.web.protocol import refusal as refusals
from crm.web.protocol.bodies import SMALL, Body
from crm.web.protocol.config import Config
from crm.web.protocol.intake import Intake, work
from crm.web.protocol.refusal import Refusal, Refused, log_refusal
from crm.web.protocol.state import State
from crm.web.protocol.stopwatch import Stall, Stopwatch

_MOST_HEADERS: Final = 128
# The bytes parsed at once: any usual request, or a thousand of the smallest pieces of a body.
_AT_ONCE: Final = 8 * 1024
# The bytes of a body whose request was answered before; a small piece counts as if it had `_SMALLEST_PIECE` bytes.
_MOST_UNWANTED: Final = 32 * 1024 * 1024
_SMALLEST_PIECE: Final = 4096
# Requests that wait for the answer to one before them, on one connection.
_MOST_IN_LINE: Final = 32
# The bytes read and dropped after the last answer, so that the client reads that answer before the reset.
_MOST_DROPPED: Final = 8 * 1024 * 1024
_LINGER_SECONDS: Final = 2.0
# The time for an answer to a client that has closed its sending side.
_HALF_CLOSED_SECONDS: Final = 1.0
_FULL_ANSWERS: Final = 200
_CLOSING: Final = frozenset({b"connection", b"proxy-connection"})


class RequestStage(Enum):
    """The stage of a connection: the event that it waits for."""

    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    NEXT = auto()
    END = auto()


class Http(HttpToolsProtocol):
    """A connection that speaks HTTP."""

    config: Config
    server_state: State

    def __init__(
        self,
        config: Config,
        server_state: State,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = config.limits
        self._requests = 0
        self._in_head = True  # in the head of the next request, begun or not
        self._head_begun = False
        # The number of heads and pieces of bodies received, and the bytes received since the last of them.
        self._progress = 0
        self._fruitless = 0
        self._head: Body | None = None  # a head that is being received, if it is large enough to be counted
        self._feeding = 0
        self._active: RequestResponseCycle | None = None
        # The received bytes of the present body, and the bodies that are large enough to be counted.
        self._body_bytes = 0
        self._bodies: dict[RequestResponseCycle, Body] = {}
        self._ignores_input = False  # received bytes are dropped
        self._unparsed = bytearray()  # received bytes that wait to be parsed
        self._unwanted = 0
        self._dropped = 0
        self._last_refusal: Refusal | None = None
        self._ending = False
        self._half_closed = False
        self._stopwatch = Stopwatch()
        self._silence = Stopwatch()
        self._stall = Stall()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Set a new connection up, or refuse it if there are too many."""
        super().connection_made(transport)
        self.flow = self._intake = Intake(self.transport)
        over = len(self.connections) - self._limits.connections
        if over > _FULL_ANSWERS:
            transport.abort()
        elif over > 0:
            self._refuse(refusals.FULL)

    def connection_lost(self, exc: Exception | None) -> None:
        """Free everything that belongs to the connection, and let the application stop."""
        active = self._active
        if active is not None and not active.response_complete:
            active.disconnected = True
            active.message_event.set()
        self._unparsed.clear()
        self.server_state.unread.over(self)
        self._uncount_head()
        for cycle in list(self._bodies):
            self._uncount(cycle)
        super().connection_lost(exc)

    # Receiving

    def data_received(self, data: bytes) -> None:
        """Parse received bytes: at once if they are few, else in turns with other connections."""
        if self._ignores_input:
            self._drop(len(data))
        elif len(data) <= _AT_ONCE and not self._unparsed:
            self._feed(data, b"")
        else:
            if not self._unparsed:
                self._intake.hold()
                self.server_state.turns.take(self)
            self._unparsed += data

    def feed_on(self) -> int:
        """Parse some of the waiting bytes, and return the cost."""
        piece, before = bytes(self._unparsed[:_AT_ONCE]), self._progress
        del self._unparsed[:_AT_ONCE]
        if not self._ignores_input and not self.transport.is_closing():
            self._feed(piece, bytes(self._unparsed[:1]))
        if self._ignores_input or self.transport.is_closing():
            self._drop(len(self._unparsed))
            self._unparsed.clear()
        if not self._unparsed and not self.transport.is_closing():
            self._intake.release()
        return work(self._progress - before, len(piece))

    def waits(self) -> bool:
        """Whether bytes wait to be parsed."""
        return bool(self._unparsed)

    def _feed(self, data: bytes, after: bytes) -> None:
        before, self._feeding = self._progress, len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :] + after)
            return
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause.refusal if isinstance(cause, Refused) else refusals.NOT_HTTP)
            return
        if self._progress == before:
            self._fruitless += len(data)
            if self._fruitless > self._limits.head_bytes:
                self._refuse(refusals.HEAD_TOO_LARGE)
            elif self._in_head and self._fruitless > SMALL:
                self._count_head()

    def _drop(self, size: int) -> None:
        self._dropped += size
        if self._dropped > _MOST_DROPPED:
            self.transport.abort()

    def eof_received(self) -> bool:  # type: ignore[override]
        """After the client closed its sending side: whether to keep the connection, to answer a complete request."""
        if self._half_closed or self._ignores_input or not self._in_head or not self._is_busy():
            return False
        self._half_closed = True
        self.cycle.keep_alive = False
        return True

    # The parser's callbacks

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._head_begun = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header; after the head it is a trailer, which is ignored."""
        if not self._in_head:
            self._see_trailer(name.lower())
            return
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))
        if len(self.headers) > _MOST_HEADERS:
            raise Refused(refusals.HEAD_TOO_LARGE)

    def _see_trailer(self, name: bytes) -> None:
        """Make the answer the last if a trailer ends the connection, since the parser then parses nothing more."""
        if name in _CLOSING:
            if self.cycle.response_complete:
                raise Refused(refusals.NOT_HTTP)
            self.cycle.keep_alive = False

    def on_headers_complete(self) -> None:
        """Check a complete head, and call the application unless it is refused."""
        upgrade = self.parser.should_upgrade()
        self._check_head()
        if upgrade:
            self._check_upgrade()
        super().on_headers_complete()
        self._progress += 1
        self._requests += 1
        self._fruitless = self._unwanted = self._body_bytes = 0
        self._uncount_head()
        self._in_head = self._head_begun = False
        if upgrade and self._should_upgrade():
            return
        self._ignores_input = upgrade
        if upgrade or self.server_state.draining:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Give a piece of the body to the application, or drop it if the request was answered."""
        self._progress += 1
        self._fruitless = 0
        if self.cycle.response_complete:
            self._throw_away(body)
        else:
            self._body_bytes += len(body)
            if self._body_bytes > SMALL:
                self._count(self.cycle)
        super().on_body(body)

    def _count(self, cycle: RequestResponseCycle) -> None:
        """Count a body that is large enough to take memory that others may need."""
        body = self._bodies.get(cycle)
        if body is None:
            body = self._bodies[cycle] = Body(cycle.scope, partial(self._refuse_body, cycle))
        if not self.server_state.bodies.grew(body, self._body_bytes):
            raise Refused(refusals.NO_ROOM)

    def _count_head(self) -> None:
        """Count a head that is large enough to take memory that others may need."""
        if self._head is None:
            self._head = Body({"state": {}}, lambda: self._refuse(refusals.NO_ROOM))
        if not self.server_state.bodies.grew(self._head, self._fruitless):
            self._refuse(refusals.NO_ROOM)

    def _uncount_head(self) -> None:
        """Count a head no longer: it is complete, or never will be."""
        if self._head is not None:
            self.server_state.bodies.over(self._head)
            self._head = None

    def _uncount(self, cycle: RequestResponseCycle) -> None:
        """Count a request's body no longer: the request is answered, or never will be."""
        if body := self._bodies.pop(cycle, None):
            self.server_state.bodies.over(body)

    def _refuse_body(self, cycle: RequestResponseCycle) -> None:
        """Refuse a request whose body is still being received: others need the memory."""
        if self.cycle is cycle and not self._in_head and not self._ignores_input:
            self._refuse(refusals.NO_ROOM)

    def _throw_away(self, body: bytes) -> None:
        """Drop a piece of an answered request's body: many clients read only after they have sent everything."""
        self._unwanted += max(len(body), _SMALLEST_PIECE)
        if self._unwanted > _MOST_UNWANTED:
            raise Refused(refusals.UNWANTED)

    def on_message_complete(self) -> None:
        """Mark the request as complete."""
        self._in_head = True
        if body := self._bodies and self._bodies.get(self.cycle):
            self.server_state.bodies.whole(body)
        super().on_message_complete()

    def _check_head(self) -> None:
        """Refuse a head that two programs could read in two ways, or that is too large."""
        most = self._limits.head_bytes
        if self._fruitless + self._feeding > most and heads.size(self.url, self.headers) > most:
            raise Refused(refusals.HEAD_TOO_LARGE)
        if len(self.pipeline) >= _MOST_IN_LINE:
            raise Refused(refusals.TOO_MANY_IN_LINE)
        heads.check(self.headers, self.parser.get_http_version())

    def _check_upgrade(self) -> None:
        """Refuse an upgrade with a body: the parser ends such a request at its head."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise Refused(refusals.CONNECT)
        if not self._should_upgrade():
            heads.check_upgrade(self.headers, self.parser.get_http_version())
            return
        heads.check_opening(method, self.url, self.headers)
        if self._is_busy():
            raise Refused(refusals.HANDSHAKE_IN_LINE)

    def _should_upgrade(self) -> bool:
        """Whether the request is the opening of a WebSocket, and of no other protocol besides."""
        return heads.is_opening(self.headers, self.parser.get_http_version())

    def _upgrade(self, early: bytes) -> None:
        """Hand a complete upgrade request over to the WebSocket protocol; other protocols are ignored."""
        if not self._should_upgrade():
            return
        if early:
            self._refuse(refusals.EARLY_FRAMES)
        else:
            self.handle_websocket_upgrade()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over to the WebSocket protocol."""
        self._intake.release()
        super().handle_websocket_upgrade()

    # Sending

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Call the application, or queue the request while much of the answer before is unread."""
        if self.flow.write_paused:
            self.pipeline.append((cycle, app))
        else:
            self._active = cycle
            super()._start_asgi_task(cycle, app)

    def _is_busy(self) -> bool:
        """Whether a request waits for its answer, or for the application."""
        return bool(self.pipeline) or (self._active is not None and not self._active.response_complete)

    def on_response_complete(self) -> None:
        """Go on, after an answer, with the next request that was received already, or end the connection."""
        self.server_state.total_requests += 1
        if self._bodies and self._active is not None:
            self._uncount(self._active)
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._last_refusal is not None:
            self._end(self._last_refusal)

    def _refuse(self, refusal: Refusal) -> None:
        """Ignore further input; answer the earlier requests, and then send this refusal."""
        log_refusal(refusal, self.client)
        self._ignores_input = True
        self._uncount_head()
        incomplete = None if self._in_head else self.cycle  # the request whose body will never be complete
        self._in_head = True
        if incomplete is not None:
            self._uncount(incomplete)
        active = self._active
        if incomplete is not None and incomplete.response_complete:
            self._hang_up()
        elif active is not None and incomplete is active:
            self._give_up(active, refusal)
        else:
            if incomplete is not None:
                self.pipeline.popleft()
            if self._is_busy():
                self._last_refusal = refusal
            else:
                self._end(refusal)

    def _give_up(self, cycle: RequestResponseCycle, refusal: Refusal) -> None:
        """Tell the application that the client is gone, and send the refusal unless the answer has begun."""
        cycle.disconnected = True
        cycle.message_event.set()
        if cycle.response_started:
            self.transport.close()
        else:
            self._end(refusal)

    def _end(self, refusal: Refusal) -> None:
        """Write the last answer, then read on for a moment: after a reset the client could not read that answer."""
        self.transport.write(refusal.written(self.server_state.default_headers))
        self._hang_up()

    def _hang_up(self) -> None:
        self._ending = True
        self.transport.write_eof()
        self.flow.resume_reading()

    # Time limits

    def pause_writing(self) -> None:
        """Count unread bytes, since the client does not keep up."""
        super().pause_writing()
        self.server_state.unread.grew(self)

    def resume_writing(self) -> None:
        """Go on with the next request: the client has read most of the answer before."""
        self._stall.over()
        self.server_state.unread.over(self)
        super().resume_writing()
        active = self._active
        if self.pipeline and active is not None and active.response_complete and not self.transport.is_closing():
            self._start_asgi_task(*self.pipeline.pop())

    def unread(self) -> int:
        """The number of bytes that wait for the client."""
        return self.transport.get_write_buffer_size()

    def stands(self, now: float) -> float:
        """The seconds for which the client has read nothing."""
        return self._stall.lasts(now, self.unread())

    def drop(self) -> None:
        """Close the connection at once: others need the memory."""
        self.transport.abort()

    def check(self, now: float) -> None:
        """Close the connection if its client exceeds a time limit; the server calls this a few times a second."""
        if self.stands(now) > self._limits.stalled_seconds:
            self.transport.abort()
            return
        if self.transport.is_closing() or self._unparsed:
            return
        stage = self._stage()
        seconds = self._stopwatch.lasts(now, (stage, self._requests, self._half_closed, len(self.pipeline)))
        if stage is RequestStage.HEAD:
            self._check_waiting_for_head(now, seconds)
        elif stage is RequestStage.BODY:
            self._check_waiting_for_body(now, seconds)
        elif stage is RequestStage.NEXT and (seconds > self.timeout_keep_alive or self.server_state.drained(now)):
            self.transport.close()
        elif stage is RequestStage.END and seconds > _LINGER_SECONDS:
            self.transport.abort()
        elif self._half_closed and not self.flow.write_paused and seconds > _HALF_CLOSED_SECONDS:
            self.transport.abort()  # a client that has closed both sides looks the same, and needs no answer

    def _stage(self) -> RequestStage:
        if self._ending:
            return RequestStage.END
        if not self._in_head and self.cycle is self._active and not self.flow.read_paused:
            return RequestStage.BODY
        if not self._in_head or self._is_busy():
            return RequestStage.ANSWER
        return RequestStage.HEAD if self._head_begun or self._fruitless or not self._requests else RequestStage.NEXT

    def _check_waiting_for_head(self, now: float, seconds: float) -> None:
        if seconds > self._limits.head_seconds and self._head_begun:
            self._refuse(refusals.HEAD_TOO_LATE)
        elif seconds > self._limits.head_seconds or self.server_state.drained(now):
            self.transport.close()

    def _check_waiting_for_body(self, now: float, seconds: float) -> None:
        if seconds > self._limits.body_seconds:
            self._refuse(refusals.BODY_TOO_LATE)
        elif self.cycle.response_complete and self._silence.lasts(now, self._progress) > self.timeout_keep_alive:
            self.transport.close()  # the client has its answer, and sends no more of the body

    def shutdown(self) -> None:
        """Make the present answer the last, when the server stops; idle connections may send one more request."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = self.cycle.response_started  # a head that was sent has promised it
        elif self.server_state.drained(self.loop.time()):
            self.transport.close()
