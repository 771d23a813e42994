"""AI tasks that ask a model: what they make, and what they cost."""

import asyncio
import time
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import httpx2
import psycopg
import pytest

from crm.ai.calls import Calls
from crm.ai.gateway import Ai
from crm.ai.openai_client import OpenAiProvider, openai_or_compatible
from crm.ai_tasks import lease as leases
from crm.ai_tasks.model import AiTaskOutcome
from crm.ai_tasks.task_types import TASK_TYPES, Failure, TaskRun
from crm.core.identity import PROGRAM
from crm.core.settings import Settings
from crm.db.database import Database
from crm.db.event_feed import EventFeed
from crm.db.unit_of_work import UnitOfWork
from crm.jobs import WorkerContext
from crm.sales.scoring.recalculation import LEASE
from tests.support.model_server import CALL, Thinking, good, hang, status

from .conftest import WithOneWorker

pytestmark = pytest.mark.waits(30)

SUMMARY = "mutation($lead: Int!) { requestSummary(leadId: $lead) { id taskType } }"
CANCEL = "mutation($id: ID!) { cancelAiTask(id: $id) { status } }"


@pytest.fixture
def context(database_url, db):  # noqa: ARG001
    """What a worker works with, in this process."""
    database = Database(database_url)
    no_ai: Any = None
    yield WorkerContext(database, EventFeed(database, database_url, 400), Settings(database_url=database_url), no_ai)
    database.close()


class TestOwner:
    """A task writes in its owner's name: not when the owner may not do that any more."""

    LOSSES = pytest.mark.parametrize("loss", ["disabled_at = now()", "role = 'viewer'"], ids=["disabled", "demoted"])

    @pytest.fixture
    def owner(self, make_user):
        return make_user(role="member")["id"]

    @pytest.fixture
    async def task(self, recommend, owner, db):
        found = await recommend()
        db.execute("UPDATE ai_tasks SET created_by = %s", (owner,))
        return found

    @pytest.fixture
    def lose(self, db, owner):
        return lambda loss: db.execute(f"UPDATE users SET {loss} WHERE id = %s", (owner,))

    @LOSSES
    async def test_who_lost_their_rights_has_nothing_run(self, task, lose, reaches, asking_worker, db, loss):
        lose(loss)
        asking_worker()
        failed = await reaches(task["id"], "FAILED")
        assert (failed["errorCode"], failed["error"], failed["attempt"]) == (
            "FORBIDDEN",
            "Its owner may not do this any more.",
            1,
        )
        assert not db.execute("SELECT FROM tasks").fetchall()
        assert not db.execute("SELECT FROM ai_calls").fetchall()

    @LOSSES
    async def test_nor_saved_what_a_model_answers_later(
        self, task, lose, reaches, asking_worker, model_server, db, loss
    ):
        thinking = Thinking(CALL)
        model_server.will(thinking)
        asking_worker(CRM_AI_TIMEOUT_SECONDS="20")
        await asyncio.to_thread(thinking.asked.wait, 30)
        lose(loss)
        thinking.go_on.set()
        failed = await reaches(task["id"], "FAILED")
        assert failed["errorCode"] == "FORBIDDEN"
        assert not db.execute("SELECT FROM tasks").fetchall()


