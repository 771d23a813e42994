"""Puts cases into a real database, and asks the real API about them."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx2
import psycopg
from psycopg.rows import dict_row

from tests.ai.evals.answer import Answer, Suggestion
from tests.ai.evals.case import OWNER, Case, Task, moment

GENERATE = """mutation($id: Int!) { generateTaskRecommendations(leadId: $id) {
  title description aiReasoning priority dueDate generatedBy source } }"""
SUMMARISE = "mutation($id: Int!) { regenerateSummary(leadId: $id) { summary activityScore } }"


def put(connection: psycopg.Connection[Any], case: Case, now: datetime, owner: UUID | None = None) -> int:
    """Insert a case's lead with all that belongs to it; its id."""
    case = case.at(now)
    columns = {**case.lead, "created_at": moment(now, case.created), "updated_at": moment(now, case.created)}
    columns["owner_id"] = owner
    lead = _insert(connection, "leads", columns)
    for interaction in case.interactions:
        at = moment(now, interaction.ago)
        values: dict[str, Any] = {
            "type": interaction.type,
            "subject": interaction.subject,
            "notes": interaction.full_notes,
        }
        values |= {"duration_minutes": interaction.minutes, "occurred_at": at, "created_at": min(at, now)}
        _insert(connection, "interactions", {"lead_id": lead, **values})
    for task in case.tasks:
        _insert(connection, "tasks", {"lead_id": lead, **_task(task, now)})
    return lead


def _task(task: Task, now: datetime) -> dict[str, Any]:
    made, closed = moment(now, task.made), None if task.closed is None else moment(now, task.closed)
    values: dict[str, Any] = {"title": task.title, "description": task.description, "ai_reasoning": task.reason}
    values |= {"created_at": made, "updated_at": closed or made}
    if task.due is not None:
        values["due_date"] = moment(now, -task.due)
    if task.state == "completed":
        values |= {"completed": True, "completed_at": closed}
    elif task.state == "dismissed":
        values |= {"source": "dismissed", "dismissed_reason": task.dismissed_reason, "decided_at": closed}
    elif task.state == "suggested":
        values["source"] = "ai_suggested"
    if task.state in ("dismissed", "suggested"):
        values["generated_by"] = "playbook"
    return values


def _insert(connection: psycopg.Connection[Any], table: str, values: dict[str, Any]) -> Any:
    given = {name: value for name, value in values.items() if value is not None}
    statement = f"INSERT INTO {table} ({', '.join(given)}) VALUES ({', '.join(['%s'] * len(given))}) RETURNING id"
    row = connection.execute(statement, list(given.values())).fetchone()
    assert row is not None
    return row["id"]


class Asker:
    """Asks a running server."""

    def __init__(self, url: str, token: str, database_url: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx2.Client(base_url=url, headers=headers, timeout=120)
        self._database = psycopg.connect(database_url, autocommit=True, row_factory=dict_row)

    def close(self) -> None:
        self._client.close()
        self._database.close()

    def answers(self, asked: Sequence[Case]) -> Iterator[tuple[Case, Answer]]:
        """The answer for each case. All leads are there before the first is asked about: none may leak into another."""
        now = datetime.now(UTC)
        owner = _insert(self._database, "users", {"email": "robin@seller.example", "name": OWNER, "role": "member"})
        leads = [put(self._database, case, now, owner) for case in asked]
        for case, lead in zip(asked, leads, strict=True):
            yield case, self._answer(lead, now)

    def spent(self) -> Decimal:
        """What the questions have cost so far, in USD, as far as it is known."""
        row = self._database.execute("SELECT coalesce(sum(cost_usd), 0) AS usd FROM ai_calls").fetchone()
        return Decimal(row["usd"]) if row else Decimal(0)

    def _answer(self, lead: int, now: datetime) -> Answer:
        # The summary first: what is suggested afterwards is none of its facts.
        summarised, warned = self._ask(SUMMARISE, "regenerateSummary", lead)
        suggested, warnings = self._ask(GENERATE, "generateTaskRecommendations", lead)
        suggestions = [
            Suggestion(
                task["title"],
                task["description"],
                task["aiReasoning"],
                task["priority"].lower(),
                datetime.fromisoformat(task["dueDate"]) if task["dueDate"] else None,
            )
            for task in suggested or ()
        ]
        summarised = summarised or {}
        failure = "; ".join((*warned, *warnings)) or None
        return Answer(suggestions, summarised.get("summary") or "", now, summarised.get("activityScore"), failure)

    def _ask(self, operation: str, field: str, lead: int) -> tuple[Any, list[str]]:
        answer = self._client.post("/graphql", json={"query": operation, "variables": {"id": lead}}).json()
        problems = [error["message"] for error in answer.get("errors", ())]
        problems += [warning["message"] for warning in answer.get("extensions", {}).get("warnings", ())]
        return (answer.get("data") or {}).get(field), problems

    def model(self) -> str:
        """Which model answered."""
        row = self._database.execute("SELECT model FROM ai_calls ORDER BY created_at DESC LIMIT 1").fetchone()
        return str(row["model"]) if row else "none"
