"""The circuit breaker: a provider that keeps failing gets no questions for a while, then one to try it."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from crm.core.choice import Choice

_FAILURES: Final = 5
_WITHIN_SECONDS: Final = 60.0
_OPEN_SECONDS: Final = 30.0
# About how long the question that tries the provider may take.
_PROBE_SECONDS: Final = 10.0


class AiCircuit(Choice):
    """Whether questions go through."""

    CLOSED = "closed", "The provider works: questions go through."
    OPEN = "open", "It failed again and again: for half a minute no question goes through."
    HALF_OPEN = "half_open", "The next question goes through, to see whether it works again."


@dataclass(eq=False, slots=True)
class Admission:
    """Permission to ask one question."""

    probe: bool


class Breaker:
    """Opens after 5 failures in a minute, if at least half of that minute's questions failed; one per process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ended: deque[tuple[float, bool]] = deque()
        self._opened_at: float | None = None
        self._probe: Admission | None = None

    @property
    def state(self) -> AiCircuit:
        """The state of the circuit now."""
        if self._opened_at is None:
            return AiCircuit.CLOSED
        return AiCircuit.OPEN if self._clock() < self._opened_at + _OPEN_SECONDS else AiCircuit.HALF_OPEN

    def seconds_left(self) -> float:
        """Seconds until a question that was not admitted may be asked again."""
        left = 0.0 if self._opened_at is None else self._opened_at + _OPEN_SECONDS - self._clock()
        return left if left > 0 else _PROBE_SECONDS

    def enter(self) -> Admission | None:
        """Admit a question; None while the circuit is open. The caller returns the admission with `leave`."""
        state = self.state
        if state is AiCircuit.CLOSED:
            return Admission(probe=False)
        if state is AiCircuit.HALF_OPEN and self._probe is None:
            self._probe = Admission(probe=True)
            return self._probe
        return None

    def leave(self, admission: Admission, *, answered: bool | None) -> None:
        """Return an admission; `answered` is None if the outcome says nothing about the provider."""
        if admission is self._probe:
            self._probe = None
        if answered is None:
            return
        now = self._clock()
        if admission.probe:
            self._opened_at = None if answered else now
            self._ended.clear()
        self._ended.append((now, answered))
        while self._ended[0][0] <= now - _WITHIN_SECONDS:
            self._ended.popleft()
        failures = sum(not ok for _, ok in self._ended)
        if self._opened_at is None and failures >= _FAILURES and failures * 2 >= len(self._ended):
            self._opened_at = now
