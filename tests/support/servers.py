"""A real server on a real socket: `crm serve` in a process of its own."""

import itertools
import os
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from uuid import UUID

import psycopg

from crm.access.tokens import make_token
from crm.core.identity import Role
from tests.support import children

SECRET = "a secret for the tests, 32 characters at least"

_FOR_TESTS = {
    # Connections that a test left idle are not waited for when it stops its server.
    "CRM_DRAIN_SECONDS": "0",
    # What tests do for longer, or more often, than anybody should.
    "CRM_AI_TASK_ECHO_SECONDS": "3600",
    "CRM_RECALCULATION_PAUSE_SECONDS": "0",
}


# Below those that the system gives to clients and to whoever asks for any: a server takes its own some seconds later.
_PORTS = range(10_000, 32_000)
_next_port = itertools.count(random.randrange(len(_PORTS)))


def free_port() -> int:
    """A port that nobody has, and that no other process of the tests is likely to be given."""
    for number in _next_port:
        port = _PORTS[number % len(_PORTS)]
        with closing(socket.socket()) as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise AssertionError


class Server:
    """`crm serve` (or another command), started and stopped as an operator would."""

    module = "crm"  # `fork=False`: started by `python -m` itself, not as a fork of what has imported it

    def __init__(
        self,
        database_url: str,
        log: Path,
        *,
        port: int | None = None,
        command: Sequence[str] = ("serve",),
        fork: bool = True,
        **settings: str,
    ) -> None:
        self._command = command
        self._fork = fork
        self.database_url = database_url
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        # Whoever runs the tests may have a key of their own: no test is to spend money.
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "OPENROUTER_"))
        }
        own = {"DATABASE_URL": database_url, "CRM_SECRET_KEY": SECRET, **_FOR_TESTS}
        self._environment = {**inherited, **own, **settings}
        self._process: subprocess.Popen[bytes] | children.Forked | None = None

    def start(self) -> "Server":
        arguments = [*self._command, "--port", str(self.port)]
        self._process = children.start_module(self.module, arguments, self._log, self._environment, fork=self._fork)
        deadline = time.monotonic() + 90  # ended earlier by a server that gives up
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.url}/graphql", timeout=2)
            except urllib.error.HTTPError:
                return self
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.02)
        self.kill()
        msg = f"the server did not start:\n{self._log.read_text()[-3000:]}"
        raise RuntimeError(msg)

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def stop(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(40)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def log(self) -> str:
        return self._log.read_text()

    def token(self, role: Role | str = Role.ADMIN, *, email: str | None = None, lifetime: int = 3600) -> str:
        role = Role(role)
        user = _user(self.database_url, email) if email else _service_user(self.database_url, role)
        return make_token(SECRET, user, role, timedelta(seconds=lifetime))


@cache
def _service_user(database_url: str, role: Role) -> UUID:
    """The role's service user: they are made with a database, and stay."""
    return _user(database_url, f"service-{role.value}@crm.invalid")


def _user(database_url: str, email: str) -> UUID:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT id FROM users WHERE email = %s", (email,)).fetchone()
    assert row is not None
    return row[0]


def memory(server) -> int:
    """A server process's memory of its own, in bytes."""
    for line in Path(f"/proc/{server.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise AssertionError
