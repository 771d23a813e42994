"""Slots of a worker: all of them for who is alone, at most half of them while others wait."""

import pytest

from tests.support.http_client import AsyncClient
from tests.support.servers import Server

pytestmark = pytest.mark.waits(10)

CREATE = "mutation($input: CreateAiTaskInput!) { createAiTask(input: $input) { id } }"
SLOTS = 4
# For each moment at which an admin's task began or before which it waited: how many of the member's ran.
MOST_AT_ONCE = """
SELECT max(held) AS most FROM (
  SELECT (
    SELECT count(*) FROM ai_tasks AS other
    WHERE other.created_by = task.created_by
      AND other.started_at <= task.started_at AND other.stopped_at > task.started_at
  ) AS held
  FROM ai_tasks AS task
  WHERE task.created_by = (SELECT id FROM users WHERE email = 'service-member@crm.invalid') AND task.started_at < %s
) AS moment
"""


@pytest.fixture
def pile(create):
    """Put tasks of a user into the queue."""

    async def up(count, role, **given):
        return [(await create(str(number), role=role, **given))["id"] for number in range(count)]

    return up


class TestSlots:
    async def test_of_who_is_alone_are_all(self, pile, reaches, start_worker, db):
        alone = await pile(SLOTS, "member", input={"seconds": 1})
        start_worker(CRM_WORKER_CONCURRENCY=str(SLOTS))
        for key in alone:
            await reaches(key, "COMPLETED")
        assert db.execute(MOST_AT_ONCE, ("infinity",)).fetchone()["most"] == SLOTS

    async def test_are_half_while_others_wait(self, pile, reaches, start_worker, db, jobs_gone):
        many = await pile(20, "member", priority="URGENT", input={"seconds": 0.5})
        few = await pile(6, "admin", priority="LOW", input={"seconds": 0.5})
        start_worker(CRM_WORKER_CONCURRENCY=str(SLOTS))
        for key in few:
            await reaches(key, "COMPLETED", seconds=30)
        last = db.execute("SELECT max(started_at) AS at FROM ai_tasks WHERE priority = 'low'").fetchone()["at"]
        assert db.execute(MOST_AT_ONCE, (last,)).fetchone()["most"] == SLOTS // 2
        for key in many:
            await reaches(key, "COMPLETED", seconds=30)
        attempts = db.execute("SELECT task_id, outcome FROM ai_task_attempts").fetchall()
        assert len({row["task_id"] for row in attempts}) == len(attempts) == 26, "each ran once"
        await jobs_gone()

    async def test_come_back_to_who_waits_when_one_ends(self, pile, reaches, start_worker):
        """All slots are one user's by the time another comes."""
        many = await pile(12, "member", input={"seconds": 1})
        start_worker(CRM_WORKER_CONCURRENCY=str(SLOTS))
        await reaches(many[0], "RUNNING")
        (late,) = await pile(1, "admin", priority="LOW")
        await reaches(late, "COMPLETED")
        assert (await reaches(many[-1], "QUEUED", "RUNNING", "COMPLETED"))["status"] == "QUEUED"

    async def test_of_who_gave_way_can_be_cancelled(self, pile, reaches, start_worker, graphql, jobs_gone):
        many = await pile(8, "member", input={"seconds": 1.5})
        few = await pile(4, "admin", input={"seconds": 1.5})
        start_worker(CRM_WORKER_CONCURRENCY=str(SLOTS))
        for key in few[:2]:
            await reaches(key, "RUNNING")
        for key in many:
            await graphql("mutation($id: ID!) { cancelAiTask(id: $id) { id } }", id=key)
        for key in few:
            await reaches(key, "COMPLETED")
        for key in many:
            await reaches(key, "CANCELLED")
        await jobs_gone()


class TestEcho:
    async def test_is_short_unless_it_is_allowed_to_be_long(self, database_url, db, tmp_path):  # noqa: ARG002
        server = Server(database_url, tmp_path / "log", CRM_AI_TASK_ECHO_SECONDS="5").start()
        try:
            headers = {"Authorization": f"Bearer {server.token('member')}"}
            async with AsyncClient(base_url=server.url, headers=headers) as client:
                answers = [
                    (await client.post("/graphql", json={"query": CREATE, "variables": {"input": given}})).json()
                    for given in ({"taskType": "echo", "input": {"seconds": seconds}} for seconds in (5, 5.1))
                ]
        finally:
            server.stop()
        assert answers[0]["data"]["createAiTask"]
        (error,) = answers[1]["errors"]
        assert (error["extensions"]["code"], error["extensions"]["field"]) == ("BAD_USER_INPUT", "input.seconds")
        assert "5" in error["message"]
