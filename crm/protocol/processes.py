"""Several server processes behind one listener: uvicorn's supervisor, with children that end when it does."""

import ctypes
import os
import signal
import socket
import sys
from typing import Final

import uvicorn
from uvicorn.supervisors import multiprocess

from crm.protocol.config import Config
from crm.protocol.server import Server

_PR_SET_PDEATHSIG: Final = 1


class Process(multiprocess.Process):
    """A server in a process of its own."""

    config: Config

    def __init__(self, config: Config, sockets: list[socket.socket]) -> None:
        self._parent = os.getpid()
        super().__init__(config, sockets)

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """What the child does."""
        _end_with_parent()
        super().target(sockets)

    @property
    def server(self) -> Server:
        """The child's server."""
        if self._server is None:
            self._server = Server(self.config)
            self._server.parent = self._parent
        assert isinstance(self._server, Server)
        return self._server


class Supervisor(multiprocess.Multiprocess):
    """Starts the processes, replaces those that die, and stops them together."""

    def terminate_all(self) -> None:
        """Stop: while this process holds the listener, clients would be let in that nobody answers."""
        for listener in self.sockets:
            listener.close()
        super().terminate_all()

    @property
    def failed(self) -> bool:
        """Whether a process could not even start."""
        return any(process.exitcode == uvicorn.config.STARTUP_FAILURE for process in self.processes)


def serve_with_processes(config: Config) -> bool:
    """Serve until told to stop; False if that could not begin."""
    multiprocess.Process = Process  # type: ignore[assignment, misc]  # the class that uvicorn's supervisor makes children of
    supervisor = Supervisor(config, sockets=[config.bind_socket()])
    supervisor.run()
    return not supervisor.failed


def _end_with_parent() -> None:
    """Be stopped by Linux when the parent dies, also before the server looks by itself (`Server.on_tick`)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
