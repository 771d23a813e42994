"""An HTTP connection: its state, the memory that heads and bodies take, and its end (mostly by a refusal)."""

import asyncio
from functools import partial
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from crm.web.protocol import refusal as refusals
from crm.web.protocol.bodies import SMALL, Body
from crm.web.protocol.config import Config
from crm.web.protocol.intake import ReceivedBytes
from crm.web.protocol.refusal import Refusal, Refused, log_refusal
from crm.web.protocol.state import State

_STREAM: Final = "stream"  # in a request's state, by the application (crm/web/http_io.py): its answer has no end
# A complete head takes so many times its size: as bytes, and as the values that the application reads.
_COMPLETE: Final = 2


class HttpConnection(HttpToolsProtocol):
    """uvicorn's connection with more state: what was received, and whether it is about to end."""

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
        self._active: RequestResponseCycle | None = None
        # The received bytes of the present body, and the bodies that are large enough to be counted.
        self._body_bytes = 0
        self._bodies: dict[RequestResponseCycle, Body] = {}
        self._heads: dict[RequestResponseCycle, Body] = {}
        self._unparsed = ReceivedBytes()  # those that wait to be parsed
        self._ignores_input = False  # received bytes are dropped
        self._last_refusal: Refusal | None = None
        self._ending = False
        self._half_closed = False

    def _is_busy(self) -> bool:
        """Whether a request waits for its answer, or for the application."""
        return bool(self.pipeline) or (self._active is not None and not self._active.response_complete)

    def _stream(self) -> RequestResponseCycle | None:
        """The request whose answer goes on and has no end of its own, if there is one."""
        active = self._active
        if active is None or active.response_complete or not active.scope.get("state", {}).get(_STREAM):
            return None
        return active

    # Memory for heads and bodies

    def _count(self, cycle: RequestResponseCycle) -> None:
        """Count a body that is large enough to take memory that others may need."""
        body = self._bodies.get(cycle)
        if body is None:
            body = self._bodies[cycle] = Body(cycle.scope, partial(self._refuse_body, cycle))
        if not self.server_state.bodies.grew(body, self._body_bytes + len(self._unparsed)):
            raise Refused(refusals.NO_ROOM)

    def _count_head(self) -> None:
        """Count a head that is large enough to take memory that others may need."""
        if self._head is None:
            self._head = Body({"state": {}}, lambda: self._refuse(refusals.NO_ROOM))
        if not self.server_state.bodies.grew(self._head, self._fruitless + len(self._unparsed)):
            self._refuse(refusals.NO_ROOM)

    def _uncount_head(self) -> None:
        """Count a head no longer: it never will be complete."""
        if self._head is not None:
            self.server_state.bodies.over(self._head)
            self._head = None

    def _count_received(self) -> None:
        """Count what was received of a head or body, parsed or not, if it takes memory that others may need."""
        if self._in_head:
            if self._fruitless + len(self._unparsed) > SMALL:
                self._count_head()
        elif not self.cycle.response_complete and self._body_bytes + len(self._unparsed) > SMALL:
            try:
                self._count(self.cycle)
            except Refused as refused:
                self._refuse(refused.refusal)

    def _count_whole_head(self, head: Body, size: int) -> None:
        """Count a complete head, which is not refused any more, if it is large."""
        if size <= SMALL:
            self._uncount_head()
            return
        if not self.server_state.bodies.grew(head, size * _COMPLETE):
            raise Refused(refusals.NO_ROOM)
        self.server_state.bodies.whole(head, head.size)

    def _uncount(self, cycle: RequestResponseCycle) -> None:
        """Count a request's head and body no longer: the request is answered, or never will be."""
        for counted in self._heads, self._bodies:
            if body := counted.pop(cycle, None):
                self.server_state.bodies.over(body)

    def _forget_input(self) -> None:
        """Free what was received of a request that will never be complete: it stays in memory until the client goes."""
        self._uncount_head()
        self._unparsed.clear()
        self.headers, self.url = [], b""
        self.parser = None  # type: ignore[assignment]  # it keeps the header that it has begun

    def _refuse_body(self, cycle: RequestResponseCycle) -> None:
        """Refuse a request whose body is still being received: others need the memory."""
        if self.cycle is cycle and not self._in_head and not self._ignores_input:
            self._refuse(refusals.NO_ROOM)

    # The end

    def _refuse(self, refusal: Refusal) -> None:
        """Ignore further input; answer the earlier requests, and then send this refusal."""
        log_refusal(refusal, self.client)
        self._ignores_input = True
        self._forget_input()
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

    def shutdown(self) -> None:
        """Make the present answer the last, when the server stops; idle connections may send one more request.

        A stream, which has no end, is cut: its client opens another, at another server.
        """
        if stream := self._stream():
            stream.disconnected = True
            stream.message_event.set()
            self.transport.close()
        elif self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = self.cycle.response_started  # a head that was sent has promised it
        elif self.server_state.drained(self.loop.time()):
            self.transport.close()
