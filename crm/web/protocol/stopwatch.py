"""Durations of a connection's states, measured by checks every now and then, so that a request needs no timer."""

from collections.abc import Hashable
from typing import Final

# A client that reads fewer bytes than this between two checks counts as stalled.
_A_STEP: Final = 1024


class Stopwatch:
    """Measures how long a connection has been in its present state."""

    def __init__(self) -> None:
        self._state: Hashable = None
        self._since = 0.0

    def lasts(self, now: float, state: Hashable) -> float:
        """The seconds since this state was first seen without a change after it."""
        if state != self._state:
            self._state = state
            self._since = now
        return now - self._since


class Stall:
    """Measures how long a client has read nothing of the bytes that wait for it."""

    def __init__(self) -> None:
        self._least = 0
        self._since: float | None = None

    def over(self) -> None:
        """End the stall: the client has read something."""
        self._since = None

    def lasts(self, now: float, unsent: int) -> float:
        """The seconds for which the client has read nothing."""
        if unsent == 0:
            self._since = None
            return 0.0
        if self._since is None or unsent <= self._least - _A_STEP:
            self._since = now
            self._least = unsent
        self._least = max(self._least, unsent)
        return now - self._since
