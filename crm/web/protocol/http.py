"""HTTP/1.1: uvicorn's protocol, with limits on a request's head, on waiting, and on bytes after a request.

The parser (llhttp) decides how a request is framed. Its one trap is `Upgrade:`: the request then ends at its head,
whatever Content-Length says, and the body would be parsed as the next request.
"""

import asyncio
from typing import Any, Final

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from crm.web.protocol import heads
from crm.web.protocol import refusal as refusals
from crm.web.protocol.bodies import SMALL
from crm.web.protocol.config import Config
from crm.web.protocol.intake import Intake, work
from crm.web.protocol.refusal import Refusal, Refused
from crm.web.protocol.state import State
from crm.web.protocol.time_limits import TimedConnection

_MOST_HEADERS: Final = 128
# The bytes parsed at once: any usual request, or a thousand of the smallest pieces of a body.
_AT_ONCE: Final = 8 * 1024
# The bytes of a body whose request was answered before; a small piece counts as if it had `_SMALLEST_PIECE` bytes.
_MOST_UNWANTED: Final = 32 * 1024 * 1024
_SMALLEST_PIECE: Final = 4096
# Requests that wait for the answer to one before them, on one connection: each takes 4 KB, however small.
_MOST_IN_LINE: Final = 4
# The cost of a request among those that are started in one turn of the loop (see `IntakeTurns`): eight of them.
_START: Final = 512
# The bytes read and dropped after the last answer, so that the client reads that answer before the reset.
_MOST_DROPPED: Final = 8 * 1024 * 1024
_FULL_ANSWERS: Final = 200
_CLOSING: Final = frozenset({b"connection", b"proxy-connection"})


class Http(TimedConnection):
    """A connection that speaks HTTP."""

    def __init__(
        self,
        config: Config,
        server_state: State,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.url = b""
        self._feeding = 0
        self._unwanted = 0
        self._dropped = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Set a new connection up, or refuse it if there are too many."""
        super().connection_made(transport)
        self.flow = self._intake = Intake(self.transport)
        self.server_state.on_connection()
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
        self._forget_input()
        self.server_state.unread.over(self)
        for cycle in [*self._bodies, *self._heads]:
            self._uncount(cycle)
        super().connection_lost(exc)
        # They refer to the connection: it would stay in memory with them until a full collection.
        self.pipeline.clear()
        self.cycle = self._active = None  # type: ignore[assignment]

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
            self._unparsed.add(data)
            self._count_received()

    def feed_on(self) -> int:
        """Parse some of the waiting bytes, and return the cost."""
        piece, before = self._unparsed.take(_AT_ONCE), self._progress
        if not self._ignores_input and not self.transport.is_closing():
            self._feed(piece, self._unparsed.next())
        if self._ignores_input or self.transport.is_closing():
            self._drop(len(self._unparsed))
            self._unparsed.clear()
        else:
            self._count_received()
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
                self._refuse(self._too_large())
            elif self._in_head:
                self._count_received()

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
        if self._head is not None:
            self._count_whole_head(self._head, heads.size(self.url, self.headers))
        super().on_headers_complete()
        self._progress += 1
        self._requests += 1
        self._fruitless = self._unwanted = self._body_bytes = 0
        self._in_head = self._head_begun = False
        if upgrade and self._should_upgrade():
            self._uncount_head()
            return
        if self._head is not None:
            self._heads[self.cycle], self._head = self._head, None
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

    def _throw_away(self, body: bytes) -> None:
        """Drop a piece of an answered request's body: many clients read only after they have sent everything."""
        self._unwanted += max(len(body), _SMALLEST_PIECE)
        if self._unwanted > _MOST_UNWANTED:
            raise Refused(refusals.UNWANTED)

    def on_message_complete(self) -> None:
        """Mark the request as complete."""
        self._in_head = True
        if body := self._bodies and self._bodies.get(self.cycle):
            self.server_state.bodies.whole(body, self._body_bytes)
        super().on_message_complete()

    def _check_head(self) -> None:
        """Refuse a head that two programs could read in two ways, or that is too large."""
        most = self._limits.head_bytes
        if self._fruitless + self._feeding > most and heads.size(self.url, self.headers) > most:
            raise Refused(self._too_large())
        if len(self.pipeline) >= _MOST_IN_LINE:
            raise Refused(refusals.TOO_MANY_IN_LINE)
        heads.check(self.headers, self.parser.get_http_version())

    def _too_large(self) -> Refusal:
        """The refusal of a head that is too large: by its address, or by its headers."""
        is_address = self._in_head and len(self.url) > self._limits.head_bytes // 2
        return refusals.ADDRESS_TOO_LONG if is_address else refusals.HEAD_TOO_LARGE

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
        self._forget_head(self.scope)
        self.parser = None  # type: ignore[assignment]  # it and the connection refer to each other

    def _forget_head(self, scope: Any) -> None:
        """Free an answered request's head, which would take memory until the next request."""
        if self.headers is scope["headers"]:
            self.headers, self.url = [], b""
        scope["headers"], scope["query_string"], scope["raw_path"] = [], b"", b""

    def check(self, now: float) -> None:
        """Close the connection if its client exceeds a time limit; free the head of a stream, which goes on."""
        if (self._heads or self._bodies) and (stream := self._stream()):
            self._forget_head(stream.scope)
            self._uncount(stream)
        super().check(now)

    # Sending

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Call the application, or queue the request while much of the answer before is unread."""
        if self.flow.write_paused:
            self.pipeline.append((cycle, app))
        else:
            self._active = cycle
            super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Go on, after an answer, with the next request that was received already, or end the connection."""
        self.server_state.total_requests += 1
        if self._active is not None:
            self._forget_head(self._active.scope)
            if self._bodies or self._heads:
                self._uncount(self._active)
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self.server_state.next_requests.take(_NextRequest(self))
        elif self._last_refusal is not None:
            self._end(self._last_refusal)


class _NextRequest:
    """The turn of a connection whose client sent its next request without waiting for an answer.

    Such requests are started some in each turn of the loop, so that they do not delay those of other clients.
    """

    def __init__(self, connection: Http) -> None:
        self._connection = connection

    def feed_on(self) -> int:
        """Start the request, and return its cost."""
        self._connection.start_next()
        return _START

    def waits(self) -> bool:
        """Whether another request can be started: not before this one is answered."""
        return False

    def drop(self) -> None:
        """Close the connection at once."""
        self._connection.drop()
