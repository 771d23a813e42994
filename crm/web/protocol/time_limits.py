"""Time limits of an HTTP connection: for a head, a body, the client's reading, and the wait for another request."""

import asyncio
from enum import Enum, auto
from typing import Any, Final

from crm.web.protocol import refusal as refusals
from crm.web.protocol.config import Config
from crm.web.protocol.connection import HttpConnection
from crm.web.protocol.state import State
from crm.web.protocol.stopwatch import Stall, Stopwatch
from crm.web.protocol.unread import UNSENT

# The time for the client to read the last answer, before the reset.
_LINGER_SECONDS: Final = 2.0
# The time for an answer to a client that has closed its sending side.
_HALF_CLOSED_SECONDS: Final = 1.0


class RequestStage(Enum):
    """The stage of a connection: the event that it waits for."""

    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    NEXT = auto()
    END = auto()


class TimedConnection(HttpConnection):
    """A connection that is closed if its client exceeds a time limit."""

    def __init__(
        self,
        config: Config,
        server_state: State,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._stopwatch = Stopwatch()
        self._silence = Stopwatch()
        self._stall = Stall()

    def pause_writing(self) -> None:
        """Count unread bytes, since the client does not keep up."""
        super().pause_writing()
        self.server_state.unread.grew(self)

    def resume_writing(self) -> None:
        """Go on with the next request: the client has read most of the answer before."""
        self._stall.over()
        self.server_state.unread.over(self)
        self.transport.set_write_buffer_limits()
        super().resume_writing()
        self.start_next()

    def start_next(self) -> None:
        """Start the next request that was received already, unless the answer before is still unread.

        A server that stops answers those that it has begun; the client may repeat the others, which were not.
        """
        active = self._active
        is_free = active is not None and active.response_complete and not self.flow.write_paused
        if not self.pipeline or not is_free or self.transport.is_closing():
            return
        if self.server_state.drained(self.loop.time()):
            self.transport.close()
        else:
            self._start_asgi_task(*self.pipeline.pop())

    def unread(self) -> int:
        """The number of bytes that wait for the client, with those that the system has taken of the same answer."""
        size = self.transport.get_write_buffer_size()
        return size + UNSENT if size else 0

    def stands(self, now: float) -> float:
        """The seconds for which the client has read nothing."""
        return self._stall.lasts(now, self.transport.get_write_buffer_size())

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
        if not self.flow.write_paused and self.transport.get_write_buffer_size():
            self.transport.set_write_buffer_limits(high=0)  # counts what is left of an answer, however little it is
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
