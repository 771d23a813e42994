"""How long something has lasted, as seen by somebody who looks now and then: a request costs no timer."""

from collections.abc import Hashable
from typing import Final

# A reader that takes less than this between two looks stands still.
_A_STEP: Final = 1024


class Stopwatch:
    """Since when a connection is in the state that it is in."""

    def __init__(self) -> None:
        self._state: Hashable = None
        self._since = 0.0

    def lasts(self, now: float, state: Hashable) -> float:
        """Seconds that this state has been seen without a change."""
        if state != self._state:
            self._state = state
            self._since = now
        return now - self._since


class Stall:
    """Since when a client takes nothing of what waits for it."""

    def __init__(self) -> None:
        self._least = 0
        self._since: float | None = None

    def over(self) -> None:
        """The client has taken something."""
        self._since = None

    def lasts(self, now: float, unsent: int) -> float:
        """Seconds that the client has taken nothing."""
        if unsent == 0:
            self._since = None
            return 0.0
        if self._since is None or unsent <= self._least - _A_STEP:
            self._since = now
            self._least = unsent
        self._least = max(self._least, unsent)
        return now - self._since
