"""What a browser asks to see of the board: how many rows of each table, and which tasks whole."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, Self
from urllib.parse import urlencode
from uuid import UUID

from starlette.datastructures import QueryParams

PAGE: Final = "/console/ai-tasks"
USUAL: Final = {"running": 50, "waiting": 20, "later": 20, "failed": 20, "recent": 10}
_STEPS: Final = (50, 100, 200)
MOST: Final = _STEPS[-1]
_MOST_OPEN: Final = 20
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,5}")


@dataclass(frozen=True)
class ViewState:
    """One look at the board."""

    rows: Mapping[str, int] = field(default_factory=lambda: USUAL)
    opened: Sequence[str] = ()

    @classmethod
    def of(cls, asked: QueryParams) -> Self:
        """What stands in an address. What makes no sense there is as if it were not: a page has to show something."""
        rows = {name: _number(asked.get(name), usual) for name, usual in USUAL.items()}
        return cls(rows, list(islice(dict.fromkeys(_ids(asked.getlist("open"))), _MOST_OPEN)))

    def variables(self) -> dict[str, Any]:
        """For the board's operation: one row more than is shown tells whether there are more."""
        asked = {name: count + 1 for name, count in self.rows.items()}
        return {**asked, "open": self.opened, "now": datetime.now(UTC).isoformat()}

    def longer(self, name: str) -> str | None:
        """The address that shows more of a table."""
        more = next((step for step in _STEPS if step > self.rows[name]), None)
        return None if more is None else self._with_rows(name, more)

    def shorter(self, name: str) -> str | None:
        """The address that shows as much of it as usual, if this is more."""
        usual = USUAL[name]
        return self._with_rows(name, usual) if self.rows[name] > usual else None

    def opening(self, key: str) -> str:
        """The address that shows a task whole."""
        return f"{replace(self, opened=[*self.opened, key])}#task-{key}"

    def _with_rows(self, name: str, count: int) -> str:
        return str(replace(self, rows={**self.rows, name: count}))

    def __str__(self) -> str:
        asked = [(name, str(count)) for name, count in self.rows.items() if count != USUAL[name]]
        asked += [("open", key) for key in self.opened]
        return f"{PAGE}?{urlencode(asked)}" if asked else PAGE


def _number(text: str | None, usual: int) -> int:
    if text is None or _NUMBER.fullmatch(text) is None:
        return usual
    return min(int(text), MOST)


def _ids(texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        try:
            yield str(UUID(text))
        except ValueError:
            continue
