"""Several server processes behind one listener: uvicorn's supervisor, with children that end with their parent."""

import ctypes
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog
import uvicorn
from uvicorn.supervisors import multiprocess

from crm.core.terminal import leave_if_closed
from crm.web.protocol.config import Config
from crm.web.protocol.server import Server

log = structlog.get_logger()

_PR_SET_PDEATHSIG: Final = 1
_LOOK_SECONDS: Final = 0.1
# A restart waits so long for each new process to be ready: on a busy machine the imports alone take many seconds.
_START_SECONDS: Final = 60.0
_STOPPING: Final = frozenset({signal.SIGTERM, signal.SIGINT})


class Process(multiprocess.Process):
    """A server in a process of its own."""

    config: Config

    def __init__(self, config: Config, sockets: list[socket.socket]) -> None:
        self._parent = os.getpid()
        super().__init__(config, sockets)

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, in the child process; what SIGHUP asks for is the parent's to do, also if all of them got it."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        _end_with_parent()
        self._end_if_orphaned()
        threading.Thread(target=self._look_while_starting, args=(self.server,), daemon=True).start()
        super().target(sockets)

    def _look_while_starting(self, server: Server) -> None:
        """Watch the parent until the server does: before that, the signal of the parent's death cannot stop it."""
        while not server.started:
            self._end_if_orphaned()
            time.sleep(_LOOK_SECONDS)

    def _end_if_orphaned(self) -> None:
        if os.getppid() != self._parent:
            os._exit(1)

    @property
    def server(self) -> Server:
        """The child's server."""
        if self._server is None:
            self._server = Server(self.config)
            self._server.parent = self._parent
        assert isinstance(self._server, Server)
        return self._server


class _StopAsked(threading.Event):
    """Whether the server is to stop: also by a signal that waits until the present one has been handled."""

    def __init__(self, signals: list[int]) -> None:
        super().__init__()
        self._signals = signals

    def is_set(self) -> bool:
        return super().is_set() or not _STOPPING.isdisjoint(self._signals)


class Supervisor(multiprocess.Multiprocess):
    """Starts the processes, replaces those that die, and stops them together."""

    config: Config

    def __init__(self, config: Config, sockets: list[socket.socket], on_started: Callable[[str, int], None]) -> None:
        super().__init__(config, sockets)
        self._on_started = on_started
        self._has_announced = False
        self.should_exit = _StopAsked(self.signal_queue)
        # A process that had not ended when the server was told to stop.
        self._replaced: multiprocess.Process | None = None

    def keep_subprocess_alive(self) -> None:
        """Replace processes that died; announce once that all serve."""
        super().keep_subprocess_alive()
        if (
            not self._has_announced
            and not self.should_exit.is_set()
            and all(process.is_ready() for process in self.processes)
        ):
            self._has_announced = True
            self._on_started(*self.sockets[0].getsockname()[:2])

    def handle_hup(self) -> None:
        """Restart the processes if somebody asks for it, and stop if it says that the terminal was closed."""
        if leave_if_closed():
            self.should_exit.set()
        else:
            super().handle_hup()

    def restart_all(self) -> None:
        """Replace the processes one by one; unlike uvicorn's, this ends when the server is told to stop meanwhile."""
        for place, old in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            new = Process(self.config, self.sockets)
            new.start()
            if not new.wait_until_ready(_START_SECONDS, self.should_exit):
                new.kill()
                new.join()
                if not self.should_exit.is_set():
                    log.error("server.restart_failed", reason="a new process was not ready; the old ones go on")
                return
            self.processes[place] = new
            old.terminate()
            while old.process.is_alive():
                if self.should_exit.is_set():
                    self._replaced = old
                    return
                time.sleep(_LOOK_SECONDS)

    def terminate_all(self) -> None:
        """Stop, and close the listener first: clients could connect to it, and would get no answer."""
        log.info("server.stopping", processes=len(self.processes))
        for listener in self.sockets:
            listener.close()
        super().terminate_all()

    def join_all(self) -> None:
        """Wait for the processes to end."""
        super().join_all()
        if self._replaced is not None:
            self._replaced.join()
        log.info("server.stopped")

    @property
    def failed(self) -> bool:
        """Whether a process failed to start."""
        return any(process.exitcode == uvicorn.config.STARTUP_FAILURE for process in self.processes)


def serve_with_processes(config: Config, on_started: Callable[[str, int], None]) -> bool:
    """Serve until told to stop; False if a process failed to start."""
    multiprocess.Process = Process  # type: ignore[assignment, misc]  # the class that uvicorn's supervisor makes children of
    supervisor = Supervisor(config, sockets=[config.bind_socket()], on_started=on_started)
    supervisor.run()
    return not supervisor.failed


def _end_with_parent() -> None:
    """Have Linux stop this process when its parent dies, also before the server watches it (`Server.on_tick`)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
