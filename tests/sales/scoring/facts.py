"""What is known about a lead, made up by hypothesis, and what PostgreSQL makes of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
from hypothesis import strategies as st

from crm.sales.interactions.model import InteractionType
from crm.sales.leads.model import LeadStatus
from crm.sales.scoring.statements import SHOW
from crm.sales.tasks.model import TaskSource

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
_MINUTES = 60 * 24 * 200


@dataclass(frozen=True)
class Task:
    source: str = "manual"
    completed: bool = False
    completed_at: datetime | None = None
    due_date: datetime | None = None
    deleted_at: datetime | None = None


@dataclass(frozen=True)
class Facts:
    """A lead."""

    status: str = "new"
    budget: Decimal | None = None
    currency: str | None = None
    interactions: Sequence[tuple[str, datetime]] = ()
    tasks: Sequence[Task] = ()

    def with_interaction(self, kind: str, moment: datetime) -> "Facts":
        return replace(self, interactions=[*self.interactions, (kind, moment)])

    def reversed(self) -> "Facts":
        return replace(self, interactions=self.interactions[::-1], tasks=self.tasks[::-1])


@dataclass(frozen=True)
class Score:
    score: int
    version: str
    factors: Sequence[dict[str, Any]]
    points: dict[str, int] = field(default_factory=dict)
    evidence: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, score: int, document: dict[str, Any]) -> "Score":
        factors = document["factors"]
        points = {one["signal"]: one["points"] for one in factors}
        return cls(score, document["version"], factors, points, {one["signal"]: one["evidence"] for one in factors})


class Scorer:
    """Asks PostgreSQL; nothing it inserts stays."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def of(self, facts: Facts, at: datetime = NOW) -> Score:
        return self.each([facts], at)[0]

    def at_each(self, facts: Facts, *moments: datetime) -> list[Score]:
        """The same facts at several instants."""
        with self._connection.transaction(force_rollback=True):
            key = self._insert(facts)
            return [self._show([key], moment)[key] for moment in moments]

    def each(self, several: Sequence[Facts], at: datetime = NOW) -> list[Score]:
        """The scores of several leads, calculated at once."""
        with self._connection.transaction(force_rollback=True):
            keys = [self._insert(facts) for facts in several]
            found = self._show(keys, at)
            return [found[key] for key in keys]

    def one_by_one(self, several: Sequence[Facts], at: datetime = NOW) -> list[Score]:
        """The scores of several leads, each by itself."""
        with self._connection.transaction(force_rollback=True):
            keys = [self._insert(facts) for facts in several]
            return [self._show([key], at)[key] for key in keys]

    def stored(self, keys: Sequence[int], at: datetime) -> dict[int, Score]:
        """The scores of leads that are there."""
        with self._connection.transaction():
            return self._show(keys, at)

    def _show(self, keys: Sequence[int], at: datetime) -> dict[int, Score]:
        rows = psycopg.RawCursor(self._connection).execute(SHOW.text, (at, list(keys))).fetchall()
        return {key: Score.of(score, document) for key, score, document in rows}

    def _insert(self, facts: Facts) -> int:
        connection = self._connection
        row = connection.execute(
            "INSERT INTO leads (first_name, last_name, status, budget, currency)"
            " VALUES ('A', 'B', %s, %s, %s) RETURNING id",
            (facts.status, facts.budget, facts.currency),
        ).fetchone()
        assert row is not None
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO interactions (lead_id, type, occurred_at) VALUES (%s, %s, %s)",
                [(row[0], *one) for one in facts.interactions],
            )
            cursor.executemany(
                "INSERT INTO tasks (lead_id, title, source, completed, completed_at, due_date, deleted_at)"
                " VALUES (%s, 'T', %s, %s, %s, %s, %s)",
                [(row[0], *vars(one).values()) for one in facts.tasks],
            )
        return int(row[0])


def ago(most: int = _MINUTES, least: int = 0) -> st.SearchStrategy[datetime]:
    """Moments before now; round ones too, where windows end."""
    days = st.integers(least // 1440, most // 1440).map(lambda count: NOW - timedelta(days=count))
    return days | st.integers(least, most).map(lambda count: NOW - timedelta(minutes=count))


KINDS = st.sampled_from([one.value for one in InteractionType])
INTERACTIONS = st.lists(st.tuples(KINDS, ago()), max_size=12)
TASKS = st.builds(
    Task,
    source=st.sampled_from([one.value for one in TaskSource]),
    completed=st.booleans(),
    completed_at=st.none() | ago(),
    due_date=st.none() | ago(least=-_MINUTES),
    deleted_at=st.none() | st.just(NOW),
)
FACTS = st.builds(
    Facts,
    status=st.sampled_from([one.value for one in LeadStatus]),
    budget=st.none() | st.decimals(0, Decimal("999999999999.99"), places=2),
    currency=st.none() | st.sampled_from(["SEK", "EUR", "ISK", "XXX", "sek", "\"\\'"]),
    interactions=INTERACTIONS,
    tasks=st.lists(TASKS, max_size=4),
)
