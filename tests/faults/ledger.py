"""AI tasks under faults: worker processes, tasks created over the API, and what they left, compared with a journal."""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

from tests.support import children
from tests.support.http_client import AsyncClient
from tests.support.kept_connection import KeptConnection

# Short, so that a round is short.
LEASE_SECONDS = 1.0
_CREATE = "mutation($input: CreateAiTaskInput!) { createAiTask(input: $input) { id } }"
_SETTINGS = {
    "CRM_AI_TASK_LEASE_SECONDS": str(LEASE_SECONDS),
    "CRM_WORKER_HEARTBEAT_SECONDS": "0.3",
    "CRM_WORKER_STALLED_SECONDS": "1.5",
    "CRM_WORKER_POLL_SECONDS": "0.1",
    "CRM_WORKER_GRACE_SECONDS": "10",
    "CRM_CONNECT_TIMEOUT_SECONDS": "2",
    "CRM_LOG_FORMAT": "json",
}


class Crew:
    """One worker process with the tests' `echo`."""

    def __init__(self, url: str, folder: Path, number: int, settings: dict[str, str]) -> None:
        self._log = folder / f"worker{number}.log"
        given = {"DATABASE_URL": url, "FAULT_JOURNAL": str(folder / "journal")}
        environment = {**os.environ, **_SETTINGS, **settings, **given}
        self.process = children.start_module("tests.faults.crew", [], self._log, environment)

    async def started(self) -> "Crew":
        deadline = time.monotonic() + 20
        while '"worker.started"' not in self.log():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            await asyncio.sleep(0.02)
        return self

    async def ended(self) -> int:
        return await asyncio.to_thread(self.process.wait, 20)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def end(self) -> None:
        """Kill it, if it lives."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait(10)


class Ledger:
    """The tasks of one test: what the API acknowledged, what the workers' journal says, what the database holds."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.acknowledged: list[str] = []
        self._journal = folder / "journal"
        self._connection = KeptConnection(url)

    def move(self, url: str) -> None:
        """Look at another server from now on."""
        self.close()
        self.url = url
        self._connection = KeptConnection(url)

    def close(self) -> None:
        self._connection.close()

    async def create(self, server, do: str, *, count: int = 1, **given) -> list[str]:
        """Create tasks over the API; their ids, in order."""
        options: dict[str, Any] = {
            key: given.pop(key) for key in ("priority", "maxRetries", "timeoutSeconds") if key in given
        }
        task = {"taskType": "echo", "input": {"message": json.dumps({"do": do, **given})}, **options}
        headers = {"Authorization": f"Bearer {server.token()}"}
        keys = []
        async with AsyncClient(base_url=server.url, headers=headers, timeout=10) as client:
            for _ in range(count):
                answer = await client.post("/graphql", json={"query": _CREATE, "variables": {"input": task}})
                keys.append(answer.json()["data"]["createAiTask"]["id"])
        self.acknowledged += keys
        return keys

    async def cancel(self, server, key: str) -> None:
        headers = {"Authorization": f"Bearer {server.token()}"}
        async with AsyncClient(base_url=server.url, headers=headers, timeout=10) as client:
            (await client.put(f"/api/ai/tasks/{key}/cancel")).raise_for_status()

    def rows(self, statement: str, *params) -> list[dict]:
        return self._connection.rows(statement, *params)

    def journal(self, what: str) -> list[tuple[str, int]]:
        """Which attempts did this, in order."""
        lines = self._journal.read_text().splitlines() if self._journal.exists() else []
        found = [json.loads(line) for line in lines]
        return [(one["task"], one["attempt"]) for one in found if one["what"] == what]

    def let_go(self) -> None:
        """Let the tasks end that `wait`."""
        Path(f"{self._journal}.go").touch()

    async def until(self, condition, seconds: float = 20, *, pause: float = 0.02):
        """Wait until something is so, also while PostgreSQL is away."""
        deadline = time.monotonic() + seconds
        while True:
            with suppress(psycopg.OperationalError):
                if found := condition():
                    return found
            assert time.monotonic() < deadline, self.rows("SELECT * FROM ai_tasks WHERE status <> 'completed' LIMIT 3")
            await asyncio.sleep(pause)

    async def all_final(self, seconds: float = 30) -> float:
        """Wait until nothing is left to do; how long that took."""
        start = time.monotonic()
        statement = "SELECT count(*) AS n FROM ai_tasks WHERE finished_at IS NULL"
        left = "SELECT 1 FROM procrastinate_jobs WHERE queue_name = 'ai'"
        await self.until(lambda: not self.rows(statement)[0]["n"], seconds, pause=0.05)
        await self.until(lambda: not self.rows(left), seconds, pause=0.05)
        return time.monotonic() - start

    def compare(self, *outcomes: str) -> dict[str, int]:
        """Assert that each acknowledged task was completed, once; other attempts ended in these ways."""
        tasks = {str(row["id"]): row for row in self.rows("SELECT * FROM ai_tasks")}
        assert set(self.acknowledged) <= set(tasks)
        attempts = self.rows("SELECT * FROM ai_task_attempts ORDER BY task_id, number")
        events = self.rows("SELECT entity_id, type, fields FROM events WHERE entity = 'ai_task' ORDER BY xid, id")
        began, ended = Counter(self.journal("began")), set(self.journal("ended"))
        assert set(began.values()) <= {1}  # no attempt ran twice
        assert set(began) <= {(str(one["task_id"]), one["number"]) for one in attempts}
        for key, task in tasks.items():
            mine = [one for one in attempts if str(one["task_id"]) == key]
            self._completed_once(task, mine, ended, outcomes)
            self._told_once(task, [one for one in events if one["entity_id"] == key])
        again = sum(task["attempt"] > 1 for task in tasks.values())
        return {"tasks": len(tasks), "attempts": len(attempts), "run_again": again}

    @staticmethod
    def _completed_once(task: dict, attempts: list[dict], ended: set, outcomes: tuple[str, ...]) -> None:
        assert task["status"] == "completed", task
        assert [one["number"] for one in attempts] == list(range(1, task["attempt"] + 1))
        done = [one["number"] for one in attempts if one["outcome"] == "completed"]
        assert done == [task["result"]["attempt"]], (task, attempts)
        assert (str(task["id"]), done[0]) in ended
        assert {one["outcome"] for one in attempts} <= {"completed", *outcomes}, attempts
        assert all(one["finished_at"] for one in attempts)
        assert task["lease_token"] is None
        assert task["job_id"] is None

    @staticmethod
    def _told_once(task: dict, events: list[dict]) -> None:
        assert events[0]["type"] == "ai_task.created"
        types = Counter(one["type"] for one in events)
        assert types["ai_task.created"] == 1
        assert types["ai_task.started"] == task["attempt"]
        ways = [change["after"] for one in events for change in one["fields"] or () if change["name"] == "status"]
        assert ways.count("COMPLETED") == 1, ways
        assert ways[-1] == "COMPLETED"
