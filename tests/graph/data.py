"""Rows that are hard on a query engine: nulls, ties, case, quotes, wildcards, wide characters, deleted owners."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from tests.graph.generate import Pools
from tests.graph.reference import World

TEXTS = [
    "Åsa",
    "åsa öberg",
    "ÅSA ÖBERG",
    "Äta",
    'say "hi"',
    "O'Brien",
    "100% sure",
    "snake_case",
    "back\\slash",
    "%",
    "_",
    "\\",
    "🙂 smile 𐍈",
    "שלום עולם",
    "مرحبا",
    "tab\there\nline",
    "$1 {x} :v0 %(s)s",
    "ß straße",
    "  blanks  ",
    "plain",
    "Plain",
]
FIELDS = ["title", "source", "activityScore", "scoreCalculatedAt", "summary", "notes"]
_START = datetime(2026, 1, 1, tzinfo=UTC)


def fill(url: str, *, seed: int = 1, leads: int = 24) -> None:
    """Replace what is in the database; the same seed makes the same rows."""
    dice = random.Random(seed)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE leads, tasks, interactions, events RESTART IDENTITY CASCADE")
        connection.execute("DELETE FROM users WHERE email NOT LIKE 'service-%@crm.invalid'")
        filler = _Filler(connection, dice)
        filler.users()
        for _ in range(leads):
            filler.lead()
        for _ in range(leads * 2):
            filler.task()
            filler.interaction()
        for _ in range(leads * 3):
            filler.event()


def pools(world: World) -> Pools:
    """What generated filters compare with."""
    moments = [one["occurred_at"] for one in world.interactions] + [one["created_at"] for one in world.leads]
    return Pools(
        texts=[*TEXTS, "", "a", "e", "å", "ö", *(one["first_name"] for one in world.leads[:5])],
        moments=[_spelled(one, index) for index, one in enumerate(moments)],
        amounts=["0", "100", "100.00", "1250.5", "999999999999.99"],
        users=[*(str(one["id"]) for one in world.users), "00000000-0000-4000-8000-000000000000"],
        emails=[one["email"] for one in world.leads if one["email"]],
        changes=[f"{world.epoch}.{one['transaction']}.{one['id']}" for one in world.events],
        highest=len(world.leads) * 2,
    )


def _spelled(moment: datetime, index: int) -> str:
    """A moment in one of the ways that RFC 3339 allows."""
    if index % 3 == 0:
        return moment.astimezone(UTC).isoformat()
    if index % 3 == 1:
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return (moment.astimezone(UTC) + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S.%f+02:00")


class _Filler:
    def __init__(self, connection: psycopg.Connection[Any], dice: random.Random) -> None:
        self._connection = connection
        self._dice = dice
        self._users: list[Any] = []
        self._leads: list[int] = []
        self._count = 0

    def users(self) -> None:
        for role in ("member", "viewer", "admin"):
            self._count += 1
            self._users.append(
                self._insert(
                    "users",
                    id=f"00000000-0000-4000-9000-00000000000{self._count}",
                    email=f"user{self._count}@example.com",
                    name=self._dice.choice(TEXTS),
                    role=role,
                    disabled_at=self._maybe(self._moment()),
                )
            )

    def lead(self) -> None:
        self._count += 1
        self._leads.append(
            self._insert(
                "leads",
                first_name=self._text(),
                last_name=self._text(),
                email=self._maybe(f"Lead{self._count}@Örebro.example"),
                company=self._maybe(self._text()),
                status=self._dice.choice(("new", "contacted", "qualified", "proposal", "won", "lost")),
                source=self._maybe(self._text()),
                budget=self._maybe(self._dice.choice((Decimal("100.00"), Decimal("1250.50"), Decimal(0)))),
                currency=self._maybe(self._dice.choice(("SEK", "EUR"))),
                location=self._maybe(self._text()),
                tags=self._dice.sample(TEXTS, self._dice.choice((0, 1, 3))),
                owner_id=self._maybe(self._dice.choice(self._users)),
                summary=self._maybe(self._text()),
                summary_generated_at=self._maybe(self._moment()),
                summary_facts_at=self._maybe(self._moment()),
                summary_source=self._maybe("playbook"),
                activity_score=self._maybe(self._dice.choice((0, 50, 50, 100))),
                score_factors=self._maybe(self._factors()),
                version=self._dice.randint(1, 3),
                created_at=self._moment(),
                updated_at=self._moment(),
                deleted_at=self._moment() if self._dice.random() < 0.25 else None,
            )
        )

    def _factors(self) -> Jsonb:
        """In any order, and sometimes none at all."""
        signals = self._dice.sample(("recency", "depth", "open_tasks", "budget"), self._dice.choice((0, 1, 4)))
        factors = [
            {"signal": one, "points": self._dice.randint(0, 9), "max_points": 10, "evidence": self._text()}
            for one in signals
        ]
        return Jsonb({"version": self._text(), "factors": factors})

    def task(self) -> None:
        source = self._dice.choice(("manual", "manual", "ai_suggested", "dismissed"))
        self._insert(
            "tasks",
            title=self._text(),
            description=self._maybe(self._text()),
            due_date=self._maybe(self._moment()),
            due_on=self._maybe(self._moment().date()),
            completed=self._dice.random() < 0.4,
            completed_at=self._maybe(self._moment()),
            priority=self._dice.choice(("low", "normal", "high", "urgent")),
            source=source,
            dismissed_reason=self._maybe(self._text()),
            generated_by=self._maybe("playbook"),
            model=self._maybe("playbook"),
            rule=self._maybe(self._text()),
            edited=self._dice.random() < 0.3,
            decided_at=self._maybe(self._moment()),
            created_by=self._maybe(self._dice.choice(self._users)),
            decided_by_id=self._maybe(self._dice.choice(self._users)),
            lead_id=self._dice.choice(self._leads),
            assignee_id=self._maybe(self._dice.choice(self._users)),
            created_at=self._moment(),
            updated_at=self._moment(),
            deleted_at=self._moment() if self._dice.random() < 0.25 else None,
        )

    def interaction(self) -> None:
        self._insert(
            "interactions",
            lead_id=self._dice.choice(self._leads),
            type=self._dice.choice(("call", "email", "meeting", "message", "note")),
            subject=self._maybe(self._text()),
            notes=self._maybe(self._text()),
            occurred_at=self._moment(),
            duration_minutes=self._maybe(self._dice.choice((0, 15, 15, 60))),
            created_by=self._maybe(self._dice.choice(self._users)),
            created_at=self._moment(),
            updated_at=self._moment(),
        )

    def event(self) -> None:
        entity = self._dice.choice(("lead", "task", "interaction"))
        before, after = (
            self._dice.choice((None, self._text(), "AI_SUGGESTED", 7, True, ["a", None], {"b": 1.5, "a": self._text()}))
            for _ in range(2)
        )
        self._insert(
            "events",
            type=f"{entity}.{self._dice.choice(('updated', 'created'))}",
            entity=entity,
            entity_id=str(self._dice.randint(1, len(self._leads) + 3)),
            lead_id=self._maybe(self._dice.choice(self._leads)),
            actor_id=self._maybe(self._dice.choice(self._users)),
            fields=Jsonb(
                [
                    {"name": self._dice.choice(FIELDS), "before": before, "after": after}
                    for _ in range(self._dice.randint(0, 2))
                ]
            ),
            occurred_at=self._moment(),
            via=self._dice.choice(("api", "program", "demo", "sql", None)),
            request_id=self._maybe(self._text()),
            version=self._maybe(self._dice.randint(1, 3)),
        )

    def _insert(self, table: str, **values: Any) -> Any:
        columns, places = ", ".join(values), ", ".join(["%s"] * len(values))
        row = self._connection.execute(
            f"INSERT INTO {table} ({columns}) VALUES ({places}) RETURNING id", list(values.values())
        ).fetchone()
        assert row is not None
        return row[0]

    def _text(self) -> str:
        return self._dice.choice(TEXTS)

    def _maybe(self, value: Any) -> Any:
        return None if self._dice.random() < 0.35 else value

    def _moment(self) -> datetime:
        return _START + timedelta(days=self._dice.randint(0, 6), microseconds=self._dice.choice((0, 1, 999_999)))
