"""Sending operations and timing them: one client after another's answer, a few at once, over real sockets."""

import asyncio
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Variables = Callable[[int], dict[str, Any]]


@dataclass
class Figures:
    """What a run gave."""

    rate: float
    p50: float
    p95: float
    p99: float
    count: int


class Client:
    """HTTP/1.1 keep-alive in as few microseconds as Python allows, so that the server is what is measured."""

    def __init__(self, port: int, token: str, *, refusals: bool = False) -> None:
        self._port = port
        self._refusals = refusals  # whether errors are what is measured
        self._head = (
            f"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()

    async def open(self) -> "Client":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**24)
        return self

    async def send(self, query: str, variables: dict[str, Any]) -> bytes:
        body = json.dumps({"query": query, "variables": variables}).encode()
        self._writer.write(b"%s%d\r\n\r\n%s" % (self._head, len(body), body))
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
        answer = await self._reader.readexactly(length)
        if b" 200 " not in head.split(b"\r\n", 1)[0] or (b'"errors":' in answer) is not self._refusals:
            msg = f"{head.decode()}{answer[:500].decode()}"
            raise RuntimeError(msg)
        return answer

    def close(self) -> None:
        self._writer.close()


async def run(
    port: int, token: str, query: str, variables: Variables, *, seconds: float, clients: int, refusals: bool = False
) -> Figures:
    """Send the operation for some seconds from some clients at once."""
    opened = [await Client(port, token, refusals=refusals).open() for _ in range(clients)]
    times: list[float] = []
    numbers = iter(range(10**9))
    started = time.perf_counter()

    async def one(client: Client) -> None:
        while time.perf_counter() - started < seconds:
            before = time.perf_counter()
            await client.send(query, variables(next(numbers)))
            times.append((time.perf_counter() - before) * 1000)

    await one_each(one, opened)
    elapsed = time.perf_counter() - started
    for client in opened:
        client.close()
    times.sort()
    cuts = statistics.quantiles(times, n=100) if len(times) > 1 else [times[0]] * 99
    return Figures(len(times) / elapsed, cuts[49], cuts[94], cuts[98], len(times))


async def one_each(work: Callable[[Client], Any], clients: list[Client]) -> None:
    await asyncio.gather(*(work(client) for client in clients))


def machine() -> str:
    """What this ran on."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{os.cpu_count()} cores of {model}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"
