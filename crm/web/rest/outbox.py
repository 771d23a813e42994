"""Messages that wait to be sent to a client, with limits on their bytes and time."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from crm.web.http_io import Send

_SEND_SECONDS: Final = 20.0


class Outbox:
    """The messages to be sent on a socket, in order. `too_slow` is called when the client does not keep up."""

    def __init__(self, send: Send, most_bytes: int, too_slow: Callable[[], None], *, takes_utf8: bool) -> None:
        self._send = send
        self._takes_utf8 = takes_utf8
        self._most = most_bytes
        self._too_slow = too_slow
        self._waiting: deque[tuple[bytes, ...]] = deque()
        self._waiting_bytes = 0
        self._has_messages = asyncio.Event()

    def put(self, *parts: bytes) -> None:
        """Queue a text, after the messages that wait already."""
        self._waiting.append(parts)
        self._waiting_bytes += sum(map(len, parts))
        self._has_messages.set()
        if self._waiting_bytes > self._most:
            self._too_slow()

    async def run(self) -> None:
        """Send messages, until cancelled or until the client is gone."""
        while True:
            await self._has_messages.wait()
            self._has_messages.clear()
            while self._waiting:
                parts = self._waiting[0]
                text = parts if self._takes_utf8 else b"".join(parts).decode()
                try:
                    async with asyncio.timeout(_SEND_SECONDS):
                        await self._send({"type": "websocket.send", "text": text})
                except TimeoutError:
                    self._too_slow()
                    return
                except OSError:  # the client is gone; the reading task will notice
                    return
                self._waiting.popleft()
                self._waiting_bytes -= sum(map(len, parts))
