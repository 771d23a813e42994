"""The REST of AI tasks, from creating one to cleaning up."""

import asyncio
import time

import httpx2
import psycopg
import pytest
from psycopg import sql

from tests.support.clusters import create_migrated_database
from tests.support.http_client import AsyncClient
from tests.support.rest_client import ECHO, NOBODY, TASKS, refused
from tests.support.servers import Server

WAITING = """
    SELECT count(*) AS waiting FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND wait_event_type = 'Lock'
      AND query NOT LIKE '%lease_expires_at%'
"""


@pytest.fixture
def create(api):
    async def created(**values):
        response = await api.post(TASKS, json={**ECHO, **values})
        assert response.status_code == 201, response.text
        return response.json()

    return created


class TestCreate:
    async def test_says_where_the_task_is(self, api):
        created = await api.post(TASKS, json=ECHO)
        assert created.status_code == 201
        task = created.json()
        assert created.headers["location"] == f"{TASKS}/{task['id']}"
        assert (task["status"], task["priority"], task["input"]) == ("QUEUED", "NORMAL", {"message": "Hej Åsa"})
        found = (await api.get(created.headers["location"])).json()
        assert found.items() >= {name: value for name, value in task.items() if name != "waitMs"}.items()
        assert (found["attempts"], found["positionInQueue"]) == ([], 1)

    async def test_the_same_key_again_is_the_same_task_and_a_200(self, api, create):
        task = await create(idempotencyKey="a")
        again = await api.post(TASKS, json={**ECHO, "idempotencyKey": "a"})
        assert (again.status_code, again.json()["id"]) == (200, task["id"])
        assert again.headers["location"] == f"{TASKS}/{task['id']}"
        await api.put(f"{TASKS}/{task['id']}/cancel")
        again = await api.post(TASKS, json={**ECHO, "idempotencyKey": "a"})
        assert (again.status_code, again.json()["status"]) == (200, "CANCELLED")
        await create(idempotencyKey="b")

    async def test_one_of_many_at_once_creates_it(self, api):
        body = {**ECHO, "idempotencyKey": "a"}
        answers = await asyncio.gather(*(api.post(TASKS, json=body) for _ in range(8)))
        assert sorted(one.status_code for one in answers) == [200] * 7 + [201]
        assert len({one.json()["id"] for one in answers}) == 1

    async def test_a_key_of_another_task_is_a_conflict(self, api, create):
        task = await create(idempotencyKey="a")
        error = refused(await api.post(TASKS, json={"taskType": "echo", "idempotencyKey": "a"}), 409, "CONFLICT")
        assert error["existingId"] == task["id"]

    async def test_is_seen_by_whose_it_is_and_by_admins(self, api, create, server, make_user):
        user = make_user(role="member")
        mine = {"Authorization": f"Bearer {server.token('member', email=user['email'])}"}
        theirs = await create()
        task = (await api.post(TASKS, json=ECHO, headers=mine)).json()
        assert [one["id"] for one in (await api.get(TASKS, headers=mine)).json()] == [task["id"]]
        assert [one["id"] for one in (await api.get(TASKS)).json()] == [task["id"], theirs["id"]]
        refused(await api.get(f"{TASKS}/{theirs['id']}", headers=mine), 404, "NOT_FOUND")
        refused(await api.put(f"{TASKS}/{theirs['id']}/cancel", headers=mine), 404, "NOT_FOUND")


class TestBatch:
    async def test_adds_all(self, api):
        response = await api.post(f"{TASKS}/batch", json={"inputs": [ECHO, {**ECHO, "priority": "URGENT"}]})
        assert response.status_code == 201
        assert [one["priority"] for one in response.json()] == ["NORMAL", "URGENT"]
        assert len((await api.get(TASKS)).json()) == 2

    async def test_is_a_201_if_anything_is_new(self, api):
        known, new = ({**ECHO, "idempotencyKey": one} for one in "ab")
        for inputs, status in (([known], 201), ([known], 200), ([known, new], 201), ([new, known], 200)):
            response = await api.post(f"{TASKS}/batch", json={"inputs": inputs})
            assert (response.status_code, len(response.json())) == (status, len(inputs))

    async def test_or_none(self, api):
        inputs = [ECHO, {"taskType": "nothing"}, ECHO]
        error = refused(await api.post(f"{TASKS}/batch", json={"inputs": inputs}), 400)
        assert "echo" in error["detail"]
        assert (await api.get(TASKS)).json() == []

    async def test_of_a_hundred_at_most(self, api):
        error = refused(await api.post(f"{TASKS}/batch", json={"inputs": [ECHO] * 101}), 400)
        assert error["limit"] == 100
        assert (await api.get(TASKS)).json() == []

    async def test_a_value_that_does_not_fit_has_its_place(self, api):
        inputs = [ECHO, {**ECHO, "maxRetries": "many"}]
        error = refused(await api.post(f"{TASKS}/batch", json={"inputs": inputs}), 400)
        assert error["field"] == "inputs.1.maxRetries"

    async def test_an_unknown_member_is_a_mistake(self, api):
        error = refused(await api.post(f"{TASKS}/batch", json={"tasks": [ECHO]}), 400)
        assert (error["field"], error["known"]) == ("tasks", ["inputs"])


