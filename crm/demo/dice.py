"""Random choices for demo data."""

import math
from collections.abc import Iterable, Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


class Dice(Random):
    """Random numbers by way of `random()` alone: several times faster than `choice` and `randint`."""

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, each with the same chance."""
        return options[int(self.random() * len(options))]

    def below(self, limit: int) -> int:
        """A whole number from 0 up to, but not including, `limit`; 0 if the limit is 0 or less."""
        return int(self.random() * limit) if limit > 0 else 0

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        return low + int(self.random() * (high - low + 1))

    def chance(self, percent: float) -> bool:
        """True in `percent` of cases."""
        return self.random() * 100 < percent

    def around(self, typical: int) -> int:
        """A random number that is mostly less than `typical`, now and then several times as much."""
        return int(-math.log(1 - self.random()) * typical)


def by_weight(options: Iterable[tuple[T, int]]) -> tuple[T, ...]:
    """Each option repeated by its weight, to `pick` from."""
    return tuple(option for option, weight in options for _ in range(weight))
