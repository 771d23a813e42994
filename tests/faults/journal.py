"""Concurrent writers that keep a journal of what the server acknowledged, and its comparison with the database."""

import asyncio
import os
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import httpx2
import psycopg
from psycopg.rows import dict_row

from tests.support.http_client import AsyncClient

BATCH = 20
# Writers pause up to so long after each request, but for so long before a fault and after; in `make faults`, never.
_PAUSE_SECONDS = 0.0 if "CRM_FAULT_ROUNDS" in os.environ else 0.2
_RUSH_SECONDS = 0.05
_LEAD = 'mutation($first: String!) { createLead(input: {firstName: $first, lastName: "Fault"}) { id } }'
_LEADS = "mutation($inputs: [CreateLeadInput!]!) { createLeads(inputs: $inputs) { status lead { id } } }"
_TASK = "mutation($lead: Int!, $title: String!) { createTask(input: {leadId: $lead, title: $title}) { id } }"
_RETITLE = "mutation($id: Int!, $title: String!) { updateTask(id: $id, input: {title: $title}) { id title } }"
_CALL = """mutation($lead: Int!, $subject: String!) {
  logInteraction(input: {leadId: $lead, type: CALL, subject: $subject}) { id }
}"""
_SEVERAL = """mutation($lead: Int!, $one: String!, $two: String!, $id: Int!, $three: String!) {
  one: createLead(input: {firstName: $one, lastName: "Fault"}) { id }
  two: createTask(input: {leadId: $lead, title: $two}) { id }
  three: updateTask(id: $id, input: {title: $three}) { id }
}"""


@dataclass
class Answered:
    """One request, as its client saw it."""

    status: int  # 0: the connection broke
    codes: tuple[str, ...]
    seconds: float
    at: float
    text: str = ""


@dataclass
class Journal:
    """What was asked for and what was acknowledged: marks, each of which stands in one record or event only."""

    asked: dict[str, list[str]] = field(
        default_factory=lambda: {kind: [] for kind in ("lead", "batch", "task", "call")}
    )
    acknowledged: set[str] = field(default_factory=set)
    titles: dict[int, list[str]] = field(default_factory=dict)
    answers: list[Answered] = field(default_factory=list)

    def since(self, moment: float) -> list[Answered]:
        return [one for one in self.answers if one.at >= moment]


class Writers:
    """Writers that go on until they are told to stop, whatever happens to the server."""

    def __init__(self, url: str, token: str, database_url: str, *, count: int = 8, timeout: float = 20) -> None:
        self.journal = Journal()
        self._url, self._count, self._timeout = url, count, timeout
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/graphql-response+json"}
        self._database_url = database_url
        self._going = True
        self._rush = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._name = f"{random.getrandbits(40):x}"

    async def __aenter__(self) -> Self:
        with psycopg.connect(self._database_url, autocommit=True) as connection:
            for number in range(self._count):
                lead, task = _prepared(connection, f"{self._name}-{number}")
                self._tasks.append(asyncio.create_task(self._write(number, lead, task)))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def go_on(self, seconds: float) -> None:
        """Let them write for so long, until a fault: in the end, and for a moment of it, as fast as they can."""
        await asyncio.sleep(seconds - _RUSH_SECONDS)
        self._rush.set()
        asyncio.get_running_loop().call_later(2 * _RUSH_SECONDS, self._rush.clear)
        await asyncio.sleep(_RUSH_SECONDS)

    async def stop(self) -> None:
        self._going = False
        self._rush.set()
        await asyncio.gather(*self._tasks)
        self._tasks = []

    def kill(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _write(self, number: int, lead: int, task: int) -> None:
        dice = random.Random(f"{self._name}{number}")
        steps = [self._lead, self._leads, self._task, self._retitle, self._call, self._several]
        async with AsyncClient(base_url=self._url, headers=self._headers, timeout=self._timeout) as client:
            turn = 0
            while self._going:
                turn += 1
                await dice.choice(steps)(client, f"{self._name}-{number}-{turn}", lead, task)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._rush.wait(), dice.uniform(0, _PAUSE_SECONDS))

    async def _lead(self, client: Any, mark: str, *_: int) -> None:
        self.journal.asked["lead"].append(mark)
        if await self._post(client, _LEAD, first=mark):
            self.journal.acknowledged.add(mark)

    async def _leads(self, client: Any, mark: str, *_: int) -> None:
        self.journal.asked["batch"].append(mark)
        inputs = [{"firstName": f"{mark}/{index}", "lastName": "Fault"} for index in range(BATCH)]
        data = await self._post(client, _LEADS, inputs=inputs)
        if data:
            assert [one["status"] for one in data["createLeads"]] == ["CREATED"] * BATCH
            self.journal.acknowledged.add(mark)

    async def _task(self, client: Any, mark: str, lead: int, _: int) -> None:
        self.journal.asked["task"].append(mark)
        if await self._post(client, _TASK, lead=lead, title=mark):
            self.journal.acknowledged.add(mark)

    async def _call(self, client: Any, mark: str, lead: int, _: int) -> None:
        self.journal.asked["call"].append(mark)
        if await self._post(client, _CALL, lead=lead, subject=mark):
            self.journal.acknowledged.add(mark)

    async def _retitle(self, client: Any, mark: str, _: int, task: int) -> None:
        self.journal.titles.setdefault(task, []).append(mark)
        if await self._post(client, _RETITLE, id=task, title=mark):
            self.journal.acknowledged.add(mark)

    async def _several(self, client: Any, mark: str, lead: int, task: int) -> None:
        """Three roots, each its own transaction: those that have data are acknowledged."""
        marks = {"one": f"{mark}a", "two": f"{mark}b", "three": f"{mark}c"}
        self.journal.asked["lead"].append(marks["one"])
        self.journal.asked["task"].append(marks["two"])
        self.journal.titles.setdefault(task, []).append(marks["three"])
        data = await self._post(client, _SEVERAL, lead=lead, id=task, **marks)
        self.journal.acknowledged.update(marks[name] for name, value in (data or {}).items() if value)

    async def _post(self, client: Any, query: str, **variables: Any) -> dict[str, Any] | None:
        """The answer's data; every answer must be whole JSON, with data or with errors that have a code."""
        start = time.monotonic()
        try:
            response = await client.post("/graphql", json={"query": query, "variables": variables})
        except httpx2.TransportError as error:
            self._note(0, (), start, repr(error))
            await asyncio.sleep(0.05)
            return None
        found = response.json()
        codes = tuple(one["extensions"]["code"] for one in found.get("errors", ()))
        self._note(response.status_code, codes, start, response.text[:500])
        if codes:
            await asyncio.sleep(0.05)
        return found.get("data")

    def _note(self, status: int, codes: tuple[str, ...], start: float, text: str) -> None:
        now = time.monotonic()
        self.journal.answers.append(Answered(status, codes, now - start, now, text))


