"""The state of a view of the board: the number of rows of each table, and the tasks shown as a whole."""

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
    """The state of one view of the board."""

    rows: Mapping[str, int] = field(default_factory=lambda: USUAL)
    opened: Sequence[str] = ()

    @classmethod
    def of(cls, parameters: QueryParams) -> Self:
        """The state in an address. Invalid parameters are ignored: a page has to show something."""
        rows = {name: _number(parameters.get(name), usual) for name, usual in USUAL.items()}
        return cls(rows, list(islice(dict.fromkeys(_ids(parameters.getlist("open"))), _MOST_OPEN)))

    def variables(self) -> dict[str, Any]:
        """The variables of the board's operation: one row more than is shown tells whether there are more."""
        counts = {name: count + 1 for name, count in self.rows.items()}
        return {**counts, "open": self.opened, "now": datetime.now(UTC).isoformat()}

    def longer(self, name: str) -> str | None:
        """The address that shows more of a table."""
        more = next((step for step in _STEPS if step > self.rows[name]), None)
        return None if more is None else self._with_rows(name, more)

    def shorter(self, name: str) -> str | None:
        """The address that shows the usual number of a table's rows, if more are shown now."""
        usual = USUAL[name]
        return self._with_rows(name, usual) if self.rows[name] > usual else None

    def opening(self, key: str) -> str:
        """The address that shows a task as a whole."""
        return f"{replace(self, opened=[*self.opened, key])}#task-{key}"

    def _with_rows(self, name: str, count: int) -> str:
        return str(replace(self, rows={**self.rows, name: count}))

    def __str__(self) -> str:
        parameters = [(name, str(count)) for name, count in self.rows.items() if count != USUAL[name]]
        parameters += [("open", key) for key in self.opened]
        return f"{PAGE}?{urlencode(parameters)}" if parameters else PAGE


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
