"""Adds AI tasks of the last days, as if a model had worked on some of the leads; some attempts failed.

None is of today, since made-up costs must not count against a day's budget. None waits, since workers would run it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from crm.advice.recommendations.prompt import VERSION as RECOMMENDATIONS_VERSION
from crm.advice.summaries.prompt import VERSION as SUMMARY_VERSION
from crm.ai.cost import estimated
from crm.ai.provider import CostSource, Outcome
from crm.ai_tasks.builtin_types import suggested
from crm.ai_tasks.model import AiTaskOutcome, AiTaskPriority, AiTaskStatus
from crm.core.errors import AiUnavailable
from crm.demo.dice import Dice
from crm.demo.languages import LANGUAGES
from crm.demo.people import person_of
from crm.demo.team import TEAM
from crm.demo.worktime import DAY, WorkTime

MODEL: Final = "gpt-6-luna"
_WORKER: Final = "demo:1"
_OLDEST: Final = 3 * DAY  # working minutes: at most six days, of the seven that finished tasks are kept
_TRUNCATED: Final = (Outcome.TRUNCATED, "The model's reply was cut off before its end.")
_UNREACHABLE: Final = (Outcome.UNREACHABLE, "The AI provider cannot be reached.")
_OK: Final = (Outcome.OK, None)
_CODE: Final = AiUnavailable.code

# Open suggestions, one per lead, to be shown as made by a model.
_SUGGESTIONS = """
SELECT DISTINCT ON (lead_id) lead_id, owner_id, tasks.id, tasks.created_at FROM tasks JOIN leads ON leads.id = lead_id
WHERE lead_id = ANY(%(leads)s) AND tasks.source = 'ai_suggested' AND tasks.created_at BETWEEN %(since)s AND %(until)s
  AND owner_id IS NOT NULL AND leads.deleted_at IS NULL
ORDER BY lead_id, tasks.id
"""
_BY_MODEL = """
UPDATE tasks SET generated_by = 'llm', model = %(model)s, rule = NULL, prompt_version = %(version)s WHERE id = %(id)s
"""
# The leads with the highest scores.
_LEADS = """
SELECT lead_id, owner_id, count(*) AS contacts, (array_agg(subject ORDER BY occurred_at DESC))[1] AS subject,
  max(occurred_at) AS last
FROM interactions JOIN leads ON leads.id = lead_id
WHERE lead_id = ANY(%(leads)s) AND occurred_at < %(since)s AND owner_id IS NOT NULL AND deleted_at IS NULL
GROUP BY lead_id, owner_id, activity_score HAVING count(*) > 1
ORDER BY activity_score DESC NULLS LAST, lead_id LIMIT %(most)s
"""
_SUMMARISE = """
UPDATE leads SET summary = %(summary)s, summary_generated_at = %(at)s, summary_source = 'llm',
  summary_model = %(model)s, summary_prompt_version = %(version)s, summary_facts_at = %(at)s
WHERE id = %(lead)s
"""


class PlayedCall(NamedTuple):
    """The properties of a made-up call for a purpose."""

    purpose: str
    version: str
    tokens_in: tuple[int, int]
    tokens_out: tuple[int, int]


_CALLS: Final = {
    "task_recommendations": PlayedCall("recommendations", RECOMMENDATIONS_VERSION, (1_800, 3_200), (250, 600)),
    "lead_summary": PlayedCall("summary", SUMMARY_VERSION, (1_500, 2_900), (120, 260)),
}


@dataclass(frozen=True, slots=True)
class Script:
    """The course of a task: the outcome of each attempt. Without attempts it was cancelled while it waited."""

    task_type: str
    attempts: tuple[tuple[Outcome, str | None], ...] = (_OK,)
    priority: AiTaskPriority = AiTaskPriority.NORMAL
    rating: float | None = None
    agent: str | None = None

    @property
    def status(self) -> AiTaskStatus:
        """The task's final status."""
        if not self.attempts:
            return AiTaskStatus.CANCELLED
        return AiTaskStatus.COMPLETED if self.attempts[-1] == _OK else AiTaskStatus.FAILED


_RECOMMENDATIONS: Final = (
    Script("task_recommendations", agent="morning-round"),
    Script("task_recommendations", (_TRUNCATED, _OK), AiTaskPriority.HIGH),
    Script("task_recommendations", rating=0.4),
    Script("task_recommendations", agent="morning-round"),
)
_SUMMARIES: Final = (
    Script("lead_summary", rating=0.9),
    Script("lead_summary", priority=AiTaskPriority.URGENT),
    Script("lead_summary", (_UNREACHABLE, _OK)),
    Script("lead_summary", (_UNREACHABLE,) * 4),
    Script("lead_summary", (), AiTaskPriority.LOW),
)
_SCORES: Final = Script("score_recalculation", priority=AiTaskPriority.LOW)


