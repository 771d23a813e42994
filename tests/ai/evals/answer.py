"""What is judged: suggestions and a summary, wherever they came from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

PRIORITIES = ("low", "normal", "high", "urgent")


@dataclass(frozen=True)
class Suggestion:
    title: str
    description: str | None
    reason: str | None
    priority: str
    due: datetime | None

    @property
    def action(self) -> str:
        """What is to be done: the reason tells of the past."""
        return f"{self.title}.\n{self.description or ''}"

    @property
    def whole(self) -> str:
        return f"{self.title}\n{self.description or ''}\n{self.reason or ''}"


@dataclass(frozen=True)
class Answer:
    suggestions: Sequence[Suggestion]
    summary: str | None
    at: datetime
    score: int | None = None
    failure: str | None = None  # the provider gave none, and why
