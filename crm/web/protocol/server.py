"""One server process: uvicorn's server, which also checks its connections and drains them when it stops."""

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

import structlog
import uvicorn

from crm.core.detached import KeptTasks
from crm.core.stop_signals import stop_signals
from crm.core.terminal import leave_if_closed
from crm.web.protocol.config import Config
from crm.web.protocol.state import State
from crm.web.protocol.unread import limit_unsent

log = structlog.get_logger()
_log = logging.getLogger(__name__)
_MOST_WAITING: Final = 4096
# Connections accepted in one turn of the loop, beside the one that it accepts itself: so many at least, or as many as
# requests were answered since connections were accepted. With less, thousands who come at once wait for who is served.
_ACCEPTED_A_TURN: Final = 100
_MOST_ACCEPTED_A_TURN: Final = 500
# The connections checked in one turn of the loop: closing one takes 30 µs.
_LOOKED_AT_A_TURN: Final = 200


class Server(uvicorn.Server):
    """A server process."""

    config: Config
    server_state: State

    def __init__(self, config: Config, *, on_started: Callable[[str, int], None] | None = None) -> None:
        super().__init__(config)
        self.server_state = State(config.limits)
        self._on_started = on_started
        self._backlog: list[socket.socket] = []
        self._accepting: asyncio.Handle | None = None
        self._answered = 0
        self._connecting = KeptTasks()
        # The supervisor's process id, if there is one.
        self.parent: int | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop in an orderly way on SIGHUP, too: the end of a terminal sends it to whoever does not ignore it."""
        listens = threading.current_thread() is threading.main_thread() and signal.SIGHUP in stop_signals()
        former = signal.signal(signal.SIGHUP, self._hang_up) if listens else None
        try:
            with super().capture_signals():
                yield
        finally:
            if listens:
                signal.signal(signal.SIGHUP, former)

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        leave_if_closed()
        self.handle_exit(number, frame)

    async def _serve(self, sockets: list[socket.socket] | None = None) -> None:
        checking = asyncio.create_task(self._look_after_connections())
        try:
            await super()._serve(sockets)
        finally:
            checking.cancel()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then announce the address."""
        await super().startup(sockets)
        self._backlog = list(self._listeners())
        for listener in self._backlog:
            limit_unsent(listener)
            listener.setblocking(False)
        self.server_state.on_connection = self._accept_soon
        if self.started and self._on_started is not None:
            self._on_started(*self.servers[0].sockets[0].getsockname()[:2])

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop; uvicorn calls this ten times a second."""
        orphaned = self.parent is not None and os.getppid() != self.parent
        return await super().on_tick(counter) or orphaned

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, answer requests on the open ones, close idle ones after a while, and end."""
        seconds = self.config.limits.drain_seconds
        self._say("server.stopping")
        self.server_state.drain(asyncio.get_running_loop().time() + seconds)
        self.lifespan.state["draining"] = True  # /readyz shows it
        waiting = self.accepted(_MOST_WAITING)
        for server in self.servers:
            server.close()
        for listener in self._backlog:
            listener.close()
        for connection in waiting:
            await self._serve_connection(connection)
        await asyncio.gather(*self._connecting)
        await super().shutdown(sockets)
        self._say("server.stopped")

    def _say(self, event: str) -> None:
        """Log an event, unless a supervisor logs it."""
        if self.parent is None:
            log.info(event)

    def accepted(self, most: int) -> list[socket.socket]:
        """Connections that the system has made and the server has not accepted: closing the listener resets them."""
        connections: list[socket.socket] = []
        for listener in self._backlog:
            while len(connections) < most:
                try:
                    connections.append(listener.accept()[0])
                except OSError:
                    break
        return connections

    def _accept_soon(self) -> None:
        """Accept the connections that wait behind a new one: the loop accepts one in a turn, however long turns are."""
        if self._accepting is None and not self.server_state.draining:
            self._accepting = asyncio.get_running_loop().call_soon(self._accept)

    def _accept(self) -> None:
        self._accepting = None
        answered, self._answered = self._answered, self.server_state.total_requests
        most = min(max(_ACCEPTED_A_TURN, self._answered - answered), _MOST_ACCEPTED_A_TURN)
        for connection in self.accepted(most):
            self._connecting.start(self._serve_connection(connection))

    def _listeners(self) -> Iterator[socket.socket]:
        """Sockets of ours for what the server listens at."""
        for server in self.servers:
            for listening in server.sockets:
                yield socket.socket(fileno=os.dup(listening.fileno()))

    async def _serve_connection(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        with suppress(OSError):  # its client is gone
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self.config.http_protocol_class(
                    config=self.config,  # type: ignore[call-arg]
                    server_state=self.server_state,
                    app_state=self.lifespan.state,
                ),
                connection,
            )

    async def _look_after_connections(self) -> None:
        """Check all connections for exceeded time limits, every tick."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.config.limits.tick)
            for number, connection in enumerate(list(self.server_state.connections), 1):
                if number % _LOOKED_AT_A_TURN == 0:
                    await asyncio.sleep(0)  # lets the closed connections end
                try:
                    connection.check(loop.time())  # type: ignore[union-attr]
                except Exception:  # noqa: BLE001  (the other connections are checked all the same)
                    _log.exception("a connection could not be looked after")