class TestList:
    async def ids(self, api, query=""):
        response = await api.get(f"{TASKS}{query}")
        assert response.status_code == 200, response.text
        return [one["id"] for one in response.json()]

    async def test_is_newest_first_and_paged(self, api, create):
        ids = [(await create())["id"] for _ in range(5)][::-1]
        assert await self.ids(api) == ids
        assert await self.ids(api, "?limit=2") == ids[:2]
        assert await self.ids(api, "?limit=2&offset=4") == ids[4:]
        assert await self.ids(api, "?direction=asc") == ids[::-1]
        assert await self.ids(api, "?limit=0") == []

    async def test_can_be_narrowed(self, api, create, make_lead):
        lead = make_lead()["id"]
        urgent = await create(priority="URGENT", agentId="night shift", idempotencyKey="k")
        about = await create(leadId=lead)
        cancelled = await create(priority="LOW")
        await api.put(f"{TASKS}/{cancelled['id']}/cancel")
        expected = {
            f"?leadId={lead}": [about],
            "?status=cancelled": [cancelled],
            "?status=QUEUED&status=CANCELLED": [cancelled, about, urgent],
            "?status=queued,running": [about, urgent],
            "?priority=URGENT,LOW": [cancelled, urgent],
            "?priority=URGENT,LOW&status=QUEUED": [urgent],
            "?agentId=night%20shift": [urgent],
            "?taskType=echo": [cancelled, about, urgent],
            "?taskType=lead_summary": [],
            "?createdAfter=2026-01-01T00:00:00Z": [cancelled, about, urgent],
            "?createdBefore=2026-01-01T00:00:00%2B01:00": [],
            "?finishedAfter=2026-01-01T00:00:00Z": [cancelled],
            "?finishedAfter=2026-01-01T00:00:00Z&finishedBefore=2026-01-02T00:00:00Z": [],
            "?finishedBefore=2199-01-01T00:00:00Z": [cancelled],
            "?idempotencyKey=k": [urgent],
            "?idempotencyKey=K": [],
            f"?createdBy={urgent['createdBy']}": [cancelled, about, urgent],
            f"?createdBy={NOBODY}": [],
            "?orderBy=priority&direction=desc": [urgent, about, cancelled],
        }
        for query, tasks in expected.items():
            assert await self.ids(api, query) == [one["id"] for one in tasks], query

    async def test_leaves_out_what_may_be_large(self, api, create):
        await create()
        (task,) = (await api.get(TASKS)).json()
        assert not {"input", "result", "attempts"} & set(task)


class TestPages:
    async def pages(self, api, query):
        """The pages, as a client finds them that follows `Link`."""
        found, place = [], f"{TASKS}{query}"
        while place:
            response = await api.get(place)
            assert response.status_code == 200, response.text
            found.append([one["id"] for one in response.json()])
            place = response.links.get("next", {}).get("url")
        return found

    async def test_a_full_page_says_where_the_next_one_is(self, api, create):
        ids = [(await create())["id"] for _ in range(5)][::-1]
        assert await self.pages(api, "?limit=2") == [ids[:2], ids[2:4], ids[4:]]
        assert await self.pages(api, "?limit=2&offset=1") == [ids[1:3], ids[3:], []]
        assert await self.pages(api, "") == [ids]
        assert await self.pages(api, "?limit=0") == [[]]
        response = await api.head(f"{TASKS}?limit=2")
        assert response.headers["link"] == f'<{TASKS}?limit=2&offset=2>; rel="next"'

    async def test_it_keeps_the_other_parameters(self, api, create):
        hostile = 'a&b=c>; rel="x"\u00e5+%'
        ids = [(await create(agentId=hostile, priority=one))["id"] for one in ("LOW", "HIGH", "LOW")]
        await create()
        query = str(httpx2.QueryParams({"agentId": hostile, "priority": "low,high", "limit": "1", "direction": "ASC"}))
        assert await self.pages(api, f"?{query}") == [[ids[0]], [ids[1]], [ids[2]], []]

    async def test_without_a_limit_a_page_has_fifty(self, api):
        await api.post(f"{TASKS}/batch", json={"inputs": [ECHO] * 51})
        assert [len(page) for page in await self.pages(api, "")] == [50, 1]


