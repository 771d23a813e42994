"""A server that is told to stop: nobody who was let in is cut off, and whoever asks once more is answered."""

import asyncio
import json
import os
import signal
import socket
import time

import pytest

from crm.web.protocol import ClientLimits
from tests.support.http_client import AsyncClient
from tests.support.locks import waiting
from tests.support.servers import Server
from tests.support.waiting import eventually

pytestmark = pytest.mark.waits(8)

GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


async def answer_on(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head, json.loads(await reader.readexactly(length))


@pytest.fixture
async def draining(serve, echo):
    async with serve(echo, ClientLimits(drain_seconds=3)) as server:
        yield server


class TestDraining:
    async def test_answers_an_idle_connection_once_more_and_says_that_it_closes(self, draining):
        reader, writer = await asyncio.open_connection(*draining.address)
        writer.write(GET)
        head, _ = await answer_on(reader)
        assert b"connection: close" not in head
        draining.should_exit = True
        await eventually(lambda: draining.server_state.draining)
        writer.write(GET)
        head, _ = await answer_on(reader)
        assert b"connection: close" in head
        assert await reader.read() == b""
        writer.close()

    async def test_ends_without_waiting_when_nobody_is_connected(self, draining):
        start = time.monotonic()
        draining.should_exit = True
        await draining.running
        assert time.monotonic() - start < 2.5

    async def test_closes_idle_connections_when_the_time_is_over(self, draining):
        reader, writer = await asyncio.open_connection(*draining.address)
        writer.write(GET)
        await answer_on(reader)
        start = time.monotonic()
        draining.should_exit = True
        assert await reader.read() == b""
        assert time.monotonic() - start > 2.5
        await draining.running
        writer.close()

    async def test_takes_nobody_new(self, draining):
        _, writer = await asyncio.open_connection(*draining.address)
        draining.should_exit = True
        await eventually(lambda: draining.server_state.draining and not draining.servers[0].is_serving())
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*draining.address)
        writer.close()

    async def test_what_runs_is_answered_however_long_it_takes(self, draining, echo):
        reader, writer = await asyncio.open_connection(*draining.address)
        writer.write(b"GET /waits HTTP/1.1\r\nHost: here\r\n\r\n")
        await eventually(lambda: echo.paths)
        draining.should_exit = True
        await asyncio.sleep(3.5)
        echo.go_on.set()
        head, _ = await answer_on(reader)
        assert b"connection: close" in head
        writer.close()

    @pytest.mark.parametrize(("seconds", "answers"), [(3, 2), (0, 1)])
    async def test_begins_what_waits_in_line_only_until_the_time_is_over(self, serve, echo, seconds, answers):
        async with serve(echo, ClientLimits(drain_seconds=seconds)) as server:
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(b"GET /waits HTTP/1.1\r\nHost: here\r\n\r\n" + GET)
            await eventually(lambda: echo.paths)
            server.should_exit = True
            await eventually(lambda: server.server_state.draining)
            echo.go_on.set()
            shown = await reader.read()
            assert shown.count(b"HTTP/1.1 200") == answers
            assert echo.paths == ["/waits", "/"][:answers]
            writer.close()

    async def test_clients_that_the_system_has_connected_already_are_answered(self, serve, echo):
        """They stand in the listener's queue while the loop is busy; closing the listener would reset them."""
        async with serve(echo, ClientLimits(drain_seconds=2)) as server:
            server.should_exit = True
            loop = asyncio.get_running_loop()
            waiting = []
            taken = server.accepted

            def late(most):
                for _ in range(5):
                    client = _connected(server.address)
                    client.send(GET)
                    waiting.append(client)
                return taken(most)

            server.accepted = late
            await eventually(lambda: len(waiting) == 5)
            for client in waiting:
                client.setblocking(False)
                assert (await asyncio.wait_for(loop.sock_recv(client, 1000), 5)).startswith(b"HTTP/1.1 200 ")
                client.close()
            assert len(waiting) == 5


def _connected(address):
    return socket.create_connection(address)


class TestSighup:
    """What the end of a terminal sends."""

    async def test_ends_a_server_as_sigterm_does(self, database_url, tmp_path, db, make_lead):
        lead = make_lead()["id"]
        server = await asyncio.to_thread(Server(database_url, tmp_path / "log").start)
        update = f'mutation {{ updateLead(id: {lead}, input: {{company: "X"}}) {{ company }} }}'
        headers = {"Authorization": f"Bearer {server.token('member')}"}
        async with AsyncClient(base_url=server.url, headers=headers, timeout=20) as client:
            with db.transaction():
                db.execute("SELECT FROM leads WHERE id = %s FOR UPDATE", [lead])
                asked = asyncio.create_task(client.post("/graphql", json={"query": update}))
                await eventually(lambda: waiting(db))
                os.kill(server.pid, signal.SIGHUP)
                await eventually(lambda: "server.stopping" in server.log())
            assert (await asked).json() == {"data": {"updateLead": {"company": "X"}}}
        assert await asyncio.to_thread(server.stop) == 0
