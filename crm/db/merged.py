"""Lists whose rows lie in several tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CompoundSelect, FromClause, Select, union_all


@dataclass(frozen=True)
class MergedPart:
    """A statement with the columns `occurred_at` and `id`, and the place of its rows among those of one moment."""

    statement: Select[Any]
    rank: int


@dataclass(frozen=True)
class Merged:
    """Statements with the same columns as one list, the latest `occurred_at` first.

    A page reads from each no more than itself could hold: so an index of (parent, occurred_at, id) serves each.
    """

    parts: Sequence[MergedPart]

    def correlate(self, *outer: FromClause) -> "Merged":
        """The same, with rows of `outer` from the statement around it."""
        return Merged([MergedPart(part.statement.correlate(*outer), part.rank) for part in self.parts])

    def united(self) -> CompoundSelect[Any]:
        """All rows, in no order."""
        return union_all(*(part.statement for part in self.parts))
