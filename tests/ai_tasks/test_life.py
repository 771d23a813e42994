"""What users do with AI tasks, and what they are refused."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import psycopg
import pytest

from tests.support.waiting import eventually

from .conftest import CREATE

pytestmark = pytest.mark.waits(15)

MANY = "mutation($inputs: [CreateAiTaskInput!]!) { createAiTasks(inputs: $inputs) { id taskType positionInQueue } }"
CANCEL = "mutation($id: ID!) { cancelAiTask(id: $id) { id status canRetry attempts { outcome } } }"
RETRY = "mutation($id: ID!) { retryAiTask(id: $id) { id status attempt positionInQueue } }"
PRIORITY = """mutation($id: ID!, $to: AiTaskPriority!) {
  updateAiTaskPriority(id: $id, priority: $to) { priority positionInQueue status } }"""
RATE = "mutation($id: ID!, $score: Float!) { rateAiTask(id: $id, score: $score) { qualityScore } }"
STATUS = """{ aiTaskQueueStatus { queued running retrying scheduled oldestWaitingMs completedLastHour failedLastHour
  costTodayUsd byPriority { priority waiting } } }"""
STATISTICS = """query($from: DateTime, $to: DateTime) { aiTaskStatistics(from: $from, to: $to) {
  total completed failed cancelled timedOut successRate attempts tokens costUsd unpriced averageQuality averageRunMs
  byType { key tasks completed costUsd } byDay { key tasks costUsd } } }"""
CLEAN = "mutation($days: Int) { cleanupOldAiTasks(olderThanDays: $days) { count more } }"
WAITING = "SELECT count(*) AS count FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
NOBODY = "0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f10"


@pytest.fixture
def error_of(graphql):
    async def run(query, **variables):
        answer = await graphql(query, expect_errors=True, **variables)
        assert answer.get("errors"), answer
        return {"message": answer["errors"][0]["message"], **answer["errors"][0]["extensions"]}

    return run


@pytest.fixture
def finished(db):
    """Put tasks into the table that ended some days ago."""

    def make(count, days, *, status="completed", cost="0.0000000001", task_type="echo", role="admin"):
        db.execute(
            "INSERT INTO ai_tasks (id, task_type, status, cost_usd, tokens, attempt, created_by, created_at,"
            " due_at, started_at, stopped_at, finished_at)"
            " SELECT gen_random_uuid(), %s, %s, %s::numeric, 3, 1, (SELECT id FROM users WHERE email = %s),"
            " began, began, began, ended, ended"
            " FROM generate_series(1, %s), (SELECT now() - make_interval(days => %s, secs => 10) AS began,"
            " now() - make_interval(days => %s, secs => 8) AS ended) AS times",
            (task_type, status, cost, f"service-{role}@crm.invalid", count, days, days),
        )

    return make


class TestCreate:
    async def test_refuses_an_unknown_type_and_names_the_known(self, error_of):
        error = await error_of(CREATE, input={"taskType": "nonsense"})
        assert (error["code"], error["field"]) == ("BAD_USER_INPUT", "taskType")
        assert error["known"] == ["echo", "lead_summary", "score_recalculation", "task_recommendations"]

    @pytest.mark.parametrize(
        ("given", "field"),
        [
            ({"input": {"message": 1}}, "input.message"),
            ({"input": {"nonsense": 1}}, "input.nonsense"),
            ({"input": {"seconds": -1}}, "input.seconds"),
            ({"input": [1]}, "input"),
            ({"input": "text"}, "input"),
            ({"input": {"message": "\x00"}}, None),
            ({"maxRetries": 11}, "maxRetries"),
            ({"maxRetries": -1}, "maxRetries"),
            ({"timeoutSeconds": 0}, "timeoutSeconds"),
            ({"timeoutSeconds": 3601}, "timeoutSeconds"),
            ({"taskType": "lead_summary"}, "leadId"),
            ({"scheduledFor": "2199-01-01T00:00:00Z"}, "scheduledFor"),
            ({"idempotencyKey": "x" * 201}, "idempotencyKey"),
            ({"idempotencyKey": " "}, "idempotencyKey"),
            ({"agentId": "x" * 101}, "agentId"),
        ],
        ids=str,
    )
    async def test_refuses_what_cannot_run(self, error_of, db, given, field):
        error = await error_of(CREATE, input={"taskType": "echo", **given})
        assert error["code"] == "BAD_USER_INPUT", error
        assert field is None or error["field"] == field
        for table in ("ai_tasks", "procrastinate_jobs", "events"):
            assert not db.execute(f"SELECT FROM {table}").fetchall()

    async def test_refuses_a_large_input(self, error_of, client):
        assert (await error_of(CREATE, input={"taskType": "echo", "input": {"message": "x" * 10_001}}))[
            "field"
        ] == "input.message"
        body = {"query": CREATE, "variables": {"input": {"taskType": "echo", "input": {"message": "x" * 2**20}}}}
        response = await client.post("/graphql", json=body)
        assert response.status_code == 413
        assert response.json()["errors"][0]["extensions"]["code"] == "TOO_LARGE"

    async def test_refuses_a_lead_that_is_not_there(self, error_of, make_lead):
        gone = make_lead(deleted=True)["id"]
        for lead in (gone, 999_999):
            error = await error_of(CREATE, input={"taskType": "lead_summary", "leadId": lead})
            assert error["code"] == "NOT_FOUND"

    async def test_runs_at_once_what_is_scheduled_in_the_past(self, create):
        task = await create(scheduledFor="2020-01-01T00:00:00Z")
        assert task["positionInQueue"] == 1

    async def test_keeps_what_is_scheduled_for_later(self, create, start_worker, show):
        later = (datetime.now(UTC) + timedelta(days=200)).isoformat()
        task = await create(scheduledFor=later)
        assert (task["positionInQueue"], task["waitMs"]) == (None, None)
        start_worker()
        await asyncio.sleep(1)
        assert (await show(task["id"]))["status"] == "QUEUED"

    async def test_the_same_key_gives_the_same_task(self, create, error_of, db):
        tasks = await asyncio.gather(*(create("x", idempotencyKey="k") for _ in range(10)))
        assert len({task["id"] for task in tasks}) == 1
        assert len(db.execute("SELECT FROM procrastinate_jobs").fetchall()) == 1
        other = await create("x", idempotencyKey="k", role="member")
        assert other["id"] != tasks[0]["id"]
        error = await error_of(CREATE, input={"taskType": "echo", "input": {"message": "y"}, "idempotencyKey": "k"})
        assert (error["code"], error["existingId"]) == ("CONFLICT", tasks[0]["id"])


class TestCreateMany:
    async def test_creates_all_in_order(self, graphql):
        found = (await graphql(MANY, inputs=[{"taskType": "echo"}] * 100))["createAiTasks"]
        assert [task["positionInQueue"] for task in found] == list(range(1, 101))

    async def test_or_none(self, error_of, db):
        error = await error_of(MANY, inputs=[{"taskType": "echo"}, {"taskType": "nonsense"}])
        assert error["code"] == "BAD_USER_INPUT"
        assert not db.execute("SELECT FROM ai_tasks").fetchall()
        assert not db.execute("SELECT FROM procrastinate_jobs").fetchall()

    @pytest.mark.parametrize("count", [0, 101])
    async def test_refuses_too_many_and_none(self, error_of, db, count):
        error = await error_of(MANY, inputs=[{"taskType": "echo"}] * count)
        assert (error["code"], error["limit"]) == ("BAD_USER_INPUT", 100)
        assert not db.execute("SELECT FROM ai_tasks").fetchall()

    async def test_takes_keys_in_one_order_so_that_no_two_batches_lock_each_other_out(self, graphql, database_url, db):
        given = [{"taskType": "echo", "idempotencyKey": key} for key in "ba"]
        me = db.execute("SELECT id FROM users WHERE email = 'service-admin@crm.invalid'").fetchone()["id"]
        insert = "INSERT INTO ai_tasks (id, task_type, created_by, idempotency_key) VALUES (%s, 'echo', %s, %s)"
        with psycopg.connect(database_url) as other:
            other.execute("SET lock_timeout = '500ms'")  # less than PostgreSQL takes to find a deadlock
            other.execute(insert, [UUID(int=1), me, "a"])
            batch = asyncio.create_task(graphql(MANY, inputs=given))
            await eventually(lambda: db.execute(WAITING).fetchone()["count"])
            other.execute(insert, [UUID(int=2), me, "b"])
        found = (await batch)["createAiTasks"]
        assert [task["id"] for task in found] == [str(UUID(int=2)), str(UUID(int=1))]

    async def test_refuses_the_same_key_twice(self, error_of):
        error = await error_of(MANY, inputs=[{"taskType": "echo", "idempotencyKey": "k"}] * 2)
        assert error["code"] == "BAD_USER_INPUT"


class TestCancel:
    async def test_takes_a_queued_one_out(self, create, graphql, db, error_of):
        task = await create()
        cancelled = (await graphql(CANCEL, id=task["id"]))["cancelAiTask"]
        assert (cancelled["status"], cancelled["canRetry"]) == ("CANCELLED", True)
        assert not db.execute("SELECT FROM procrastinate_jobs").fetchall()
        error = await error_of(CANCEL, id=task["id"])
        assert (error["code"], error["status"]) == ("CONFLICT", "CANCELLED")

    async def test_refuses_a_finished_one_and_an_unknown_one(self, create, reaches, start_worker, error_of):
        start_worker()
        task = await create()
        await reaches(task["id"], "COMPLETED")
        error = await error_of(CANCEL, id=task["id"])
        assert (error["code"], error["status"]) == ("CONFLICT", "COMPLETED")
        assert "COMPLETED" in error["message"]
        assert (await error_of(CANCEL, id=NOBODY))["code"] == "NOT_FOUND"
        assert (await error_of(CANCEL, id="nonsense"))["code"] == "BAD_USER_INPUT"

    async def test_by_a_filter(self, create, graphql, show):
        tasks = [await create(priority=priority) for priority in ("LOW", "LOW", "HIGH")]
        mutation = "mutation($f: AiTaskFilter!) { cancelAiTasks(filter: $f) { id status } }"
        found = (await graphql(mutation, f={"priority": {"eq": "LOW"}}))["cancelAiTasks"]
        assert found == [{"id": task["id"], "status": "CANCELLED"} for task in tasks[:2]]
        assert (await graphql(mutation, f={"priority": {"eq": "LOW"}}))["cancelAiTasks"] == []
        assert (await show(tasks[2]["id"]))["status"] == "QUEUED"


class TestRetry:
    async def test_queues_it_again(self, create, graphql, reaches, start_worker):
        task = await create()
        await graphql(CANCEL, id=task["id"])
        again = (await graphql(RETRY, id=task["id"]))["retryAiTask"]
        assert (again["status"], again["positionInQueue"]) == ("QUEUED", 1)
        start_worker()
        assert (await reaches(task["id"], "COMPLETED"))["attempt"] == 1

    async def test_refuses_what_waits_runs_or_is_done(self, create, reaches, start_worker, error_of):
        task = await create()
        assert (await error_of(RETRY, id=task["id"]))["status"] == "QUEUED"
        start_worker()
        await reaches(task["id"], "COMPLETED")
        error = await error_of(RETRY, id=task["id"])
        assert (error["code"], error["status"]) == ("CONFLICT", "COMPLETED")


class TestPriority:
    async def test_moves_a_task(self, create, graphql):
        tasks = [await create() for _ in range(3)]
        moved = (await graphql(PRIORITY, id=tasks[2]["id"], to="URGENT"))["updateAiTaskPriority"]
        assert moved == {"priority": "URGENT", "positionInQueue": 1, "status": "QUEUED"}
        moved = (await graphql(PRIORITY, id=tasks[0]["id"], to="LOW"))["updateAiTaskPriority"]
        assert moved["positionInQueue"] == 3

    async def test_of_a_running_one_counts_for_its_next_attempt(self, create, graphql, reaches, start_worker):
        start_worker()
        task = await create(input={"seconds": 1, "failures": 1})
        await reaches(task["id"], "RUNNING")
        moved = (await graphql(PRIORITY, id=task["id"], to="HIGH"))["updateAiTaskPriority"]
        assert (moved["priority"], moved["status"]) == ("HIGH", "RUNNING")
        done = await reaches(task["id"], "COMPLETED")
        assert (done["priority"], done["attempt"]) == ("HIGH", 2)

    async def test_of_a_finished_one_is_refused(self, create, graphql, error_of):
        task = await create()
        await graphql(CANCEL, id=task["id"])
        assert (await error_of(PRIORITY, id=task["id"], to="HIGH"))["code"] == "CONFLICT"


class TestRating:
    async def test_is_kept(self, create, graphql, reaches, start_worker, error_of):
        task = await create()
        assert (await error_of(RATE, id=task["id"], score=1))["code"] == "CONFLICT"
        start_worker()
        await reaches(task["id"], "COMPLETED")
        assert (await graphql(RATE, id=task["id"], score=0.25))["rateAiTask"] == {"qualityScore": 0.25}
        for score in (-0.1, 1.1):
            assert (await error_of(RATE, id=task["id"], score=score))["code"] == "BAD_USER_INPUT"


class TestVisibility:
    async def test_each_sees_their_own_and_an_admin_all(self, create, graphql, show):
        mine, theirs = await create(role="member"), await create(role="admin")
        listed = "{ aiTasks { id } }"
        assert await graphql(listed, role="member") == {"aiTasks": [{"id": mine["id"]}]}
        assert await graphql(listed, role="admin") == {"aiTasks": [{"id": theirs["id"]}, {"id": mine["id"]}]}
        assert await graphql(listed, role="viewer") == {"aiTasks": []}
        assert await show(theirs["id"], role="member") is None
        assert (await show(mine["id"]))["id"] == mine["id"]

    async def test_nobody_changes_anothers(self, create, graphql, error_of):
        theirs = await create(role="admin")
        for mutation in (CANCEL, RETRY):
            assert (await error_of(mutation, role="member", id=theirs["id"]))["code"] == "NOT_FOUND"
        found = await graphql("mutation { cancelAiTasks(filter: {status: {eq: QUEUED}}) { id } }", role="member")
        assert found == {"cancelAiTasks": []}

    async def test_the_queue_is_one_for_all(self, create):
        await create(role="admin")
        assert (await create(role="member"))["positionInQueue"] == 2

    async def test_a_subscription_shows_ones_own(self, create, server, subscribe):
        query = "subscription { aiTaskUpdated { id } }"
        async with (
            subscribe(query, token=server.token("member")) as member,
            subscribe(query, token=server.token("viewer")) as viewer,
            subscribe(query) as admin,
        ):
            theirs, mine = await create(role="admin"), await create(role="member")
            assert (await member())["id"] == mine["id"]
            assert [(await admin())["id"] for _ in range(2)] == [theirs["id"], mine["id"]]
            with pytest.raises(TimeoutError):
                await viewer(0.3)

    async def test_changes_of_leads_do_not_tell_of_them(self, create, subscribe, make_lead, graphql):
        lead = make_lead()["id"]
        async with subscribe("subscription { changes { type } }") as changes:
            await create(taskType="score_recalculation", leadId=lead)
            await graphql("mutation($id: Int!) { deleteLead(id: $id) { id } }", id=lead)
            assert await changes() == {"type": "lead.deleted"}


class TestFigures:
    async def test_of_the_queue(self, create, graphql):
        for priority in ("LOW", "URGENT", "URGENT"):
            await create(priority=priority)
        await create(scheduledFor=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
        found = (await graphql(STATUS, role="viewer"))["aiTaskQueueStatus"]
        assert (found["queued"], found["scheduled"], found["running"]) == (4, 1, 0)
        assert found["oldestWaitingMs"] >= 0
        assert found["byPriority"] == [
            {"priority": "URGENT", "waiting": 2},
            {"priority": "NORMAL", "waiting": 1},
            {"priority": "LOW", "waiting": 1},
        ]

    async def test_of_the_queue_come_live(self, create, subscribe):
        async with subscribe("subscription { aiTaskQueueUpdated { queued } }") as following:
            assert await following() == {"queued": 0}
            await create()
            assert await following(2) == {"queued": 1}
            assert await following(7) == {"queued": 1}  # every five seconds, though nothing happens

    async def test_of_what_is_done(self, finished, graphql):
        finished(3, 0, cost="0.5")
        finished(1, 1, status="failed", cost="0.25", task_type="lead_summary")
        finished(2, 0, status="cancelled", cost="0")
        found = (await graphql(STATISTICS))["aiTaskStatistics"]
        assert (found["total"], found["completed"], found["failed"], found["cancelled"]) == (6, 3, 1, 2)
        assert (found["successRate"], Decimal(found["costUsd"]), found["tokens"]) == (0.75, Decimal("1.75"), 18)
        assert found["averageRunMs"] == 2000
        assert [(one["key"], one["tasks"], one["costUsd"]) for one in found["byType"]] == [
            ("echo", 5, "1.5"),
            ("lead_summary", 1, "0.25"),
        ]
        assert sum(one["tasks"] for one in found["byDay"]) == 6
        yesterday = (datetime.now(UTC) - timedelta(hours=20)).isoformat()
        assert (await graphql(STATISTICS, to=yesterday))["aiTaskStatistics"]["total"] == 1

    async def test_of_nothing(self, graphql):
        found = (await graphql(STATISTICS, role="viewer"))["aiTaskStatistics"]
        assert (found["total"], found["successRate"], found["byType"]) == (0, None, [])


class TestCleanup:
    async def test_keeps_the_totals_to_the_cent(self, finished, graphql, db):
        finished(1200, 9, cost="0.0123456789")
        finished(300, 8, status="failed", cost="1.01")
        finished(10, 1, cost="0.3")
        before = (await graphql(STATISTICS))["aiTaskStatistics"]
        assert (await graphql(CLEAN))["cleanupOldAiTasks"] == {"count": 1500, "more": False}
        assert db.execute("SELECT count(*) AS n FROM ai_tasks").fetchone()["n"] == 10
        after = (await graphql(STATISTICS))["aiTaskStatistics"]
        assert after == before
        assert Decimal(after["costUsd"]) == 1200 * Decimal("0.0123456789") + 300 * Decimal("1.01") + 3

    async def test_adds_to_a_day_that_was_cleaned_before(self, finished, graphql):
        for _ in range(2):
            finished(5, 8, cost="0.1")
            assert (await graphql(CLEAN))["cleanupOldAiTasks"]["count"] == 5
        found = (await graphql(STATISTICS))["aiTaskStatistics"]
        assert (found["total"], Decimal(found["costUsd"])) == (10, Decimal(1))

    async def test_leaves_what_has_not_ended(self, create, finished, graphql, db):
        await create()
        finished(1, 0)
        assert (await graphql(CLEAN, days=0))["cleanupOldAiTasks"]["count"] == 1
        assert [row["status"] for row in db.execute("SELECT status FROM ai_tasks").fetchall()] == ["queued"]

    async def test_is_for_admins_and_reasonable_ages(self, error_of):
        assert (await error_of(CLEAN, role="member"))["code"] == "FORBIDDEN"
        assert (await error_of(CLEAN, days=-1))["code"] == "BAD_USER_INPUT"

    async def test_shows_the_days_to_admins_only(self, finished, graphql):
        finished(3, 9, role="member")
        await graphql(CLEAN)
        assert (await graphql(STATISTICS))["aiTaskStatistics"]["total"] == 3
        assert (await graphql(STATISTICS, role="member"))["aiTaskStatistics"]["total"] == 0
