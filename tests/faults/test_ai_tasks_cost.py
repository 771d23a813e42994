"""What a model cost is on the bill, also when the worker that asked it died or had lost its lease."""

import signal
from decimal import Decimal

import httpx2
import pytest
from model_server import good, hang

CALL = {"title": "Call them", "reasoning": "They have waited for a week.", "dueDate": "2030-01-01"}
_LEAD = 'mutation { createLead(input: {firstName: "Ada", lastName: "Bill"}) { id } }'
_CREATE = """mutation($lead: Int!) {
  createAiTask(input: {taskType: "task_recommendations", leadId: $lead}) { id }
}"""
_TASK = "SELECT status, cost_usd, cost_source FROM ai_tasks WHERE id = %s"
_ATTEMPTS = "SELECT outcome, cost_usd, cost_source FROM ai_task_attempts WHERE task_id = %s ORDER BY number"


@pytest.fixture
def hire_asking(hire, model_server):
    """A worker that asks the model server."""

    async def start(**settings):
        return await hire(
            **settings,
            OPENAI_API_KEY="test-key",
            OPENAI_BASE_URL=model_server.url,
            CRM_AI_MODEL="test-model",
            CRM_AI_TIMEOUT_SECONDS="20",
        )

    return start


@pytest.fixture
def request_tasks(start_server):
    server = start_server()

    async def run():
        headers = {"Authorization": f"Bearer {server.token()}"}
        async with httpx2.AsyncClient(base_url=server.url, headers=headers, timeout=10) as client:
            lead = (await client.post("/graphql", json={"query": _LEAD})).json()["data"]["createLead"]["id"]
            body = {"query": _CREATE, "variables": {"lead": int(lead)}}
            return (await client.post("/graphql", json=body)).json()["data"]["createAiTask"]["id"]

    return run


@pytest.mark.timeout(300)
class TestBill:
    async def test_of_a_worker_killed_in_the_call_is_not_called_nothing(
        self, request_tasks, ledger, hire_asking, model_server
    ):
        model_server.will(hang(), good([CALL], cost=0.25))
        crew = await hire_asking()
        key = await request_tasks()
        await ledger.until(lambda: model_server.requests)
        crew.signal(signal.SIGKILL)
        await crew.ended()
        await hire_asking()
        await ledger.all_final()
        (task,) = ledger.rows(_TASK, key)
        assert (task["status"], task["cost_usd"], task["cost_source"]) == ("completed", Decimal("0.25"), "unknown")
        assert [(one["outcome"], one["cost_source"]) for one in ledger.rows(_ATTEMPTS, key)] == [
            ("lost", "unknown"),
            ("completed", "provider"),
        ]

    async def test_of_an_answer_that_came_too_late_counts(self, request_tasks, ledger, hire_asking, model_server):
        """A frozen worker's answer is of no use to the task any more; it was paid all the same."""
        model_server.will(good([CALL], cost=0.5, after=0.5), good([CALL], cost=0.25))
        frozen = await hire_asking()
        key = await request_tasks()
        await ledger.until(lambda: model_server.requests)
        frozen.signal(signal.SIGSTOP)
        await hire_asking()
        await ledger.all_final()
        before = ledger.rows("SELECT result, finished_at FROM ai_tasks WHERE id = %s", key)
        frozen.signal(signal.SIGCONT)
        await ledger.until(lambda: ledger.rows(_TASK, key)[0]["cost_usd"] == Decimal("0.75"))
        assert [(one["outcome"], one["cost_usd"]) for one in ledger.rows(_ATTEMPTS, key)] == [
            ("lost", Decimal("0.5")),
            ("completed", Decimal("0.25")),
        ]
        assert ledger.rows("SELECT result, finished_at FROM ai_tasks WHERE id = %s", key) == before
        assert len(ledger.rows("SELECT 1 FROM tasks")) == 1  # what the late answer suggested was not saved

    async def test_of_what_was_saved_before_the_worker_died_is_paid_once(
        self, request_tasks, ledger, hire_asking, model_server
    ):
        """The next attempt takes what is there: it neither asks again nor suggests anything twice."""
        model_server.will(good([CALL], cost=0.5), good([{**CALL, "title": "Write to them"}], cost=0.25))
        crew = await hire_asking(FAULT_DIES_AFTER="task_recommendations")
        key = await request_tasks()
        assert await crew.ended() == -signal.SIGKILL
        await hire_asking()
        await ledger.all_final()
        (suggested,) = ledger.rows("SELECT id, title FROM tasks")
        (task,) = ledger.rows("SELECT status, result, cost_usd FROM ai_tasks WHERE id = %s", key)
        assert (suggested["title"], task["status"], task["cost_usd"]) == (CALL["title"], "completed", Decimal("0.5"))
        assert task["result"]["taskIds"] == [suggested["id"]]
        assert len(model_server.requests) == 1
