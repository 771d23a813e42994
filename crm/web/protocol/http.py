"""HTTP/1.1: uvicorn's protocol, with bounds on a request's head, on waiting, and on what follows a request.

The parser (llhttp) says how a request is framed. Its one trap is `Upgrade:`: it ends the request at its head, whatever
Content-Length says, and would take the body for the next request.
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
from crm.web.protocol.unread import limit_unsent

_MOST_HEADERS: Final = 128
# What is parsed at once: any usual request, or a thousand of the smallest pieces of a body.
_AT_ONCE: Final = 8 * 1024
# Of a body whose request was answered before it came; of small pieces each counts as if it were larger.
_MOST_UNWANTED: Final = 32 * 1024 * 1024
_SMALLEST_PIECE: Final = 4096
# Requests that wait for the answer to one before them, on one connection.
_MOST_IN_LINE: Final = 32
# After the last answer: what is read and thrown away, so that the client reads that answer before the reset.
_MOST_DROPPED: Final = 8 * 1024 * 1024
_LINGER_SECONDS: Final = 2.0
# How long an answer may take to a client that sends nothing more.
_HALF_CLOSED_SECONDS: Final = 1.0
_FULL_ANSWERS: Final = 200
_CLOSING: Final = frozenset({b"connection", b"proxy-connection"})


class RequestStage(Enum):
    """What a connection waits for."""

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
        self._in_head = True  # of the next request, begun or not
        self._head_begun = False
        # How often a head was completed or a piece of a body came; and the bytes that came since.
        self._progress = 0
        self._fruitless = 0
        self._feeding = 0
        self._active: RequestResponseCycle | None = None
        # Of the body that is coming; and those that are large enough to be counted.
        self._body_bytes = 0
        self._bodies: dict[RequestResponseCycle, Body] = {}
        self._deaf = False  # what comes is thrown away
        self._unfed = bytearray()  # what came and waits to be parsed
        self._unwanted = 0
        self._dropped = 0
        self._last_words: Refusal | None = None
        self._ending = False
        self._half_closed = False
        self._stopwatch = Stopwatch()
        self._silence = Stopwatch()
        self._stall = Stall()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody connected."""
        limit_unsent(transport)
        super().connection_made(transport)
        self.flow = self._intake = Intake(self.transport)
        over = len(self.connections) - self._limits.connections
        if over > _FULL_ANSWERS:
            transport.abort()
        elif over > 0:
            self._refuse(refusals.FULL)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: whoever works on an answer may stop."""
        active = self._active
        if active is not None and not active.response_complete:
            active.disconnected = True
            active.message_event.set()
        self._unfed.clear()
        self.server_state.unread.over(self)
        for cycle in list(self._bodies):
            self._uncount(cycle)
        super().connection_lost(exc)

    # What comes in

    def data_received(self, data: bytes) -> None:
        """Bytes came, as many as the system had."""
        if self._deaf:
            self._drop(len(data))
        elif len(data) <= _AT_ONCE and not self._unfed:
            self._feed(data, b"")
        else:
            if not self._unfed:
                self._intake.hold()
                self.server_state.turns.take(self)
            self._unfed += data

    def feed_on(self) -> int:
        """Parse some of what waits, and say how much work that was."""
        piece, before = bytes(self._unfed[:_AT_ONCE]), self._progress
        del self._unfed[:_AT_ONCE]
        if not self._deaf and not self.transport.is_closing():
            self._feed(piece, bytes(self._unfed[:1]))
        if self._deaf or self.transport.is_closing():
            self._drop(len(self._unfed))
            self._unfed.clear()
        if not self._unfed and not self.transport.is_closing():
            self._intake.release()
        return work(self._progress - before, len(piece))

    def waits(self) -> bool:
        """Whether something waits to be parsed."""
        return bool(self._unfed)

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

    def _drop(self, size: int) -> None:
        self._dropped += size
        if self._dropped > _MOST_DROPPED:
            self.transport.abort()

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends nothing more. Whether to keep the connection: for the answer to what came as a whole."""
        if self._half_closed or self._deaf or not self._in_head or not self._is_busy():
            return False
        self._half_closed = True
        self.cycle.keep_alive = False
        return True

    # The parser's callbacks

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head_begun = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; after the head it is a trailer, and nobody asked for one."""
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
        """The parser obeys these, and hears nothing that comes after: so the answer must be the last."""
        if name in _CLOSING:
            if self.cycle.response_complete:
                raise Refused(refusals.NOT_HTTP)
            self.cycle.keep_alive = False

    def on_headers_complete(self) -> None:
        """The head is there: unless it is refused, the application is called."""
        upgrade = self.parser.should_upgrade()
        self._check_head()
        if upgrade:
            self._check_upgrade()
        super().on_headers_complete()
        self._progress += 1
        self._requests += 1
        self._fruitless = self._unwanted = self._body_bytes = 0
        self._in_head = self._head_begun = False
        if upgrade and self._should_upgrade():
            return
        self._deaf = upgrade
        if upgrade or self.server_state.draining:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
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
        """A body is large enough to take room that others may need."""
        body = self._bodies.get(cycle)
        if body is None:
            body = self._bodies[cycle] = Body(cycle.scope, partial(self._refuse_body, cycle))
        if not self.server_state.bodies.grew(body, self._body_bytes):
            raise Refused(refusals.NO_ROOM)

    def _uncount(self, cycle: RequestResponseCycle) -> None:
        """A request is answered, or will never be."""
        if body := self._bodies.pop(cycle, None):
            self.server_state.bodies.over(body)

    def _refuse_body(self, cycle: RequestResponseCycle) -> None:
        """Others need the room of this body, which is still coming."""
        if self.cycle is cycle and not self._in_head and not self._deaf:
            self._refuse(refusals.NO_ROOM)

    def _throw_away(self, body: bytes) -> None:
        """Nobody waits for this: the request was answered. Many clients read only when they have sent everything."""
        self._unwanted += max(len(body), _SMALLEST_PIECE)
        if self._unwanted > _MOST_UNWANTED:
            raise Refused(refusals.UNWANTED)

    def on_message_complete(self) -> None:
        """The request is there as a whole."""
        self._in_head = True
        if body := self._bodies and self._bodies.get(self.cycle):
            self.server_state.bodies.whole(body)
        super().on_message_complete()

    def _check_head(self) -> None:
        """Refuse what two programs could read in two ways."""
        most = self._limits.head_bytes
        if self._fruitless + self._feeding > most and heads.size(self.url, self.headers) > most:
            raise Refused(refusals.HEAD_TOO_LARGE)
        if len(self.pipeline) >= _MOST_IN_LINE:
            raise Refused(refusals.TOO_MANY_IN_LINE)
        heads.check(self.headers, self.parser.get_http_version())

    def _check_upgrade(self) -> None:
        """The parser ends such a request at its head, so it must end there."""
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
        """Whether this is the opening of a WebSocket, and nothing else besides."""
        return heads.is_opening(self.headers, self.parser.get_http_version())

    def _upgrade(self, early: bytes) -> None:
        """A request that asks for another protocol is there as a whole: it is a WebSocket's, or like any other."""
        if not self._should_upgrade():
            return
        if early:
            self._refuse(refusals.EARLY_FRAMES)
        else:
            self.handle_websocket_upgrade()

    def handle_websocket_upgrade(self) -> None:
        """From here on it is no HTTP."""
        self._intake.release()
        super().handle_websocket_upgrade()

    # What goes out

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Call the application; while much of the answer before is unread, that waits."""
        if self.flow.write_paused:
            self.pipeline.append((cycle, app))
        else:
            self._active = cycle
            super()._start_asgi_task(cycle, app)

    def _is_busy(self) -> bool:
        """Whether a request waits for its answer, or for the application."""
        return bool(self.pipeline) or (self._active is not None and not self._active.response_complete)

    def on_response_complete(self) -> None:
        """An answer is written: on with the next request that came already, or with the end."""
        self.server_state.total_requests += 1
        if self._bodies and self._active is not None:
            self._uncount(self._active)
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._last_words is not None:
            self._end(self._last_words)

    def _refuse(self, refusal: Refusal) -> None:
        """Hear nothing more; answer what was asked before, and this last."""
        log_refusal(refusal, self.client)
        self._deaf = True
        broken = None if self._in_head else self.cycle  # the request whose body will never be complete
        self._in_head = True
        if broken is not None:
            self._uncount(broken)
        active = self._active
        if broken is not None and broken.response_complete:
            self._hang_up()
        elif active is not None and broken is active:
            self._give_up(active, refusal)
        else:
            if broken is not None:
                self.pipeline.popleft()
            if self._is_busy():
                self._last_words = refusal
            else:
                self._end(refusal)

    def _give_up(self, cycle: RequestResponseCycle, refusal: Refusal) -> None:
        """The application is told that the client is gone; the client is told why, if it was told nothing yet."""
        cycle.disconnected = True
        cycle.message_event.set()
        if cycle.response_started:
            self.transport.close()
        else:
            self._end(refusal)

    def _end(self, refusal: Refusal) -> None:
        """Write the last answer. What comes is read for a moment: a reset would take that answer from the client."""
        self.transport.write(refusal.written(self.server_state.default_headers))
        self._hang_up()

    def _hang_up(self) -> None:
        self._ending = True
        self.transport.write_eof()
        self.flow.resume_reading()

    # Time

    def pause_writing(self) -> None:
        """The client does not keep up with what is written."""
        super().pause_writing()
        self.server_state.unread.grew(self)

    def resume_writing(self) -> None:
        """The client has taken most of what was written: on with what it asked meanwhile."""
        self._stall.over()
        self.server_state.unread.over(self)
        super().resume_writing()
        active = self._active
        if self.pipeline and active is not None and active.response_complete and not self.transport.is_closing():
            self._start_asgi_task(*self.pipeline.pop())

    def unread(self) -> int:
        """Bytes that wait for the client."""
        return self.transport.get_write_buffer_size()

    def stands(self, now: float) -> float:
        """Seconds that the client has taken nothing."""
        return self._stall.lasts(now, self.unread())

    def drop(self) -> None:
        """Close at once: others need the memory."""
        self.transport.abort()

    def check(self, now: float) -> None:
        """Close, when the client has taken longer than it may. The server calls this a few times a second."""
        if self.stands(now) > self._limits.stalled_seconds:
            self.transport.abort()
            return
        if self.transport.is_closing() or self._unfed:
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
            self.transport.abort()  # whoever closed altogether looks the same, and waits for nothing

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
            self.transport.close()  # an answer was all it wanted

    def shutdown(self) -> None:
        """The server stops: this request's answer is the last; an idle client may still send one while it drains."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = self.cycle.response_started  # a head that is gone has promised it
        elif self.server_state.drained(self.loop.time()):
            self.transport.close()
