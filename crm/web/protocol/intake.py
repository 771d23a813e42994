"""Turns of connections at parsing: in each turn of the event loop only some of the received bytes are parsed."""

import asyncio
import logging
from collections import deque
from typing import Final, Protocol

from uvicorn.protocols.http.flow_control import FlowControl

_log = logging.getLogger(__name__)

# A piece of a body costs the parser about a microsecond, and 64 bytes far less.
_WORK_A_TURN: Final = 4096
_BYTES_FOR_ONE: Final = 64


class Fed(Protocol):
    """A connection with bytes that wait to be parsed."""

    def feed_on(self) -> int:
        """Parse some of the bytes, and return the cost (see `work`)."""

    def waits(self) -> bool:
        """Whether more bytes wait."""

    def drop(self) -> None:
        """Close at once."""


class IntakeTurns:
    """The connections of a server whose bytes wait to be parsed."""

    def __init__(self) -> None:
        self._waiting: deque[Fed] = deque()

    def take(self, connection: Fed) -> None:
        """Queue a connection to be parsed, from the loop's next turn on."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._turn)
        self._waiting.append(connection)

    def _turn(self) -> None:
        left = _WORK_A_TURN
        while self._waiting and left > 0:
            connection = self._waiting.popleft()
            try:
                left -= connection.feed_on()
            except Exception:  # noqa: BLE001  (a fault of ours must not keep the others from their turns)
                _log.exception("connection dropped: its bytes could not be parsed")
                connection.drop()
            else:
                if connection.waits():
                    self._waiting.append(connection)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._turn)


def work(pieces: int, size: int) -> int:
    """The cost of parsing so many pieces and bytes."""
    return 1 + pieces + size // _BYTES_FOR_ONE


class Intake(FlowControl):
    """uvicorn's flow control, which also pauses reading while received bytes wait to be parsed."""

    held = False

    def hold(self) -> None:
        """Pause reading."""
        self.held = True
        self._transport.pause_reading()

    def release(self) -> None:
        """Resume reading, unless the application does not keep up."""
        if self.held:
            self.held = False
            if not self.read_paused:
                self._transport.resume_reading()

    def resume_reading(self) -> None:
        """Resume reading after the application has taken the data, unless bytes wait to be parsed."""
        if self.read_paused:
            self.read_paused = False
            if not self.held:
                self._transport.resume_reading()


class ReceivedBytes:
    """Bytes that wait to be parsed, as they came: nothing is copied before it is parsed."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._start = 0  # within the first chunk
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, data: bytes) -> None:
        """Append received bytes."""
        self._chunks.append(data)
        self._size += len(data)

    def take(self, most: int) -> bytes:
        """Remove and return the first bytes, so many at most."""
        if not self._chunks:
            return b""
        chunk = self._chunks[0]
        piece = chunk[self._start : self._start + most]
        self._start += most
        self._size -= len(piece)
        if self._start >= len(chunk):
            self._chunks.popleft()
            self._start = 0
        return piece

    def next(self) -> bytes:
        """The first byte; empty if there is none."""
        return self._chunks[0][self._start : self._start + 1] if self._chunks else b""

    def clear(self) -> None:
        """Drop all bytes."""
        self._chunks.clear()
        self._start = self._size = 0