class TestPlaybook(WithOneWorker):
    async def test_suggests_tasks_in_the_background(self, request_tasks, reaches, db, graphql):
        task = await request_tasks()
        assert (task["taskType"], task["status"]) == ("task_recommendations", "QUEUED")
        done = await reaches(task["id"], "COMPLETED")
        rows = db.execute("SELECT id, source FROM tasks WHERE lead_id = %s ORDER BY id", (task["leadId"],)).fetchall()
        ids = [row["id"] for row in rows]
        assert (done["result"]["suggestedTaskIds"], done["result"]["taskIds"]) == ([str(key) for key in ids], ids)
        assert rows
        assert {row["source"] for row in rows} == {"ai_suggested"}
        shown = await graphql(
            "query($id: ID!) { aiTask(id: $id) { tasks(limit: 9) { id creator { id } } } }", id=task["id"]
        )
        ids = sorted(row["id"] for row in rows)[::-1]
        assert shown["aiTask"]["tasks"] == [{"id": str(key), "creator": None} for key in ids]
        assert done["qualityScore"] == 1

    async def test_is_no_model_and_has_no_price(self, request_tasks, reaches):
        task = await request_tasks()
        done = await reaches(task["id"], "COMPLETED")
        (attempt,) = done["attempts"]
        for bill in (done, attempt):
            assert (Decimal(bill["costUsd"]), bill["costSource"], bill["model"], bill["tokens"]) == (0, None, None, 0)

    async def test_writes_a_summary_in_the_background(self, graphql, make_lead, reaches, db):
        lead = make_lead()["id"]
        task = (await graphql(SUMMARY, lead=lead))["requestSummary"]
        done = await reaches(task["id"], "COMPLETED")
        assert done["result"] == {"leadId": lead}
        assert db.execute("SELECT summary FROM leads WHERE id = %s", (lead,)).fetchone()["summary"]

    async def test_scores_one_lead_or_all(self, create, make_lead, reaches, db):
        leads = [make_lead()["id"] for _ in range(3)]
        one = await create(taskType="score_recalculation", leadId=leads[0])
        await reaches(one["id"], "COMPLETED")
        every = await create(taskType="score_recalculation")
        there = db.execute("SELECT activity_score FROM leads WHERE deleted_at IS NULL")
        assert (await reaches(every["id"], "COMPLETED"))["result"]["count"] == there.rowcount >= 3
        unscored = "SELECT FROM leads WHERE deleted_at IS NULL AND activity_score IS NULL"
        assert not db.execute(unscored).fetchall()

    async def test_writes_as_the_user_who_asked(self, request_tasks, reaches, events, db):
        task = await request_tasks()
        await reaches(task["id"], "COMPLETED")
        admin = db.execute("SELECT id FROM users WHERE email = 'service-admin@crm.invalid'").fetchone()["id"]
        created = events(type="task.created")
        assert created
        assert {event["actor_id"] for event in created} == {admin}


class TestPlaybookOfItsOwnWorker:
    async def test_of_a_lead_that_was_deleted_meanwhile_fails_clearly(
        self, request_tasks, graphql, reaches, start_worker
    ):
        task = await request_tasks()
        await graphql("mutation($id: Int!) { deleteLead(id: $id) { id } }", id=task["leadId"])
        start_worker()
        failed = await reaches(task["id"], "FAILED")
        assert (failed["errorCode"], failed["attempt"]) == ("NOT_FOUND", 1)

    async def test_that_stands_in_for_a_model_leaves_the_models_bill(
        self, request_tasks, reaches, asking_worker, model_server
    ):
        model_server.will(good("nonsense", cost=0.5))
        asking_worker(CRM_AI_FALLBACK="playbook")
        task = await request_tasks()
        done = await reaches(task["id"], "COMPLETED")
        assert (Decimal(done["costUsd"]), done["costSource"], done["model"]) == (1, "PROVIDER", "test-model")


class TestCost(WithOneWorker):
    asks = True

    async def test_is_on_the_attempts_bill_and_the_tasks(self, request_tasks, reaches, model_server):
        model_server.will(good([CALL], cost=0.0025))
        task = await request_tasks()
        done = await reaches(task["id"], "COMPLETED")
        assert (Decimal(done["costUsd"]), done["costSource"], done["tokens"]) == (Decimal("0.0025"), "PROVIDER", 120)
        assert done["model"] == "test-model"
        (attempt,) = done["attempts"]
        assert (Decimal(attempt["costUsd"]), attempt["tokens"]) == (Decimal("0.0025"), 120)

    async def test_counts_failed_attempts_too(self, request_tasks, reaches, model_server):
        model_server.will(*[good("nonsense", cost=0.5)] * 2, good([CALL], cost=0.25))
        task = await request_tasks()
        done = await reaches(task["id"], "COMPLETED", seconds=20)
        assert [one["outcome"] for one in done["attempts"]] == ["FAILED", "COMPLETED"]
        assert [Decimal(one["costUsd"]) for one in done["attempts"]] == [Decimal(1), Decimal("0.25")]
        assert Decimal(done["costUsd"]) == Decimal("1.25")

    @pytest.mark.parametrize(
        "refusal", [status(401), status(429, Retry_After="3"), status(500)], ids=["401", "429", "500"]
    )
    async def test_is_known_though_the_provider_refused_first(self, request_tasks, reaches, model_server, refusal):
        """What the provider did not do costs nothing, and nothing is known about that."""
        model_server.will(refusal, good([CALL], cost=0.25))
        task = await request_tasks()
        done = await reaches(task["id"], "COMPLETED", seconds=20)
        assert (Decimal(done["costUsd"]), done["costSource"]) == (Decimal("0.25"), "PROVIDER")


