"""AI tasks that ask a model which does not answer, or not in time."""

import asyncio
import time
from decimal import Decimal
from typing import ClassVar

import pytest

from tests.support.model_server import CALL, good, hang, reset, status

from .conftest import WithOneWorker

pytestmark = pytest.mark.waits(28)


class TestReason:
    @pytest.mark.parametrize(
        ("says", "error"),
        [
            (status(401, "bad key sk-secret"), "The AI provider rejects our questions: an admin should look at"),
            (status(429), "The AI provider takes no more questions right now."),
            (status(503), "The AI provider answered with an error."),
            (reset(), "The AI provider cannot be reached."),
            (hang(), "The AI provider did not answer in time."),
            (good(None, refusal="I will not speak of Ann."), "The model refused to answer."),
            (good("nonsense"), "The model's reply could not be understood."),
        ],
        ids=["rejected", "rate limited", "failed", "unreachable", "timeout", "refused", "invalid"],
    )
    async def test_of_a_failure_is_told(self, recommend, reaches, asking_worker, model_server, says, error):
        model_server.will(says)
        asking_worker(CRM_AI_TIMEOUT_SECONDS="1.5")
        failed = await reaches((await recommend(maxRetries=0))["id"], "FAILED")
        for told in (failed, *failed["attempts"]):
            assert told["error"].startswith(error)
            assert told["errorCode"] == "AI_UNAVAILABLE"
            assert "secret" not in told["error"]
            assert "Ann" not in told["error"]


class TestTime(WithOneWorker):
    asks = True
    settings: ClassVar = {"CRM_AI_TIMEOUT_SECONDS": "30"}

    @pytest.mark.parametrize("seconds", [1, 2])
    async def test_is_the_models_as_far_as_possible(self, recommend, reaches, model_server, seconds):
        model_server.will(hang())
        task = await recommend(timeoutSeconds=seconds, maxRetries=0)
        failed = await reaches(task["id"], "TIMED_OUT", "FAILED")
        assert (failed["status"], failed["errorCode"]) == ("TIMED_OUT", "TIMEOUT")
        assert failed["error"] == f"There was no answer in time: an attempt may take {seconds} s."
        assert [one["outcome"] for one in failed["attempts"]] == ["TIMED_OUT"]
        assert len(model_server.requests) == 1
        assert 0.6 * seconds < failed["runMs"] / 1000 < seconds

    async def test_of_a_second_is_enough_for_a_quick_model(self, recommend, reaches, model_server):
        model_server.will(good([CALL], after=0.3))
        await reaches((await recommend())["id"], "COMPLETED")  # the worker is warm
        await reaches((await recommend(timeoutSeconds=1, maxRetries=0))["id"], "COMPLETED")

    async def test_spent_waiting_for_somebody_elses_answer_counts(self, create, make_lead, reaches, db):
        lead = make_lead()["id"]
        db.execute(
            "INSERT INTO generations (lead_id, purpose, expires_at) VALUES (%s, 'recommendations', now() + '30 s')",
            [lead],
        )
        task = await create(taskType="task_recommendations", leadId=lead, timeoutSeconds=1, maxRetries=0)
        assert (await reaches(task["id"], "TIMED_OUT", "FAILED"))["errorCode"] == "TIMEOUT"


