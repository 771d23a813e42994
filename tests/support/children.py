"""Processes that tests start: none outlives the tests, however those end."""

import atexit
import errno
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

from tests.support.fork_server import Request, die_with_parent

# The folder with the clusters of a run: the first of its processes makes it, and the others inherit its name.
RUN = "CRM_TEST_CLUSTERS"
_ROOT = Path(__file__).parents[2]


def start(command: Sequence[str | Path], log: Path, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start a program that writes to a log; where the kernel can do that, it dies with the test process."""
    with log.open("ab") as out:
        return subprocess.Popen(command, env=environment, stdout=out, stderr=out, preexec_fn=die_with_parent)  # noqa: PLW1509  (it makes one call of the kernel)


def start_module(
    module: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str], *, fork: bool = True
) -> "subprocess.Popen[bytes] | Forked":
    """Start `python -m MODULE ARGUMENTS`; usually as a fork of a process that has imported the program already."""
    if fork and sys.platform == "linux":
        with log.open("ab") as out:
            return Forked(Request(module, list(arguments), dict(environment)), out.fileno(), out.fileno())
    return start([sys.executable, "-W", "ignore", "-m", module, *arguments], log, environment)


def run_module(
    module: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    given: str | None = None,
    timeout: float = 60,
    fork: bool = True,
) -> "subprocess.CompletedProcess[str]":
    """Run `python -m MODULE ARGUMENTS` to its end, and catch what it writes; what is given to it needs no fork."""
    if not fork or given is not None or sys.platform != "linux":
        command = [sys.executable, "-W", "ignore", "-m", module, *arguments]
        return subprocess.run(
            command,
            env=environment,
            cwd=_ROOT,
            input=given,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = Forked(Request(module, list(arguments), dict(environment)), out.fileno(), err.fileno())
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(process.args, code, _text(out), _text(err))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


class Forked:
    """A child of the fork server; used like `subprocess.Popen`."""

    def __init__(self, request: Request, out: int, err: int) -> None:
        self.args = [request.module, *request.arguments]
        self.returncode: int | None = None
        self._asking = threading.Lock()
        self._status, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(_fork_server(), [request.encode()], [theirs.fileno(), out, err])
        self._lines = self._status.makefile("r")
        self.pid = int(self._lines.readline())

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        with self._asking:  # one thread may start a server that another one kills
            if self.returncode is None:
                watch = select.poll()
                watch.register(self._status, select.POLLIN)
                if not watch.poll(None if timeout is None else timeout * 1000):
                    raise subprocess.TimeoutExpired(self.args, timeout or 0)
                self.returncode = int(self._lines.readline())
                self._lines.close()
                self._status.close()
            return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@cache
def _fork_server() -> socket.socket:
    """The channel to this process's fork server: itself a fork of the one that the processes of a run share."""
    address = f"\0crm-forks-{os.environ.get(RUN, os.getpid())}"  # a name that Linux keeps, and no file
    while True:
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            channel.connect(address)
        except ConnectionRefusedError:
            channel.close()
            _start_fork_server(address)
        else:
            atexit.register(_leave, channel)
            return channel


def _start_fork_server(address: str) -> None:
    """Start the first one, unless another process just did: it ends with this process, its forks with theirs."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        try:
            listener.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return
            raise
        listener.listen()
        ours, theirs = socket.socketpair()
        with theirs:
            handed = [listener.fileno(), theirs.fileno()]
            command = [sys.executable, "-W", "ignore", "-m", "tests.support.fork_server", *map(str, handed)]
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=_ROOT, pass_fds=handed
            )

    def end() -> None:
        ours.close()
        process.wait(20)

    atexit.register(end)


def _leave(channel: socket.socket) -> None:
    """Wait until the fork server at the other end, and so each of its forks, is gone."""
    with channel:
        channel.settimeout(20)
        channel.shutdown(socket.SHUT_WR)
        channel.recv(1)
