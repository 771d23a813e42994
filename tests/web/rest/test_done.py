"""The REST of AI tasks that a worker does."""

import asyncio

from tests.support.http_client import AsyncClient
from tests.support.rest_client import ECHO, TASKS, refused


class TestTasks:
    async def test_a_running_one_stops(self, busy):
        created = await busy.post(TASKS, json={"taskType": "echo", "input": {"seconds": 60}, "timeoutSeconds": 120})
        place = created.headers["location"]
        async with asyncio.timeout(10):
            while (await busy.get(place)).json()["status"] != "RUNNING":
                await asyncio.sleep(0.05)
        assert (await busy.put(f"{place}/cancel")).json()["status"] == "CANCELLED"
        await asyncio.sleep(1)
        task = (await busy.get(place)).json()
        assert (task["status"], task["attempts"][0]["outcome"]) == ("CANCELLED", "CANCELLED")

    async def test_one_that_is_done_is_not_done_again(self, busy, ended):
        created = await busy.post(TASKS, json=ECHO)
        task = await ended(created.json()["id"])
        assert (task["status"], task["result"]["message"]) == ("COMPLETED", "Hej Åsa")
        refused(await busy.post(f"{created.headers['location']}/retry"), 409, "CONFLICT")
        refused(await busy.put(f"{created.headers['location']}/cancel"), 409, "CONFLICT")

    async def test_one_that_failed_tells_why_and_can_be_done_again(self, busy, ended):
        created = await busy.post(TASKS, json={**ECHO, "input": {"failures": 1}, "maxRetries": 0})
        task = await ended(created.json()["id"])
        assert (task["status"], task["canRetry"]) == ("FAILED", True)
        assert task["error"]
        await busy.post(f"{created.headers['location']}/retry")
        task = await ended(created.json()["id"])
        assert (task["status"], [one["outcome"] for one in task["attempts"]]) == ("COMPLETED", ["FAILED", "COMPLETED"])


class TestStatistics:
    async def test_of_what_was_done(self, busy, ended):
        for body in (ECHO, {**ECHO, "input": {"failures": 1}, "maxRetries": 0}):
            await ended((await busy.post(TASKS, json=body)).json()["id"])
        summary = (await busy.get(f"{TASKS}/statistics/summary")).json()
        assert (summary["total"], summary["completed"], summary["failed"], summary["successRate"]) == (2, 1, 1, 0.5)
        assert [(one["key"], one["tasks"]) for one in summary["byType"]] == [("echo", 2)]
        before = await busy.get(f"{TASKS}/statistics/summary?to=2026-01-01T00:00:00Z")
        assert before.json()["total"] == 0
        error = refused(await busy.get(f"{TASKS}/statistics/summary?from=monday"), 400)
        assert error["field"] == "from"


class TestHealth:
    async def test_is_well_with_a_worker(self, busy):
        found = await busy.get(f"{TASKS}/health")
        assert found.status_code == 200
        health = found.json()
        assert (health["status"], health["reasons"], health["queue"]["workers"]) == ("ok", [], 1)
        assert (health["provider"]["provider"], health["provider"]["healthy"]) == ("playbook", True)

    async def test_strangers_see_the_word_alone(self, working, db):  # noqa: ARG002
        async with AsyncClient(base_url=working.url) as nobody:
            found = await nobody.get(f"{TASKS}/health")
            assert (found.status_code, found.json()) == (200, {"status": "ok"})
            assert (await nobody.head(f"{TASKS}/health")).status_code == 200
            wrong = await nobody.get(f"{TASKS}/health", headers={"Authorization": "Bearer nonsense"})
            refused(wrong, 401, "UNAUTHENTICATED")
