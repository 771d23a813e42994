"""Cases: leads as a salesperson wrote them down, with what a good answer must and must not hold. See README.md."""

import calendar
import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).parent / "cases"
OWNER = "Robin Alm"  # whose leads they are
Part = Literal["open", "held_out"]

_SWEDISH_MONTHS = "januari februari mars april maj juni juli augusti september oktober november december"
MONTHS = {"sv": _SWEDISH_MONTHS.split(), "en": list(calendar.month_name)[1:]}
_DAY = re.compile(r"\{day([+-]\d+)\}")
_COLUMNS = "first_name last_name email phone company job_title status source budget currency location tags"
_LEAD_COLUMNS = frozenset(_COLUMNS.split())


@dataclass(frozen=True)
class Interaction:
    """A contact, `ago` days before now (after now when negative)."""

    type: str
    ago: float
    subject: str | None = None
    notes: str | None = None
    minutes: int | None = None
    repeat: int = 1  # the notes, so many times over

    @property
    def full_notes(self) -> str | None:
        return self.notes * self.repeat if self.notes else self.notes


@dataclass(frozen=True)
class Task:
    """A task, `made` days ago; `due` in so many days; `closed` (completed or dismissed) days ago."""

    title: str
    state: Literal["open", "suggested", "completed", "dismissed"]
    made: float
    due: float | None = None
    closed: float | None = None
    description: str | None = None
    reason: str | None = None
    dismissed_reason: str | None = None


@dataclass(frozen=True)
class Expected:
    """What a good answer holds. Alternatives are separated by `|`; the intents are in intents.py."""

    must: Sequence[str] = ()
    mention: Sequence[str] = ()
    never: Sequence[str] = ()
    never_say: Sequence[str] = ()
    urgency: str | None = None  # one suggestion has this priority at least
    calm: str | None = None  # no suggestion has more than this priority
    soon: int | None = None  # one suggestion is due within so many days
    not_before: int | None = None  # whoever gets in touch waits so many days
    may_be_empty: bool = False
    summary_mentions: Sequence[str] = ()
    summary_never: Sequence[str] = ()


@dataclass(frozen=True)
class Case:
    """One lead, and what is expected."""

    name: str
    part: Part
    story: str
    language: Literal["sv", "en", "any"]
    created: float
    lead: Mapping[str, Any]
    interactions: Sequence[Interaction]
    tasks: Sequence[Task]
    expected: Expected

    def at(self, now: datetime) -> "Case":
        """The same, with the dates in its texts written out."""

        def dated(text: Any) -> Any:
            return _DAY.sub(lambda found: _spoken(now, int(found[1]), self.language), text) if text else text

        interactions = [
            Interaction(i.type, i.ago, dated(i.subject), dated(i.notes), i.minutes, i.repeat) for i in self.interactions
        ]
        return Case(**{**self._values(), "interactions": interactions})

    def _values(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def load(part: Part) -> list[Case]:
    """The cases of one part, in the order of their files."""
    return [
        _case(values, part)
        for path in sorted((FOLDER / part).glob("*.toml"))
        for values in tomllib.loads(path.read_text(encoding="utf-8"))["case"]
    ]


@cache
def everything() -> tuple[Case, ...]:
    return (*load("open"), *load("held_out"))


def held_out_digest() -> str:
    """What the held-out files hash to: a changed letter changes it."""
    digest = hashlib.sha256()
    for path in sorted((FOLDER / "held_out").iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def moment(now: datetime, days_ago: float) -> datetime:
    return now - timedelta(days=days_ago)


def _case(values: dict[str, Any], part: Part) -> Case:
    values = dict(values)
    lead = dict(values.pop("lead"))
    created = lead.pop("created")
    lead["company"] = (lead.get("company") or "") * lead.pop("company_repeat", 1) or None
    if unknown := set(lead) - _LEAD_COLUMNS:
        msg = f"{values['name']}: a lead has no {', '.join(sorted(unknown))}"
        raise ValueError(msg)
    if lead.get("budget") is not None:
        lead["budget"] = Decimal(lead["budget"])
    return Case(
        name=values.pop("name"),
        part=part,
        story=values.pop("story"),
        language=values.pop("language"),
        created=created,
        lead=lead,
        interactions=[Interaction(**found) for found in values.pop("interactions", [])],
        tasks=[Task(**found) for found in values.pop("tasks", [])],
        expected=Expected(**values),
    )


def _spoken(now: datetime, days: int, language: str) -> str:
    day: date = (now.astimezone(UTC) + timedelta(days=days)).date()
    return f"{day.day} {MONTHS['sv' if language == 'sv' else 'en'][day.month - 1]}"
