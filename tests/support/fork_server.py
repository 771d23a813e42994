"""A process that has imported the program, and forks: a server starts in a tenth of the time of `python -m crm`.

`python -m tests.support.fork_server LISTENER PARENT` forks a fork server for each process of the tests that connects:
so the program is imported once in a run. That one takes requests from the connection. A child is as real as any: it has
an environment, a log, signals and an exit code of its own, and ends as an interpreter ends. Whoever asked reads its
process id from the socket that came with the request, and in the end its exit code.
"""

import atexit
import ctypes
import gc
import json
import os
import pkgutil
import runpy
import select
import selectors
import signal
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Final, NoReturn

# What a server or a worker imports sooner or later.
PRELOADED: Final = (
    "crm.cli",
    "crm.app",
    "crm.background",
    "crm.web.protocol",
    "httptools",
    "openai",
    "procrastinate",
    "uvloop",
    "uvicorn.logging",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
)
_PR_SET_PDEATHSIG: Final = 1
_LONGEST: Final = 1 << 20


@dataclass(frozen=True)
class Request:
    """A module that is to run as `python -m` would run it."""

    module: str
    arguments: list[str]
    environment: dict[str, str] = field(repr=False)

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    def run(self) -> NoReturn:
        """Become the program, and end as it ends."""
        os.environ.clear()
        os.environ.update(self.environment)
        sys.argv = [self.module, *self.arguments]
        code = 0
        try:
            runpy.run_module(self.module, run_name="__main__", alter_sys=True)
        except SystemExit as ending:
            code = _exit_code(ending)
        except BaseException:  # noqa: BLE001  (what the interpreter does with it)
            sys.excepthook(*sys.exc_info())
            code = 1
        _end(code)


def _exit_code(ending: SystemExit) -> int:
    if ending.code is None or isinstance(ending.code, int):
        return ending.code or 0
    sys.stderr.write(f"{ending.code}\n")
    return 1


def _end(code: int) -> NoReturn:
    """End as the interpreter does, but for freeing memory: what is shared with others would be copied first."""
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001
    atexit._run_exitfuncs()  # noqa: SLF001
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class ForkServer:
    """Forks a child for each request, and tells its exit code."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._selector = selectors.DefaultSelector()
        self._selector.register(channel, selectors.EVENT_READ)

    def serve(self) -> Request | None:
        """Serve until whoever started this is gone; in a child, return what it is to do."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is not self._channel:
                    self._tell_end(key)
                    continue
                text, descriptors, _, _ = socket.recv_fds(self._channel, _LONGEST, 3)
                if not text:
                    return None
                if self._fork(*descriptors):
                    return Request(**json.loads(text))

    def _fork(self, status: int, out: int, err: int) -> bool:
        """Whether this is the child."""
        assert threading.active_count() == 1, threading.enumerate()
        pid = os.fork()
        if not pid:
            os.close(status)
            self._leave(out, err)
            return True
        os.close(out)
        os.close(err)
        os.write(status, f"{pid}\n".encode())
        self._selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status))
        return False

    def _leave(self, out: int, err: int) -> None:
        """In a child: let go of everything that is the parent's."""
        die_with_parent()
        for key in self._selector.get_map().values():
            if key.data:
                os.close(key.fd)
                os.close(key.data[1])
        self._selector.close()
        self._channel.detach()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        for descriptor in (nothing, out, err):
            os.close(descriptor)

    def _tell_end(self, key: selectors.SelectorKey) -> None:
        pid, status = key.data
        self._selector.unregister(key.fd)
        os.close(key.fd)
        _, code = os.waitpid(pid, 0)
        with suppress(BrokenPipeError):  # nobody wants to know
            os.write(status, f"{os.waitstatus_to_exitcode(code)}\n".encode())
        os.close(status)


def die_with_parent() -> None:
    """Be killed when the parent ends, where the kernel can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def preload() -> None:
    """Import what children would, and compile what takes them a quarter of their start."""
    for name in PRELOADED:
        __import__(name)
    for compiled in ("crm.advice.recommendations.playbook:playbook", "crm.advice.summaries.composer:composer"):
        pkgutil.resolve_name(compiled)()


def main() -> None:
    listener, parent = (socket.socket(fileno=int(number)) for number in sys.argv[1:])
    preload()
    gc.collect()
    gc.freeze()  # a child's collector does not touch, and so copy, what all share
    if accepted_in_a_fork(listener, parent):
        with socket.socket(fileno=0) as channel:
            request = ForkServer(channel).serve()
        if request:
            request.run()


def accepted_in_a_fork(listener: socket.socket, parent: socket.socket) -> bool:
    """Fork for each connection, until the parent is gone; in a fork, its standard input is the connection."""
    while True:
        ready, _, _ = select.select([listener, parent], [], [])
        if listener not in ready:  # whoever connected before the end is served
            return False
        connection, _ = listener.accept()
        with connection:
            if not os.fork():
                os.dup2(connection.fileno(), 0)
                listener.close()
                parent.close()
                return True


if __name__ == "__main__":
    main()