class TestSilentModel:
    async def test_is_asked_again(self, request_tasks, reaches, asking_worker, model_server):
        model_server.will(status(401))
        asking_worker()
        task = await request_tasks()
        retrying = await reaches(task["id"], "RETRYING")
        assert retrying["errorCode"] == "AI_UNAVAILABLE"
        model_server.will(good([CALL]))
        done = await reaches(task["id"], "COMPLETED")
        assert len(done["result"]["taskIds"]) == 1

    async def test_that_names_a_time_is_asked_then_and_nothing_is_counted(
        self, request_tasks, reaches, asking_worker, model_server, db
    ):
        model_server.will(status(429, "slow down", Retry_After="3"), good([CALL]))
        asking_worker()
        task = await request_tasks()
        done = await reaches(task["id"], "COMPLETED", seconds=20)
        assert [one["outcome"] for one in done["attempts"]] == ["POSTPONED", "COMPLETED"]
        assert db.execute("SELECT failures FROM ai_tasks").fetchone()["failures"] == 0
        first, second = model_server.requests
        assert 3 <= second.at - first.at < 5

    async def test_that_is_asked_too_much_fails_no_task(self, recommend, reaches, asking_worker, model_server, db):
        """Twenty at once, and for two seconds the provider says that it has enough."""

        def enough(handler):
            busy = time.monotonic() < model_server.requests[0].at + 2
            (status(429, "slow down", Retry_After="3") if busy else good([CALL]))(handler)

        model_server.will(enough)
        asking_worker()
        tasks = [await recommend(maxRetries=0) for _ in range(20)]
        for task in tasks:
            await reaches(task["id"], "COMPLETED", seconds=60)
        outcomes = {row["outcome"] for row in db.execute("SELECT outcome FROM ai_task_attempts").fetchall()}
        assert outcomes == {"postponed", "completed"}

    async def test_that_is_left_alone_for_a_while_is_asked_after_it(
        self, recommend, reaches, asking_worker, model_server, db
    ):
        model_server.will(status(401))
        asking_worker(CRM_WORKER_CONCURRENCY="1")
        tasks = [await recommend(maxRetries=0) for _ in range(6)]
        for task in tasks[:5]:
            await reaches(task["id"], "FAILED")
        last = await reaches(tasks[5]["id"], "RETRYING")
        assert [one["outcome"] for one in last["attempts"]] == ["POSTPONED"]
        assert last["error"] == "The AI provider has failed again and again, and is left alone for a while."
        row = db.execute("SELECT failures, due_at - stopped_at AS pause FROM ai_tasks WHERE id = %s", [last["id"]])
        assert (found := row.fetchone())["failures"] == 0
        assert 25 < found["pause"].total_seconds() <= 30

    async def test_for_which_there_is_no_money_fails_once_and_says_until_when(
        self, recommend, reaches, asking_worker, model_server, db
    ):
        db.execute(
            "INSERT INTO ai_calls (id, question_id, attempt, purpose, prompt_version, input_hash, provider, model, "
            "outcome, cost_usd, cost_source) "
            "SELECT id, id, 1, '', '', '', 'openai', '', 'ok', 1, 'provider' FROM gen_random_uuid() id"
        )
        asking_worker(CRM_AI_DAILY_BUDGET_USD="0.5")
        failed = await reaches((await recommend())["id"], "FAILED")
        assert (failed["attempt"], failed["maxRetries"], failed["errorCode"]) == (1, 3, "AI_UNAVAILABLE")
        assert failed["error"].endswith("It starts anew at midnight UTC: try again then.")
        assert (Decimal(failed["costUsd"]), failed["costSource"], model_server.requests) == (0, None, [])

    async def test_that_was_silent_to_somebody_else_is_asked_again(
        self, recommend, reaches, asking_worker, model_server, db
    ):
        """The task waits for a request about its lead; that this one fails is not the task's failure."""
        model_server.will(good([CALL]))
        task = await recommend(maxRetries=0)
        db.execute(
            "INSERT INTO generations (lead_id, purpose, expires_at) VALUES (%s, 'recommendations', now() + '30 s')",
            [task["leadId"]],
        )
        asking_worker()
        await reaches(task["id"], "RUNNING")
        await asyncio.sleep(0.3)
        db.execute("UPDATE generations SET finished_at = now(), outcome = 'failed'")
        done = await reaches(task["id"], "COMPLETED")
        assert [one["outcome"] for one in done["attempts"]] == ["POSTPONED", "COMPLETED"]
        assert "which this one waited for" in done["attempts"][0]["error"]