class TestCancelledCall:
    async def test_has_a_cost_that_is_not_called_nothing(
        self, request_tasks, graphql, show, asking_worker, model_server
    ):
        model_server.will(hang())
        asking_worker(CRM_AI_TIMEOUT_SECONDS="30")
        task = await request_tasks()
        while not model_server.requests:
            await asyncio.sleep(0.02)
        await graphql(CANCEL, id=task["id"])
        deadline = time.monotonic() + 5
        while (found := await show(task["id"]))["costSource"] is None and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        assert (found["status"], found["costSource"]) == ("CANCELLED", "UNKNOWN")
        assert found["attempts"][0]["costSource"] == "UNKNOWN"


@pytest.fixture
async def attempt(context, model_server):
    """Take a task as a worker does, and do what it asks for; nobody tells the code when it is cancelled."""
    provider = OpenAiProvider(openai_or_compatible("test-key", model_server.url), "test-model", max_output_tokens=500)
    ai = Ai(provider, Calls(context.database), timeout=5)
    asking = replace(context, ai=ai)

    async def run(task):
        key = leases.TaskKey(UUID(task["id"]), uuid4(), uuid4())
        lease = await leases.claim(asking, key, "test", 60)
        deadline = asyncio.get_running_loop().time() + 20
        mine = leases.guarded(asking, key)
        kind = TASK_TYPES[lease.task_type]
        given = kind.input.model_validate(lease.input)
        return key, kind.run(
            TaskRun(key.task_id, 1, lease.lead_id, lease.viewer, deadline, mine, lambda _: None), given
        )

    yield run
    await ai.close()


class TestCancelled:
    """What was answered with CANCELLED saves nothing any more, however late its code hears of it."""

    @pytest.fixture
    def cancel(self, server):
        """Cancel a task from a thread, and wait for the answer."""
        headers = {"Authorization": f"Bearer {server.token()}"}

        def run(key):
            body = {"query": CANCEL, "variables": {"id": key}}
            answer = httpx2.post(f"{server.url}/graphql", json=body, headers=headers, timeout=10).json()
            assert answer == {"data": {"cancelAiTask": {"status": "CANCELLED"}}}

        return run

    @pytest.mark.parametrize("task_type", ["task_recommendations", "lead_summary"])
    async def test_as_the_model_answers(self, create, make_lead, attempt, cancel, model_server, db, events, task_type):
        lead = make_lead()["id"]
        task = await create(taskType=task_type, leadId=lead)

        def cancelled_meanwhile(handler):
            cancel(task["id"])
            good({"tasks": [CALL], "summary": "All is well."}, cost=0.5)(handler)

        model_server.will(cancelled_meanwhile)
        _, work = await attempt(task)
        with pytest.raises(Failure) as raised:
            await work
        assert raised.value.code == "LEASE_LOST"
        assert db.execute("SELECT FROM tasks").rowcount == 0
        assert db.execute("SELECT summary FROM leads").fetchone()["summary"] is None
        assert {event["entity"] for event in events()} == {"ai_task"}
        # Nobody has to wait for what it held, and what it cost is on record.
        assert db.execute("SELECT outcome FROM generations").fetchall() == [{"outcome": "abandoned"}]
        assert db.execute("SELECT cost_usd FROM ai_calls").fetchall() == [{"cost_usd": Decimal("0.5")}]

    @pytest.mark.parametrize("whose", ["one lead's", "all leads'"])
    async def test_before_scores_are_written(self, create, make_lead, attempt, cancel, db, whose):
        db.execute("DELETE FROM leases")
        lead = make_lead()["id"]
        task = await create(taskType="score_recalculation", **({"leadId": lead} if whose == "one lead's" else {}))
        _, work = await attempt(task)
        await asyncio.to_thread(cancel, task["id"])
        with pytest.raises(Failure):
            await work
        assert db.execute("SELECT activity_score FROM leads").fetchall() == [{"activity_score": None}]

    async def test_waits_for_what_is_being_saved_and_leases_do_not(self, create, attempt, cancel, context, show):
        task = await create()
        key, work = await attempt(task)
        work.close()
        unit = UnitOfWork(context.database, PROGRAM)
        guard = leases.guarded(context, key).commit_guard
        assert guard is not None
        await guard(unit)
        cancelling = asyncio.create_task(asyncio.to_thread(cancel, task["id"]))
        await asyncio.sleep(0.3)
        assert (await show(task["id"]))["status"] == "RUNNING"
        assert await leases.renew(context, [key], 10) == {key.token}
        assert await leases.record_progress(context, key, 0.5, None)
        assert not cancelling.done()
        await unit.save()
        await unit.close()
        await cancelling


@pytest.fixture
def leads(db):
    """So many that to score them all takes a while: more than are scored at once."""
    db.execute("DELETE FROM leases")
    db.execute("INSERT INTO leads (first_name, last_name) SELECT 'First', 'Last' FROM generate_series(1, 1200)")


