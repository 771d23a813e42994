"""Durations, moments and sums, in short words."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

_UNITS: Final = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
_TENTHS_BELOW_MS: Final = 10_000
_SECOND_MS: Final = 1000
NONE: Final = "\N{EN DASH}"
_SMALL: Final = Decimal("0.01")


def duration(milliseconds: int) -> str:
    """A duration: `850 ms`, `4.2 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`."""
    if milliseconds < _SECOND_MS:
        return f"{milliseconds} ms"
    if milliseconds < _TENTHS_BELOW_MS:
        return f"{milliseconds / _SECOND_MS:.1f} s"
    return _whole(milliseconds)


def growing(milliseconds: int) -> str:
    """A duration that grows, in whole seconds: finer figures would change while they are read."""
    return "under 1 s" if milliseconds < _SECOND_MS else _whole(milliseconds)


def ago(milliseconds: int) -> str:
    """The time since a moment: `just now`, `5 s ago`."""
    return "just now" if milliseconds < _SECOND_MS else f"{_whole(milliseconds)} ago"


def ahead(milliseconds: int) -> str:
    """The time until a moment: `now`, `in 5 s`."""
    return "now" if milliseconds < _SECOND_MS else f"in {_whole(milliseconds)}"


def _whole(milliseconds: int) -> str:
    seconds = milliseconds // _SECOND_MS
    for unit, name, below, short in _UNITS:
        if seconds >= unit:
            rest = seconds % unit // below
            return f"{seconds // unit} {name}" + (f" {rest} {short}" if rest else "")
    return f"{seconds} s"


def dollars(amount: str) -> str:
    """A sum like `$12.30`; small sums have two significant digits."""
    value = Decimal(amount)
    if value == 0 or value >= _SMALL:
        return f"${value:,.2f}"
    digits = -value.adjusted() + 1
    return f"${value:.{digits}f}"


def cost(amount: str, source: str | None) -> str:
    """The cost of a model's calls: a dash without a call, and a lower bound if not all of it is known."""
    if source is None:
        return NONE
    if source != "UNKNOWN":
        return dollars(amount)
    return f"{dollars(amount)} or more" if Decimal(amount) else "not known"


def moment(when: str) -> str:
    """A moment, like `2026-11-20 14:05 UTC`."""
    return f"{datetime.fromisoformat(when).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def since(when: str, until: str | None = None) -> int:
    """The milliseconds from one moment to another, or to now; below zero if it is to come."""
    then = datetime.fromisoformat(when)
    end = datetime.fromisoformat(until) if until else datetime.now(UTC)
    return round((end - then).total_seconds() * _SECOND_MS)