def _prepared(connection: psycopg.Connection, name: str) -> tuple[int, int]:
    """A lead and a task for one writer, with their events."""
    lead = connection.execute(
        "WITH new AS (INSERT INTO leads (first_name, last_name) VALUES (%s, 'Base') RETURNING id), logged AS ("
        "INSERT INTO events (type, entity, entity_id, lead_id) SELECT 'lead.created', 'lead', id::text, id FROM new) "
        "SELECT id FROM new",
        (name,),
    ).fetchone()[0]
    task = connection.execute(
        "WITH new AS (INSERT INTO tasks (lead_id, title) VALUES (%s, %s) RETURNING id), logged AS ("
        "INSERT INTO events (type, entity, entity_id, lead_id) SELECT 'task.created', 'task', id::text, %s FROM new) "
        "SELECT id FROM new",
        (lead, name, lead),
    ).fetchone()[0]
    return lead, task


def compare(journal: Journal, database_url: str) -> dict[str, int]:
    """Assert that the database holds what was acknowledged, once and whole; returns figures."""
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        rows = {
            "lead": connection.execute("SELECT id, first_name AS mark FROM leads").fetchall(),
            "task": connection.execute("SELECT id, title AS mark, version FROM tasks").fetchall(),
            "call": connection.execute("SELECT id, subject AS mark FROM interactions").fetchall(),
        }
        events = connection.execute(
            "SELECT id, type, entity, entity_id, fields FROM events WHERE entity IN ('lead', 'task', 'interaction') "
            "ORDER BY xid, id"
        ).fetchall()
    _each_record_has_its_event(rows, events)
    _batches_are_whole(journal, rows["lead"])
    for kind in ("lead", "task", "call"):
        marks = Counter(row["mark"] for row in rows[kind])
        for mark in journal.asked[kind]:
            assert marks[mark] == 1 or (marks[mark] == 0 and mark not in journal.acknowledged), (
                kind,
                mark,
                marks[mark],
            )
    _titles_follow(journal, {row["id"]: row for row in rows["task"]}, events)
    asked = sum(map(len, journal.asked.values())) + sum(map(len, journal.titles.values()))
    return {"asked": asked, "acknowledged": len(journal.acknowledged), "events": len(events)}


def _each_record_has_its_event(rows: dict[str, list[dict]], events: list[dict]) -> None:
    entities = {"lead": "lead", "task": "task", "call": "interaction"}
    created = Counter((one["entity"], one["entity_id"]) for one in events if one["type"].endswith(".created"))
    there = {(entities[kind], str(row["id"])) for kind, found in rows.items() for row in found}
    assert set(created) == there
    assert set(created.values()) <= {1}
    assert {(one["entity"], one["entity_id"]) for one in events} <= there


def _batches_are_whole(journal: Journal, leads: list[dict]) -> None:
    found = Counter(row["mark"].partition("/")[0] for row in leads if "/" in row["mark"])
    for mark in journal.asked["batch"]:
        assert found[mark] == BATCH or (found[mark] == 0 and mark not in journal.acknowledged), (mark, found[mark])


def _titles_follow(journal: Journal, tasks: dict[int, dict], events: list[dict]) -> None:
    """A task's titles: every acknowledged one has its event, in order, and the last one is what the task says."""
    for key, asked in journal.titles.items():
        happened = [
            change["after"]
            for one in events
            if one["type"] == "task.updated" and one["entity_id"] == str(key)
            for change in one["fields"]
            if change["name"] == "title"
        ]
        assert len(happened) == len(set(happened))
        assert happened == [mark for mark in asked if mark in set(happened)]
        assert {mark for mark in asked if mark in journal.acknowledged} <= set(happened)
        assert tasks[key]["version"] == 1 + len(happened)
        if happened:
            assert tasks[key]["mark"] == happened[-1]


def quantile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


async def until(check: Any, seconds: float) -> float:
    """Wait until a check passes; returns how long that took."""
    start = time.monotonic()
    while True:
        with suppress(AssertionError, httpx2.TransportError, psycopg.OperationalError):
            await check()
            return time.monotonic() - start
        assert time.monotonic() - start < seconds, f"not within {seconds} s"
        await asyncio.sleep(0.05)
