"""Figures in words that a person takes in at a glance."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

_UNITS: Final = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
_TENTHS_BELOW_MS: Final = 10_000
NONE: Final = "\N{EN DASH}"
_SMALL: Final = Decimal("0.01")


def duration(milliseconds: int | None) -> str:
    """`850 ms`, `4.2 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`."""
    if milliseconds is None:
        return NONE
    if milliseconds < 1000:  # noqa: PLR2004
        return f"{milliseconds} ms"
    if milliseconds < _TENTHS_BELOW_MS:
        return f"{milliseconds / 1000:.1f} s"
    seconds = milliseconds // 1000
    for unit, name, below, short in _UNITS:
        if seconds >= unit:
            rest = seconds % unit // below
            return f"{seconds // unit} {name}" + (f" {rest} {short}" if rest else "")
    return f"{seconds} s"


def dollars(amount: str) -> str:
    """`$12.30`; small sums with as many digits as they need, two of them meant."""
    value = Decimal(amount)
    if value == 0 or value >= _SMALL:
        return f"${value:,.2f}"
    digits = -value.adjusted() + 1
    return f"${value:.{digits}f}"


def moment(when: str) -> str:
    """`2026-11-20 14:05 UTC`."""
    return f"{datetime.fromisoformat(when).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
