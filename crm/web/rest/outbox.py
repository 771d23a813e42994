"""Messages on their way to a client: as many as fit, and for as long as they may wait."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from crm.web.http_io import Send

_PATIENCE_SECONDS: Final = 20.0


class Outbox:
    """What is to be sent on a socket, in order. `too_slow` is called when the client does not keep up."""

    def __init__(self, send: Send, most_bytes: int, too_slow: Callable[[], None], *, takes_utf8: bool) -> None:
        self._send = send
        self._takes_utf8 = takes_utf8
        self._most = most_bytes
        self._too_slow = too_slow
        self._waiting: deque[tuple[bytes, ...]] = deque()
        self._held = 0
        self._news = asyncio.Event()

    def put(self, *parts: bytes) -> None:
        """Send a text, after what waits already."""
        self._waiting.append(parts)
        self._held += sum(map(len, parts))
        self._news.set()
        if self._held > self._most:
            self._too_slow()

    async def run(self) -> None:
        """Send, until cancelled or until nobody is there any more."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                parts = self._waiting[0]
                text = parts if self._takes_utf8 else b"".join(parts).decode()
                try:
                    async with asyncio.timeout(_PATIENCE_SECONDS):
                        await self._send({"type": "websocket.send", "text": text})
                except TimeoutError:
                    self._too_slow()
                    return
                except OSError:  # it went away; whoever reads will notice
                    return
                self._waiting.popleft()
                self._held -= sum(map(len, parts))
