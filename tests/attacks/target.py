"""What is attacked: a server and a PostgreSQL of its own, with data that is unpleasant to read, and instruments."""

import contextlib
import gc
import http.client
import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psycopg

from crm.core.identity import Role
from crm.demo.load import load
from tests.support.clusters import migrated_postgres
from tests.support.postgres import remove
from tests.support.probed import Probed

MEBIBYTE = 1024 * 1024
# Just below the 1,000 rows that a list without a limit may have: no refusal helps.
LEADS = 950
LONG_NOTES = 400
MANY = 900
_READ_SECONDS = 60
_SAMPLE_SECONDS = 0.004
_WORDS = "Å long note about nothing, 'quoted' \\ % _ and then some more of it. "


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request took."""

    status: int
    code: str
    loop_ms: float  # the longest time that the server's loop was held, in processor time of its thread
    wait_ms: float  # the same by the clock: other processes of the machine count, too
    database_ms: float  # processor time of PostgreSQL's processes
    seconds: float  # until the answer was there
    memory: int  # what server and PostgreSQL had more, at their highest
    answer: int

    def __str__(self) -> str:
        return (
            f"{self.status} {self.code or 'data'}: loop {self.loop_ms:.0f} ms, PostgreSQL {self.database_ms:.0f} ms,"
            f" memory +{self.memory / MEBIBYTE:.0f} MiB, answer {self.answer:,} B in {self.seconds:.2f} s"
        )


class Target:
    """Start it with `with`; `measure` sends one request at a time."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self._folder = folder
        self._settings = settings
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> Self:
        self._postgres, self._database_folder = migrated_postgres()
        _fill(self._postgres.url)
        self.server = Probed(self._postgres.url, self._folder / "log", **self._settings).start()
        self._headers = {
            "authorization": f"Bearer {self.server.token(Role.MEMBER)}",
            "content-type": "application/json",
        }
        return self

    def __exit__(self, *_: object) -> None:
        self._hang_up()
        self.server.stop()
        self._postgres.stop()
        remove(self._database_folder)

    def measure(self, body: bytes) -> Cost:
        """What this body costs as a GraphQL request of a member."""
        self._probe()
        with _Watched([self.server.pid, *self._backends()]) as watched:
            begun = time.monotonic()
            status, answer = self._post(body)
            seconds = time.monotonic() - begun
            time.sleep(_SAMPLE_SECONDS)
            held = self._probe()
        return Cost(
            status,
            _code_of(answer),
            held["cpu"] * 1000,
            held["wall"] * 1000,
            watched.database_ms,
            seconds,
            watched.memory,
            len(answer),
        )

    def _post(self, body: bytes) -> tuple[int, bytes]:
        try:
            connection = self._connected()
            connection.request("POST", "/graphql", body, self._headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self._hang_up()
            return 0, b""

    def _probe(self) -> dict[str, float]:
        connection = self._connected()
        try:
            connection.request("GET", "/probe")
            found: dict[str, float] = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException):
            self._hang_up()
            connection = self._connected()
            connection.request("GET", "/probe")
            found = json.loads(connection.getresponse().read())
        return found

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=_READ_SECONDS)
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _backends(self) -> list[int]:
        """PostgreSQL's processes."""
        postmaster = int((self._data / "postmaster.pid").read_text().split()[0])
        return [int(child) for child in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()]

    @property
    def _data(self) -> Path:
        nested = self._postgres.directory / "data"
        return nested if nested.exists() else self._postgres.directory


class _Watched:
    """Reads memory and processor time of processes from /proc while a request runs."""

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids
        self._server = pids[0]
        self._ended = threading.Event()
        self.memory = 0

    def __enter__(self) -> Self:
        gc.disable()
        self._at_first = {pid: _anonymous(pid) for pid in self._pids}
        self._ticks_at_first = self._ticks()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._sample()
        self.database_ms = (self._ticks() - self._ticks_at_first) * 10.0
        gc.enable()

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        """The server's and the hungriest backends' memory beyond what they had."""
        more = (max(0, _anonymous(pid) - had) for pid, had in self._at_first.items())
        self.memory = max(self.memory, sum(more))

    def _ticks(self) -> int:
        return sum(_ticks(pid) for pid in self._pids if pid != self._server)


def _anonymous(pid: int) -> int:
    """A process's own memory in bytes: not what it shares."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0


def _ticks(pid: int) -> int:
    """Processor time in hundredths of a second."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    return 0


def _code_of(answer: bytes) -> str:
    try:
        found = json.loads(answer) if len(answer) < MEBIBYTE else {}
    except ValueError:
        return "not JSON"
    if not isinstance(found, dict) or not found.get("errors"):
        return ""
    return str(found["errors"][0].get("extensions", {}).get("code", "no code"))


def _fill(url: str) -> None:
    """Usual data, and beside it a lead with very long notes and one with very many records."""
    with psycopg.connect(url, autocommit=True) as connection:
        load(connection, LEADS, seed=7)
        long, many = (
            connection.execute("SELECT id FROM leads ORDER BY id LIMIT 2").fetchall()[place][0] for place in (0, 1)
        )
        connection.execute(
            "INSERT INTO interactions (type, notes, occurred_at, lead_id)"
            " SELECT 'note', repeat(%s, 280), now() - make_interval(hours => i), %s FROM generate_series(1, %s) i",
            (_WORDS, long, LONG_NOTES),
        )
        connection.execute(
            "INSERT INTO tasks (title, description, lead_id) SELECT 'Task ' || i, repeat(%s, 5), %s"
            " FROM generate_series(1, %s) i",
            (_WORDS, many, MANY),
        )
        connection.execute("VACUUM ANALYZE")
