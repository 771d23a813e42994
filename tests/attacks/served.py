"""`crm serve` with a probe in its event loop.

`GET /probe` tells for how long the loop was held since the last time, and how many follow a subscription.
"""

import asyncio
import json
import sys
import time

from crm import app as api
from crm.cli import main

_BEAT_SECONDS = 0.001


class Probe:
    """Wraps the application; a heartbeat in its loop notes the longest time that one callback took."""

    def __init__(self, app) -> None:
        self._app = app
        self._cpu = 0.0
        self._wall = 0.0
        self._heart: asyncio.Task[None] | None = None

    async def __call__(self, scope, receive, send) -> None:
        if self._heart is None:
            self._heart = asyncio.create_task(self._beat())
        if scope["type"] == "http" and scope["path"] == "/probe":
            await self._tell(send)
        else:
            await self._app(scope, receive, send)

    async def _beat(self) -> None:
        """Note the processor time of the loop's thread between two beats: other processes do not count."""
        cpu, wall = time.thread_time(), time.monotonic()
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            cpu_now, wall_now = time.thread_time(), time.monotonic()
            self._cpu = max(self._cpu, cpu_now - cpu)
            self._wall = max(self._wall, wall_now - wall - _BEAT_SECONDS)
            cpu, wall = cpu_now, wall_now

    async def _tell(self, send) -> None:
        channels = self._app.engine.subscriptions._channels.values()  # noqa: SLF001
        followers = sum(channel.followers for channel in channels)
        body = json.dumps({"cpu": self._cpu, "wall": self._wall, "followers": followers}).encode()
        self._cpu = self._wall = 0.0
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    create = api.create
    api.create = lambda: Probe(create())
    sys.argv[0] = "crm"
    main()
