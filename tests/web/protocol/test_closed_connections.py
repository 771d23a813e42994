"""What a closed connection held is freed at its end: the collector comes by after a million objects."""

import asyncio
import gc
import socket

import pytest

from crm.web.deadline import RequestDeadline
from crm.web.protocol.http import Http
from tests.support.waiting import eventually
from tests.web.protocol.conftest import serving
from tests.web.protocol.echo import answer

GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
CONNECTIONS = 20


async def answered_late(_scope, receive, send):
    """Answer after a while, unless the client goes."""
    await receive()
    loop = asyncio.get_running_loop()
    with RequestDeadline(loop, 10) as deadline:
        deadline.watch(receive)
        await asyncio.sleep(0.4)
    await answer(send, b"")


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("seconds", [0.1, 0.5], ids=["before an answer", "after the first answer"])
async def test_without_the_collector(seconds):
    async with serving(answered_late) as server:
        clients = [socket.create_connection(server.address) for _ in range(CONNECTIONS)]
        for client in clients:
            client.sendall(GET * 4)
        await asyncio.sleep(seconds)
        for client in clients:
            client.close()
        await eventually(lambda: not server.server_state.connections)
        await asyncio.sleep(0.3)
        left = [one for one in gc.get_objects() if type(one) in (Http, RequestDeadline)]
        assert len(left) <= 1  # the last that was looked at