@pytest.mark.usefixtures("leads")
class TestAllScores:
    HELD = "INSERT INTO leases (name, holder, expires_at) VALUES (%s, %s, now() + %s::interval)"

    async def test_wait_for_whoever_is_at_them_and_that_is_no_failure(self, create, reaches, start_worker, db):
        start_worker()
        db.execute(self.HELD, (LEASE, uuid4(), "3 s"))
        task = await create(taskType="score_recalculation", maxRetries=0)
        done = await reaches(task["id"], "COMPLETED", seconds=20)
        outcomes = [one["outcome"] for one in done["attempts"]]
        assert outcomes[-1] == "COMPLETED"
        assert set(outcomes[:-1]) == {"POSTPONED"}
        assert done["attempts"][0]["errorCode"] == "CONFLICT"

    async def test_asked_for_five_times_at_once_are_calculated_as_often(self, create, reaches, start_worker):
        tasks = [await create(taskType="score_recalculation", maxRetries=0) for _ in range(5)]
        start_worker()
        for task in tasks:
            done = await reaches(task["id"], "COMPLETED", seconds=60)
            assert (done["result"]["count"], done["result"]["failed"]) == (1200, 0)

    async def test_are_taken_over_from_a_dead_worker_at_once(self, create, reaches, start_worker, db):
        task = await create(taskType="score_recalculation", maxRetries=1)
        worker = start_worker()
        while not db.execute("SELECT FROM leases").rowcount:
            await asyncio.sleep(0.005)
        worker.kill()
        assert db.execute("SELECT FROM leases WHERE expires_at > now() + interval '20 s'").rowcount == 1
        start_worker()
        done = await reaches(task["id"], "COMPLETED", "FAILED", seconds=20)
        assert [one["outcome"] for one in done["attempts"]] == ["LOST", "COMPLETED"]


class TestBillAfterwards:
    async def test_of_a_call_that_was_not_on_record_yet_is_made_right(
        self, recommend, graphql, show, asking_worker, model_server, db, events
    ):
        """As when PostgreSQL was away: the attempt has ended, and then the call's record is completed."""
        model_server.will(hang())
        asking_worker(CRM_AI_TIMEOUT_SECONDS="30")
        task = await recommend()
        while not model_server.requests:
            await asyncio.sleep(0.02)
        await graphql(CANCEL, id=task["id"])
        async with asyncio.timeout(5):
            while (before := await show(task["id"]))["costSource"] != "UNKNOWN":
                await asyncio.sleep(0.05)
        db.execute("UPDATE ai_calls SET outcome = 'ok', tokens_in = 7, cost_usd = 0.5, cost_source = 'provider'")
        asking_worker()  # each looks when it starts, and then now and again
        async with asyncio.timeout(5):
            while (after := await show(task["id"]))["costSource"] == "UNKNOWN":
                await asyncio.sleep(0.05)
        for bill in (after, *after["attempts"]):
            assert (Decimal(bill["costUsd"]), bill["costSource"], bill["tokens"]) == (Decimal("0.5"), "PROVIDER", 7)
        assert after["status"] == "CANCELLED"
        assert after["version"] == before["version"] + 1
        told = events(type="ai_task.updated")[-1]["fields"]
        assert told == [{"name": "costUsd", "before": "0", "after": "0.5"}]

    async def test_that_two_workers_write_at_once_counts_once(self, create, context, show, insert, db, database_url):
        """Both found the task's worker dead; one waits for the other."""
        task = await create()
        key = leases.TaskKey(UUID(task["id"]), uuid4(), uuid4())
        assert await leases.claim(context, key, "dead", 60)
        insert(
            "ai_calls",
            **{name: uuid4() for name in ("id", "question_id")},
            **dict.fromkeys(("purpose", "prompt_version", "input_hash", "provider", "model"), "test"),
            attempt=1,
            ai_task_attempt_id=key.attempt_id,
            cost_usd="0.5",
            cost_source="provider",
        )
        lost = leases.AttemptEnd(AiTaskOutcome.LOST)
        with psycopg.connect(database_url) as other:
            other.execute("SELECT FROM ai_tasks FOR UPDATE")
            both = asyncio.gather(*(leases.end(context, key, lost) for _ in range(2)))
            while db.execute("SELECT FROM pg_locks WHERE NOT granted").rowcount < 2:
                await asyncio.sleep(0.02)
        assert sorted(await both) == [False, True]
        found = await show(task["id"])
        assert [Decimal(one["costUsd"]) for one in (found, *found["attempts"])] == [Decimal("0.5")] * 2
