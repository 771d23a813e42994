"""The circuit breaker: a provider that fails again and again is left alone for a while, then tried by one question."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from crm.core.choice import Choice

_FAILURES: Final = 5
_WITHIN_SECONDS: Final = 60.0
_OPEN_SECONDS: Final = 30.0
# What the one question that tries it may take, about.
_PROBE_SECONDS: Final = 10.0


class AiCircuit(Choice):
    """Whether questions go through."""

    CLOSED = "closed", "The provider works: questions go through."
    OPEN = "open", "It failed again and again: for half a minute no question goes through."
    HALF_OPEN = "half_open", "The next question goes through, to see whether it works again."


@dataclass(eq=False, slots=True)
class Pass:
    """Leave to ask once."""

    probe: bool


class Breaker:
    """Opens after 5 failures in a minute, if at least half of that minute's questions failed; one process's own."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ended: deque[tuple[float, bool]] = deque()
        self._opened_at: float | None = None
        self._probe: Pass | None = None

    @property
    def state(self) -> AiCircuit:
        """Where it stands now."""
        if self._opened_at is None:
            return AiCircuit.CLOSED
        return AiCircuit.OPEN if self._clock() < self._opened_at + _OPEN_SECONDS else AiCircuit.HALF_OPEN

    def seconds_left(self) -> float:
        """How long to wait for whoever got no leave to ask."""
        left = 0.0 if self._opened_at is None else self._opened_at + _OPEN_SECONDS - self._clock()
        return left if left > 0 else _PROBE_SECONDS

    def enter(self) -> Pass | None:
        """Leave to ask; None while the circuit is open. Whoever gets one hands it in with `leave`."""
        state = self.state
        if state is AiCircuit.CLOSED:
            return Pass(probe=False)
        if state is AiCircuit.HALF_OPEN and self._probe is None:
            self._probe = Pass(probe=True)
            return self._probe
        return None

    def leave(self, given: Pass, *, answered: bool | None) -> None:
        """Say how it went; None: that says nothing about the provider."""
        if given is self._probe:
            self._probe = None
        if answered is None:
            return
        now = self._clock()
        if given.probe:
            self._opened_at = None if answered else now
            self._ended.clear()
        self._ended.append((now, answered))
        while self._ended[0][0] <= now - _WITHIN_SECONDS:
            self._ended.popleft()
        failures = sum(not ok for _, ok in self._ended)
        if self._opened_at is None and failures >= _FAILURES and failures * 2 >= len(self._ended):
            self._opened_at = now
