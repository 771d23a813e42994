"""A server of ours in this process, before an application that tells what it was asked."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from crm.web.protocol import ClientLimits, Config, Server
from tests.support.waiting import eventually
from tests.web.protocol.echo import Echo


class Serving(Server):
    """A server in this process."""

    address: tuple[str, int]
    running: asyncio.Task[None]


@asynccontextmanager
async def serving(app, limits=None):
    server = Serving(Config(app, port=0, lifespan="off", limits=limits, timeout_graceful_shutdown=10))
    running = asyncio.create_task(server.serve())
    await eventually(lambda: server.started or running.done(), 30)
    assert server.started
    server.address = server.servers[0].sockets[0].getsockname()[:2]
    server.running = running
    try:
        yield server
    finally:
        server.should_exit = True
        await running


@pytest.fixture
def serve():
    """Serve an application with limits of the test's own."""
    return serving


@pytest.fixture
async def echo():
    """The application behind `server`."""
    return Echo()


@pytest.fixture
async def server(echo):
    async with serving(echo, ClientLimits(drain_seconds=0)) as running:
        yield running