class TestCancelAndRetry:
    async def test_a_waiting_one(self, api, create):
        place = f"{TASKS}/{(await create())['id']}"
        cancelled = await api.put(f"{place}/cancel")
        assert cancelled.status_code == 200
        assert (cancelled.json()["status"], cancelled.json()["canRetry"]) == ("CANCELLED", True)
        error = refused(await api.put(f"{place}/cancel"), 409, "CONFLICT")
        assert error["currentStatus"] == "CANCELLED"
        retried = await api.post(f"{place}/retry")
        assert (retried.status_code, retried.json()["status"]) == (202, "QUEUED")
        assert retried.headers["location"] == place
        refused(await api.post(f"{place}/retry"), 409, "CONFLICT")

    async def test_by_get_as_old_clients_do(self, api, create):
        place = f"{TASKS}/{(await create())['id']}"
        await api.put(f"{place}/cancel")
        retried = await api.get(f"{place}/retry")
        assert (retried.status_code, retried.json()["status"]) == (202, "QUEUED")
        assert retried.headers["deprecation"].startswith("@17")
        assert retried.headers["link"] == f'<{place}/retry>; rel="successor-version"'
        posted = await api.post(f"{place}/retry")
        assert not {"deprecation", "link"} & set(posted.headers)

    async def test_a_look_does_not_retry(self, api, create):
        place = f"{TASKS}/{(await create())['id']}"
        await api.put(f"{place}/cancel")
        await api.head(f"{place}/retry")
        assert (await api.get(place)).json()["status"] == "CANCELLED"

    async def test_nothing_gets_into_a_header(self, api):
        response = await api.get(f"{TASKS}/x%0d%0aevil:1/retry")
        assert "evil" not in response.headers
        assert "%0d%0a" in response.headers["link"]


class TestNumbers:
    async def test_of_the_queue(self, api, create):
        await create()
        await create(priority="URGENT")
        await create(scheduledFor="2027-01-01T00:00:00Z")
        status = (await api.get(f"{TASKS}/queue/status")).json()
        assert (status["queued"], status["scheduled"], status["running"], status["retrying"]) == (3, 1, 0, 0)
        assert status["byPriority"] == [{"priority": "URGENT", "waiting": 1}, {"priority": "NORMAL", "waiting": 2}]
        assert 0 <= status["oldestWaitingMs"] < 60_000
        assert status["costTodayUsd"] == "0"


class TestCleaningUp:
    async def test_removes_what_ended_long_ago(self, api, create, db):
        old, new = await create(), await create()
        for task in (old, new):
            await api.put(f"{TASKS}/{task['id']}/cancel")
        db.execute("UPDATE ai_tasks SET finished_at = now() - interval '8 days' WHERE id = %s", (old["id"],))
        assert (await api.post(f"{TASKS}/cleanup/old")).json() == {"count": 1, "more": False}
        assert [one["id"] for one in (await api.get(TASKS)).json()] == [new["id"]]
        assert (await api.post(f"{TASKS}/cleanup/old", json={"olderThanDays": 30})).json()["count"] == 0

    async def test_finds_tasks_whose_worker_is_gone(self, api, create, db):
        task = await create()
        db.execute(
            "UPDATE ai_tasks SET status = 'running', attempt = 1, lease_token = gen_random_uuid(), "
            "lease_expires_at = now() - interval '1 minute', started_at = now() WHERE id = %s",
            (task["id"],),
        )
        db.execute(
            "INSERT INTO ai_task_attempts (id, task_id, number, worker) VALUES (gen_random_uuid(), %s, 1, 'gone')",
            (task["id"],),
        )
        assert (await api.post(f"{TASKS}/cleanup/timeout-stale")).json() == {"count": 1}
        found = (await api.get(f"{TASKS}/{task['id']}")).json()
        assert (found["status"], found["attempts"][0]["outcome"]) == ("RETRYING", "LOST")

    @pytest.mark.parametrize("what", ["old", "timeout-stale"])
    async def test_is_for_admins(self, api, server, what):
        headers = {"Authorization": f"Bearer {server.token('member')}"}
        refused(await api.post(f"{TASKS}/cleanup/{what}", headers=headers), 403, "FORBIDDEN")

    async def test_takes_a_number_of_days(self, api):
        error = refused(await api.post(f"{TASKS}/cleanup/old", json={"olderThanDays": "all"}), 400)
        assert error["field"] == "olderThanDays"


