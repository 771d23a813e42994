"""An answer's head and body, sent in one go.

uvicorn writes them one after the other, and uvloop hands each to the system at once: a system call more for every
answer, a packet more on its way, and a client that is woken twice.
"""

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


class PairedWrites:
    """A transport that keeps a write until the next one, or until the loop's next turn, and sends both together."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.transport = transport
        self.is_closing = transport.is_closing  # asked for each answer: not by way of `__getattr__`
        self._loop = loop
        self._kept: bytes | None = None
        self._turn: asyncio.Handle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def write(self, data: bytes) -> None:
        """Send this, with what was kept, or keep it."""
        if self._kept is None:
            self._kept = data
            self._turn = self._loop.call_soon(self.flush)
        else:
            self._send([self._take(), data])

    def writelines(self, parts: "Iterable[bytes]") -> None:
        """Send these at once, after what was kept."""
        self._send(parts if self._kept is None else [self._take(), *parts])

    def flush(self) -> None:
        """Send what was kept."""
        if self._kept is not None:
            self._send([self._take()])

    def write_eof(self) -> None:
        """Say that no more comes, after what was kept."""
        self.flush()
        self.transport.write_eof()

    def close(self) -> None:
        """Close, after what was kept."""
        self.flush()
        self.transport.close()

    def get_write_buffer_size(self) -> int:
        """Bytes that the client has not taken yet."""
        return self.transport.get_write_buffer_size() + len(self._kept or b"")

    def _take(self) -> bytes:
        assert self._kept is not None
        assert self._turn is not None
        self._turn.cancel()
        kept, self._kept = self._kept, None
        return kept

    def _send(self, parts: "Iterable[bytes]") -> None:
        if not self.is_closing():  # else the client is gone
            self.transport.writelines(parts)
