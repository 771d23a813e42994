"""Crowds of connections: all are accepted at once, and none gets more turns for sending ahead."""

import asyncio
import socket

import uvloop

from crm.web.protocol import ClientLimits
from tests.support.waiting import eventually
from tests.web.protocol.echo import answer
from tests.web.protocol.test_turns import Turns

GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
AHEAD = 4


def on_uvloop(running):
    """As in production: asyncio's own loop accepts all who wait."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(running)


def test_all_who_wait_are_accepted_in_a_few_turns(serve):
    async def silent(_scope, _receive, send):
        await answer(send, b"")

    async def accepted():
        async with serve(silent, ClientLimits(drain_seconds=0)) as server:
            clients = [socket.create_connection(server.address) for _ in range(300)]
            turns = 0
            while len(server.server_state.connections) < len(clients):
                await asyncio.sleep(0)
                turns += 1
                assert turns < 100  # one in a turn were 300: each as long as all others' requests take
            for client in clients:
                client.close()

    on_uvloop(accepted())


def test_requests_sent_ahead_are_started_some_in_a_turn(serve):
    ahead = 0

    async def counting(scope, _receive, send):
        nonlocal ahead
        ahead += scope["path"] == "/"
        await asyncio.sleep(0)
        await answer(send, b"")

    async def started():
        async with serve(counting, ClientLimits(drain_seconds=0)) as server:
            clients = [socket.create_connection(server.address) for _ in range(100)]
            turns = Turns(lambda: ahead)
            for client in clients:
                client.sendall(GET.replace(b" / ", b" /first ") + GET * AHEAD)
            await eventually(lambda: ahead == len(clients) * AHEAD, 10)
            assert turns.end() <= 16  # all of them before
            for client in clients:
                client.close()

    on_uvloop(started())
