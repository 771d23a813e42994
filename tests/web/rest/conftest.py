"""A server with a worker inside, and clients of its REST and WebSocket."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import connect

from tests.support.http_client import AsyncClient
from tests.support.rest_client import TASKS, Live
from tests.support.servers import Server


@pytest.fixture(scope="module")
def working(database_url, tmp_path_factory):
    """`crm serve` with a worker in its process."""
    running = Server(
        database_url,
        tmp_path_factory.mktemp("working") / "log",
        CRM_WORKER_INSIDE="true",
        CRM_WORKER_POLL_SECONDS="0.1",
        CRM_WORKER_GRACE_SECONDS="1",
        CRM_WEBSOCKET_BUFFER_BYTES="65536",
        CRM_WEBSOCKET_INIT_SECONDS="1",
    ).start()
    yield running
    running.stop()


@pytest.fixture
async def api(server, db):  # noqa: ARG001
    """REST, signed in as an admin; nothing works on what is created."""
    headers = {"Authorization": f"Bearer {server.token()}"}
    async with AsyncClient(base_url=server.url, headers=headers, timeout=30) as found:
        yield found


@pytest.fixture
async def busy(working, db):  # noqa: ARG001
    """REST, signed in as an admin; what is created is done."""
    headers = {"Authorization": f"Bearer {working.token()}"}
    async with AsyncClient(base_url=working.url, headers=headers, timeout=30) as found:
        yield found


@pytest.fixture
def ended(busy):
    """Wait for a task's end."""

    async def wait(key, seconds=15):
        deadline = time.monotonic() + seconds
        while not (task := (await busy.get(f"{TASKS}/{key}")).json())["isFinal"]:
            assert time.monotonic() < deadline, task
            await asyncio.sleep(0.05)
        return task

    return wait


@pytest.fixture
def live(working, db):  # noqa: ARG001
    """Open a socket at /ws/ai-tasks; signed in by the header unless `token=None`."""

    @asynccontextmanager
    async def opened(*, token="", **options):
        if token is not None:
            options["additional_headers"] = {"Authorization": f"Bearer {token or working.token()}"}
        async with connect(working.url.replace("http", "ws") + "/ws/ai-tasks", **options) as raw:
            yield Live(raw)

    return opened
