"""The web process once it has started."""

import subprocess
import sys

from tests.test_cli import environment

FROZEN = """
import asyncio, gc, os
from crm.app import create

app = create()

async def start():
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    said = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        said.append(message["type"])
        if message["type"] == "lifespan.startup.complete":
            print(gc.get_freeze_count(), *gc.get_threshold(), flush=True)

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)

asyncio.run(start())
"""


def test_the_garbage_collector_leaves_alone_what_start_up_made(database_url):
    settings = environment(DATABASE_URL=database_url, CRM_SECRET_KEY="k" * 32)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FROZEN],
        env=settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    frozen, youngest, *_ = map(int, done.stdout.split())
    assert frozen > 100_000
    assert youngest > 10_000
