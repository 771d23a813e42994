"""How much is parsed in one turn of the loop: some of what came, each connection in its order."""

import asyncio
from collections import deque
from typing import Final, Protocol

from uvicorn.protocols.http.flow_control import FlowControl

# A piece of a body costs the parser about a microsecond, and 64 bytes far less.
_WORK_A_TURN: Final = 4096
_BYTES_FOR_ONE: Final = 64


class Fed(Protocol):
    """A connection with bytes that wait to be parsed."""

    def feed_on(self) -> int:
        """Parse some of them: how many pieces that were, and bytes by the `_BYTES_FOR_ONE`."""

    def waits(self) -> bool:
        """Whether there are more."""


class IntakeTurns:
    """The connections of a server whose bytes wait to be parsed."""

    def __init__(self) -> None:
        self._waiting: deque[Fed] = deque()

    def take(self, one: Fed) -> None:
        """Parse what this one has, from the loop's next turn on."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._turn)
        self._waiting.append(one)

    def _turn(self) -> None:
        left = _WORK_A_TURN
        while self._waiting and left > 0:
            one = self._waiting.popleft()
            left -= one.feed_on()
            if one.waits():
                self._waiting.append(one)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._turn)


def work(pieces: int, size: int) -> int:
    """What it cost to parse so much."""
    return 1 + pieces + size // _BYTES_FOR_ONE


class Intake(FlowControl):
    """uvicorn's, which does not read on while something waits to be parsed."""

    held = False

    def hold(self) -> None:
        """Read nothing more for now."""
        self.held = True
        self._transport.pause_reading()

    def release(self) -> None:
        """Read on, unless the application does not keep up."""
        if self.held:
            self.held = False
            if not self.read_paused:
                self._transport.resume_reading()

    def resume_reading(self) -> None:
        """The application has taken what there was."""
        if self.read_paused:
            self.read_paused = False
            if not self.held:
                self._transport.resume_reading()