@pytest.fixture
def health(api):
    """Ask until the answer has this status: one that is a second old may still be given."""

    async def found(status, **options):
        deadline = time.monotonic() + 3
        while (response := await api.get(f"{TASKS}/health", **options)).json()["status"] != status:
            assert time.monotonic() < deadline, response.text
            await asyncio.sleep(0.1)
        return response

    return found


class TestHealth:
    async def test_is_ill_when_tasks_wait_and_nobody_works(self, create, health, db):
        db.execute("DELETE FROM procrastinate_workers")
        assert (await health("degraded")).status_code == 200
        await create()
        db.execute("UPDATE ai_tasks SET due_at = now() - interval '2 minutes'")
        found = await health("down")
        assert found.status_code == 503
        assert found.headers["content-type"] == "application/json; charset=utf-8"
        assert "crm worker" in found.json()["reasons"][0]

    async def test_shows_each_role_what_graphql_shows_it(self, api, server, graphql):
        for role in ("viewer", "member", "admin"):
            headers = {"Authorization": f"Bearer {server.token(role)}"}
            answer = await graphql("{ aiStatus { provider } }", role=role, expect_errors=True)
            found = (await api.get(f"{TASKS}/health", headers=headers)).json()
            assert {"status", "reasons", "queue"} <= set(found)
            assert ("provider" in found) == (answer["data"] is not None) == (role != "viewer")

    async def test_is_read_once_a_second_however_many_ask(self, server, create, health, database_url, db):
        """While the table is locked a read waits, so that they can be counted."""
        await create()
        async with AsyncClient(base_url=server.url, timeout=20) as nobody:
            await asyncio.sleep(1.1)  # what was read before is forgotten
            with psycopg.connect(database_url) as connection:
                connection.execute("LOCK TABLE ai_tasks IN ACCESS EXCLUSIVE MODE")
                asked = [asyncio.create_task(nobody.get(f"{TASKS}/health")) for _ in range(30)]
                await asyncio.sleep(0.7)
                waiting = db.execute(WAITING).fetchone()["waiting"]
                asked[0].cancel()  # whoever asked first may go away
            answers = await asyncio.gather(*asked[1:])
            assert waiting == 1
            assert {one.status_code for one in answers} == {200}
            db.execute("UPDATE ai_tasks SET due_at = now() - interval '2 minutes'")
            assert (await nobody.get(f"{TASKS}/health")).status_code == 200
        assert (await health("down")).status_code == 503

    async def test_is_ill_without_a_database(self, database_url, tmp_path):
        base = database_url.replace("/crm?", "/postgres?")
        url = create_migrated_database(database_url, "short_lived")
        server = Server(url, tmp_path / "log").start()
        try:
            with psycopg.connect(base, autocommit=True) as connection:
                connection.execute(sql.SQL("DROP DATABASE short_lived WITH (FORCE)"))
            async with AsyncClient(base_url=server.url, timeout=20) as nobody:
                found = await nobody.get(f"{TASKS}/health")
            assert (found.status_code, found.json()) == (503, {"status": "down"})
        finally:
            server.stop()


class TestNobody:
    async def test_gets_anything_but_the_health(self, server, db):  # noqa: ARG002
        async with AsyncClient(base_url=server.url) as nobody:
            for method, path in [
                ("GET", f"{TASKS}/queue/status"),
                ("GET", f"{TASKS}/statistics/summary"),
                ("POST", f"{TASKS}/batch"),
                ("POST", f"{TASKS}/cleanup/old"),
                ("POST", f"{TASKS}/cleanup/timeout-stale"),
                ("GET", f"{TASKS}/{NOBODY}/retry"),
            ]:
                refused(await nobody.request(method, path), 401, "UNAUTHENTICATED")