@dataclass(frozen=True, slots=True)
class TaskSubject:
    """A task's lead, its user, and its result."""

    lead: int | None
    user: UUID
    result: dict[str, Any]
    quality: float | None = None


class AiTaskWriter:
    """Writes AI tasks with their attempts and calls, the same for the same seed, leads and time."""

    def __init__(self, connection: psycopg.Connection[Any], dice: Dice, now: datetime) -> None:
        self.connection = connection
        self.dice = dice
        self.until = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        self.time = WorkTime(self.until)
        self.today = self.time.now
        self.since = datetime.fromisoformat(self.time.stamp(self.today - _OLDEST))

    def write(self, leads: Sequence[int]) -> int:
        """Add the AI tasks; returns how many."""
        return sum((self._recommendations(leads), self._summaries(leads), self._scores(leads)))

    def _recommendations(self, leads: Sequence[int]) -> int:
        limits = {"leads": list(leads), "since": self.since, "until": self.until}
        suggestions = self.connection.execute(_SUGGESTIONS, limits).fetchall()
        chosen = self.dice.sample(suggestions, min(len(suggestions), len(_RECOMMENDATIONS)))
        for script, (lead, owner, task, at) in zip(_RECOMMENDATIONS, chosen, strict=False):
            by_model = {"id": task, "model": MODEL, "version": RECOMMENDATIONS_VERSION}
            self.connection.execute(_BY_MODEL, by_model)
            self._task(script, TaskSubject(lead, owner, suggested([task], 1), 1.0), at)
        return len(chosen)

    def _summaries(self, leads: Sequence[int]) -> int:
        limits = {"leads": list(leads), "since": self.since, "most": len(_SUMMARIES)}
        chosen = self.connection.execute(_LEADS, limits).fetchall()
        for script, (lead, owner, contacts, subject, last) in zip(_SUMMARIES, chosen, strict=False):
            at = self._moment()
            self._task(script, TaskSubject(lead, owner, {"leadId": lead}), at)
            if script.status is AiTaskStatus.COMPLETED:
                person = person_of(lead)
                words = LANGUAGES[person.market.language].summary
                facts = {"first": person.first_name, "last": person.last_name, "company": person.company}
                text = words.format(**facts, count=contacts, subject=subject, day=last.date())
                made = {"summary": text, "at": at, "model": MODEL, "version": SUMMARY_VERSION, "lead": lead}
                self.connection.execute(_SUMMARISE, made)
        return len(chosen)

    def _scores(self, leads: Sequence[int]) -> int:
        result = {"count": len(leads), "failed": 0, "changed": len(leads) // 7}
        self._task(_SCORES, TaskSubject(None, TEAM[0].id, result), self._moment())
        return 1

    def _moment(self) -> datetime:
        """A moment on one of the last working days before today."""
        return datetime.fromisoformat(self.time.stamp(self.today - 1 - self.dice.below(_OLDEST - 1), ":30"))

    def _task(self, script: Script, about: TaskSubject, ended: datetime) -> None:
        """Add a task that ended at this moment."""
        runs = list(self._runs(script, ended))
        late = runs[-1].ends - ended if runs else timedelta(seconds=self.dice.between(20, 90))
        created, runs = ended - late, [run.earlier(late) for run in runs]
        task = {
            "id": self._id(created),
            "agent_id": script.agent,
            "task_type": script.task_type,
            "priority": script.priority.value,
            "status": script.status.value,
            "model": MODEL if script.task_type in _CALLS and runs else None,
            "lead_id": about.lead,
            "created_by": about.user,
            "created_at": created,
            "finished_at": ended,
            "updated_at": ended,
            **_end(script, about),
            **_sums(runs),
        }
        if runs:
            task |= {"due_at": runs[-1].due, "started_at": runs[-1].begins, "stopped_at": ended}
        else:
            task |= {"due_at": created}
        self._insert("ai_tasks", task)
        for number, run in enumerate(runs, 1):
            self._attempt(task, run, number)

    def _runs(self, script: Script, due: datetime) -> Iterator["PlayedRun"]:
        """The attempts of a task that was due at this moment."""
        dice, call = self.dice, _CALLS.get(script.task_type)
        for number, (outcome, error) in enumerate(script.attempts):
            begins = due + timedelta(milliseconds=dice.between(40, 450))
            ends = begins + timedelta(milliseconds=dice.between(1_900, 6_800))
            answered = call is not None and outcome is not Outcome.UNREACHABLE
            used = (dice.between(*call.tokens_in), dice.between(*call.tokens_out)) if call and answered else (0, 0)
            cost = estimated(MODEL, *used, address="https://api.openai.com/v1") if answered else None
            yield PlayedRun(outcome, error, due, begins, ends, *used, cost, asked=call is not None)
            due = ends + timedelta(seconds=2**number)

    def _attempt(self, task: dict[str, Any], run: "PlayedRun", number: int) -> None:
        attempt = {
            "id": self._id(run.begins),
            "task_id": task["id"],
            "number": number,
            "worker": _WORKER,
            "outcome": (AiTaskOutcome.FAILED if run.error else AiTaskOutcome.COMPLETED).value,
            "error": run.error,
            "error_code": _CODE if run.error else None,
            "model": MODEL if run.asked else None,
            "tokens": run.tokens_in + run.tokens_out,
            "cost_usd": run.cost or 0,
            "cost_source": run.source,
            "started_at": run.begins,
            "finished_at": run.ends,
        }
        self._insert("ai_task_attempts", attempt)
        if run.asked:
            self._call(task, attempt["id"], run)

    def _call(self, task: dict[str, Any], attempt: UUID, run: "PlayedRun") -> None:
        call = _CALLS[task["task_type"]]
        values = {
            "id": self._id(run.begins),
            "created_at": run.begins,
            "question_id": self._id(run.begins),
            "attempt": 1,
            "purpose": call.purpose,
            "prompt_version": call.version,
            "input_hash": f"{self.dice.getrandbits(256):064x}",
            "provider": "openai",
            "model": MODEL,
            "lead_id": task["lead_id"],
            "requested_by": task["created_by"],
            "ai_task_attempt_id": attempt,
            "outcome": run.outcome.value,
            "duration_ms": (run.ends - run.begins) // timedelta(milliseconds=1) - 20,
            "tokens_in": run.tokens_in or None,
            "tokens_out": run.tokens_out or None,
            "cost_usd": run.cost,
            "cost_source": run.source,
        }
        self._insert("ai_calls", values)

    def _insert(self, table: str, values: dict[str, Any]) -> None:
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(map(sql.Placeholder, values)),
        )
        self.connection.execute(statement, values)

    def _id(self, at: datetime) -> UUID:
        """A UUIDv7 for this moment."""
        value = int(at.timestamp() * 1000) << 80 | self.dice.getrandbits(80)
        return UUID(int=value & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62)


