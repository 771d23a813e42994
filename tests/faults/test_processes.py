"""`crm serve --workers 2`: what becomes of its processes when one is killed."""

import asyncio
import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from tests.support.servers import Server

pytestmark = pytest.mark.waits(18)
TWO = ("serve", "--workers", "2")


class Quick(Server):
    """Its processes are forks."""

    module = "tests.faults.forked_processes"


def running(pid):
    """Whether there is such a process, and not only its exit status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(holds, within):
    async with asyncio.timeout(within):
        while not holds():
            await asyncio.sleep(0.05)


async def ended(pids):
    await until(lambda: not any(map(running, pids)), 15)


@pytest.fixture
def two(own_database, tmp_path):
    started = []

    def start(*, fork=True, **settings):
        port = started[0].port if started else None
        kind = Quick if fork else Server
        server = kind(own_database, tmp_path / "log", port=port, command=TWO, fork=fork, **settings)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.kill()


def children_of(pid):
    """Its processes that serve; the standard library starts one more, which looks after semaphores."""
    return [one for one in map(int, filter(str.isdigit, os.listdir("/proc"))) if serves(one, pid)]  # noqa: PTH208


def serves(pid, parent):
    with suppress(FileNotFoundError, ProcessLookupError):
        state, its_parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
        return int(its_parent) == parent and state != "Z" and b"resource_tracker" not in command_of(pid)
    return False


def command_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def looks_after_its_parent(pid):
    """Whether it has come as far as its own threads."""
    return len(list(Path(f"/proc/{pid}/task").glob("*"))) >= 3


@pytest.mark.timeout(300)
class TestTwoProcesses:
    async def test_end_with_their_parent_and_a_restart_works_at_once(self, two, repeats, report):
        seconds = []
        server = two(fork=False)
        for _ in range(repeats):
            # A server of the round before may have answered first.
            await until(lambda pid=server.pid: len(children_of(pid)) == 2, 60)
            children = children_of(server.pid)
            start = time.monotonic()
            server.kill()
            server = two()  # as a fork it looks at the port before they have left it
            await ended(children)
            seconds.append(time.monotonic() - start)
        report("kill -9 of the parent of two", rounds=repeats, slowest_end_s=max(seconds))

    async def test_end_with_a_parent_that_dies_while_they_start(self, own_database, tmp_path):
        server = Server(own_database, tmp_path / "log", command=TWO)
        starting = asyncio.create_task(asyncio.to_thread(server.start))
        await until(lambda: server.pid and len(children_of(server.pid)) == 2, 60)
        children = children_of(server.pid)
        await until(lambda: all(map(looks_after_its_parent, children)) or "server.started" in server.log(), 60)
        server.kill()
        await until(lambda: not any(map(running, children)), 5)  # on a busy machine the imports take longer
        with pytest.raises(RuntimeError, match="did not start"):
            await starting

    async def test_say_when_they_serve_and_stop_together_and_leave_no_client_waiting(self, two):
        """While they stop, new clients are turned away: before, the parent held the listener open, and they hung."""
        server = two(CRM_DRAIN_SECONDS="2")
        await until(lambda: "server.started" in server.log(), 30)
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        stopping = asyncio.create_task(asyncio.to_thread(server.stop))
        await asyncio.sleep(1.2)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", server.port)
        assert await stopping == 0
        writer.close()
        events = [line for line in map(json.loads, server.log().splitlines()) if line["event"].startswith("server.")]
        names = ["server.starting", "server.started", "server.stopping", "server.stopped"]
        assert [line["event"] for line in events] == names
        assert (events[1]["url"], events[1]["processes"]) == (f"{server.url}/graphql", 2)

    async def test_are_replaced_when_one_dies_and_at_sighup_and_stop_when_told_so_meanwhile(self, two):
        """Before, a stop was heard once all were replaced: each waits up to half a minute for what it answers."""
        server = two(CRM_DRAIN_SECONDS="0")
        one, other = children_of(server.pid)
        os.kill(one, signal.SIGKILL)
        await until(lambda: len(children_of(server.pid)) == 2 and one not in children_of(server.pid), 30)
        assert other in children_of(server.pid)
        await answers(server)
        before = children_of(server.pid)
        os.kill(server.pid, signal.SIGHUP)
        await until(lambda: len(found := children_of(server.pid)) == 2 and set(found).isdisjoint(before), 60)
        await answers(server)
        connection = await half_a_body(server)
        os.kill(server.pid, signal.SIGHUP)
        await asyncio.sleep(0.5)
        os.kill(server.pid, signal.SIGTERM)
        async with asyncio.timeout(10):
            await turned_away(server)
        connection.close()
        assert await asyncio.to_thread(server.stop) == 0


async def answers(server):
    async with httpx2.AsyncClient(base_url=server.url, timeout=10) as client:
        assert (await client.get("/healthz")).status_code == 200


async def turned_away(server):
    with suppress(ConnectionRefusedError):
        while True:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.close()
            await asyncio.sleep(0.1)


async def half_a_body(server):
    """A connection whose request keeps a process that is to stop."""
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = f"POST /graphql HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {server.token()}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
    await writer.drain()
    return writer
