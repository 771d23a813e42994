"""What is true about a case's lead: the only things an answer may cite."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from zoneinfo import ZoneInfo

from tests.ai.evals.case import OWNER, Case, moment
from tests.ai.evals.claims import Claims, claims, plain_spaces

# People speak of days where they are; the records keep UTC.
_ZONES = (ZoneInfo("UTC"), ZoneInfo("Europe/Stockholm"))
_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    return [found.casefold() for found in _WORD.findall(text)]


@dataclass
class Facts:
    """A case's facts as of now."""

    case: Case
    now: datetime
    score: int | None = None
    moments: list[datetime] = field(init=False)

    def __post_init__(self) -> None:
        case = self.case
        ago = [case.created, *(i.ago for i in case.interactions), *(task.made for task in case.tasks)]
        ago += [task.closed for task in case.tasks if task.closed is not None]
        ago += [-task.due for task in case.tasks if task.due is not None]
        self.moments = [moment(self.now, days) for days in ago]

    @cached_property
    def texts(self) -> list[str]:
        return [plain_spaces(text) for text in self._texts() if text]

    def _texts(self) -> Iterator[str | None]:
        yield OWNER
        for value in self.case.lead.values():
            yield from value if isinstance(value, list) else [str(value) if value is not None else None]
        for interaction in self.case.interactions:
            yield from (interaction.subject, interaction.full_notes)
        for task in self.case.tasks:
            yield from (task.title, task.description, task.reason, task.dismissed_reason)

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(word for text in self.texts for word in words(text))

    @cached_property
    def said(self) -> Claims:
        """What the facts themselves say in figures."""
        return claims("\n".join(self.texts))

    @cached_property
    def amounts(self) -> set[tuple[Decimal, str | None]]:
        lead = self.case.lead
        own = {(Decimal(lead["budget"]).normalize(), lead.get("currency"))} if lead.get("budget") is not None else set()
        return own | set(self.said.amounts)

    @cached_property
    def numbers(self) -> set[Decimal]:
        said = self.said
        seen = {*said.numbers, *(amount for amount, _ in said.amounts), *(amount for amount, _ in self.amounts)}
        seen |= {Decimal(n) for n, _ in said.counts} | {Decimal(period.count) for period in said.periods}
        seen |= {Decimal(n) for n in said.minutes} | {Decimal(day.day) for day in said.days}
        return seen | ({Decimal(self.score), Decimal(100)} if self.score is not None else set())

    @cached_property
    def dates(self) -> set[date]:
        return {at.astimezone(zone).date() for at in self.moments for zone in _ZONES}

    @cached_property
    def ages(self) -> list[float]:
        """How many days ago each moment is; negative lies ahead."""
        return [(self.now - at) / timedelta(days=1) for at in self.moments]

    @cached_property
    def counts(self) -> set[int]:
        """How many interactions (of each type, lately) and tasks (of each state) there are."""
        case = self.case
        found = {len(case.interactions), len(case.tasks), *Counter(i.type for i in case.interactions).values()}
        # A note is written about somebody: whoever counts contacts may leave it out.
        found.add(sum(i.type != "note" and i.ago >= 0 for i in case.interactions))
        found |= set(Counter(task.state for task in case.tasks).values())
        found.add(sum(task.state in ("open", "suggested") for task in case.tasks))
        found |= {sum(0 <= i.ago <= days for i in case.interactions) for days in (7, 14, 30, 60, 90, 180, 365)}
        return found

    def working_days_since(self, at: datetime) -> int:
        """Whole working days from then to now."""
        day, days = at.date(), 0
        while day < self.now.date():
            day += timedelta(days=1)
            days += day.weekday() < 5
        return days