@dataclass(frozen=True, slots=True)
class PlayedRun:
    """A made-up attempt."""

    outcome: Outcome
    error: str | None
    due: datetime
    begins: datetime
    ends: datetime
    tokens_in: int
    tokens_out: int
    cost: Decimal | None
    asked: bool

    @property
    def source(self) -> str | None:
        """The cost's source."""
        if not self.asked:
            return None
        return (CostSource.UNKNOWN if self.cost is None else CostSource.ESTIMATED).value

    def earlier(self, late: timedelta) -> "PlayedRun":
        """The same attempt, so much earlier."""
        return replace(self, due=self.due - late, begins=self.begins - late, ends=self.ends - late)


def _end(script: Script, about: TaskSubject) -> dict[str, Any]:
    """The columns that say how a task ended."""
    if script.status is AiTaskStatus.COMPLETED:
        return {"result": Jsonb(about.result), "progress": 1, "quality_score": script.rating or about.quality}
    if script.status is AiTaskStatus.FAILED:
        return {"error": script.attempts[-1][1], "error_code": _CODE}
    return {}


def _sums(runs: Sequence[PlayedRun]) -> dict[str, Any]:
    """The columns with the sums over a task's attempts."""
    sources = [run.source for run in runs if run.source]
    return {
        "attempt": len(runs),
        "failures": sum(1 for run in runs if run.error),
        "tokens": sum(run.tokens_in + run.tokens_out for run in runs),
        "cost_usd": sum((run.cost or Decimal(0) for run in runs), Decimal(0)),
        "cost_source": CostSource.UNKNOWN.value if CostSource.UNKNOWN in sources else next(iter(sources), None),
        "version": 1 + (2 * len(runs) or 1),
    }
