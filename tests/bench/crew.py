"""Worker processes for `make bench-tasks`, and how fast they empty a queue."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

_EVERY_SECONDS = 0.05
_GIVE_UP_SECONDS = 300


@contextmanager
def workers(url: str, log: Path, *, count: int = 1, concurrency: int = 10) -> Iterator[None]:
    """`crm worker`, so many times."""
    command = [sys.executable, "-W", "ignore", "-m", "crm", "worker"]
    with processes([command] * count, log, DATABASE_URL=url, CRM_WORKER_CONCURRENCY=str(concurrency)):
        yield


@contextmanager
def bare_workers(url: str, log: Path, *, count: int = 1, concurrency: int = 10) -> Iterator[None]:
    """procrastinate's own, so many times."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.bare", "work", url, str(concurrency)]
    with processes([command] * count, log):
        yield


@contextmanager
def processes(commands: Sequence[Sequence[str]], log: Path, **settings: str) -> Iterator[None]:
    """Run these until the end of the block."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "OPENROUTER_"))}
    with log.open("ab") as out:
        started = [
            subprocess.Popen(command, env={**environment, **settings}, stdout=out, stderr=out) for command in commands
        ]
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(40)


def drained(url: str, queue: str, count: int) -> float:
    """Jobs a second, between the moments when a twentieth was done and when a twentieth was left."""
    curve = []
    with psycopg.connect(url, autocommit=True) as connection:
        give_up = time.monotonic() + _GIVE_UP_SECONDS
        left = count
        while left:
            left = connection.execute(
                "SELECT count(*) FROM procrastinate_jobs WHERE queue_name = %s", (queue,)
            ).fetchone()[0]
            curve.append((time.perf_counter(), left))
            if time.monotonic() > give_up:
                message = f"{left} of {count} are left after {_GIVE_UP_SECONDS} s"
                raise SystemExit(message)
            time.sleep(_EVERY_SECONDS)
    middle = [(at, left) for at, left in curve if count * 0.05 <= left <= count * 0.95]
    (began, most), (ended, least) = middle[0], middle[-1]
    return (most - least) / (ended - began)
