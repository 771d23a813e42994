"""What a model cost is on the bill, also when its worker died or had lost the lease, or when PostgreSQL was away."""

import asyncio
import signal
from decimal import Decimal

import pytest

from tests.faults.journal import until
from tests.support.http_client import AsyncClient
from tests.support.model_server import CALL, good, hang

pytestmark = pytest.mark.waits(38)

_LEAD = 'mutation { createLead(input: {firstName: "Ada", lastName: "Bill"}) { id } }'
_CREATE = """mutation($lead: Int!) {
  createAiTask(input: {taskType: "task_recommendations", leadId: $lead}) { id }
}"""
_GENERATE = "mutation($lead: Int!) { generateTaskRecommendations(leadId: $lead) { title } }"
_TASK = "SELECT status, cost_usd, cost_source FROM ai_tasks WHERE id = %s"
_CALLS = "SELECT outcome, cost_usd, cost_source FROM ai_calls"
_ATTEMPTS = "SELECT outcome, cost_usd, cost_source FROM ai_task_attempts WHERE task_id = %s ORDER BY number"


@pytest.fixture
def asking(model_server):
    """The settings of who asks the model server."""
    return {
        "OPENAI_API_KEY": "test-key",
        "OPENAI_BASE_URL": model_server.url,
        "CRM_AI_MODEL": "test-model",
        "CRM_AI_TIMEOUT_SECONDS": "20",
    }


@pytest.fixture
def hire_asking(hire, asking):
    """A worker that asks the model server."""

    async def start(**settings):
        return await hire(**asking, **settings)

    return start


def client_of(server):
    headers = {"Authorization": f"Bearer {server.token()}"}
    return AsyncClient(base_url=server.url, headers=headers, timeout=30)


async def new_lead(client):
    answer = (await client.post("/graphql", json={"query": _LEAD})).json()
    assert "errors" not in answer, answer
    return int(answer["data"]["createLead"]["id"])


@pytest.fixture
def request_tasks(own_server, own_database):  # noqa: ARG001
    async def run():
        async with client_of(own_server) as client:
            await until(lambda: new_lead(client), 10)  # it has noticed that PostgreSQL is back
            body = {"query": _CREATE, "variables": {"lead": await new_lead(client)}}
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
        right = {"status": "completed", "cost_usd": Decimal("0.75"), "cost_source": "provider"}
        await ledger.until(lambda: ledger.rows(_TASK, key) == [right])
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


@pytest.mark.timeout(300)
class TestPostgresAwayAsTheAnswerComes:
    @pytest.fixture
    def away(self, own_postgres, ledger, model_server):
        """Wait for the question, and take PostgreSQL away for some seconds; the answer comes after one."""

        async def run(seconds):
            await ledger.until(lambda: model_server.requests)
            await asyncio.to_thread(own_postgres.kill)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(own_postgres.start)

        return run

    async def test_the_answer_is_saved_and_paid_once(self, request_tasks, ledger, hire_asking, model_server, away):
        model_server.will(good([CALL], cost=0.5, after=1))
        await hire_asking()
        key = await request_tasks()
        await away(2.5)
        await ledger.all_final()
        assert ledger.rows(_CALLS) == [{"outcome": "ok", "cost_usd": Decimal("0.5"), "cost_source": "provider"}]
        assert ledger.rows(_TASK, key) == [
            {"status": "completed", "cost_usd": Decimal("0.5"), "cost_source": "provider"}
        ]
        assert [one["outcome"] for one in ledger.rows(_ATTEMPTS, key)] == ["completed"]
        assert len(ledger.rows("SELECT 1 FROM tasks")) == len(model_server.requests) == 1

    async def test_longer_than_the_question_had_time_the_bill_is_right_in_the_end(
        self, request_tasks, ledger, hire_asking, asking, model_server, away
    ):
        model_server.will(good([CALL], cost=0.5, after=1))
        asking["CRM_AI_TIMEOUT_SECONDS"] = "2"
        await hire_asking()
        key = await request_tasks()
        await away(3.5)
        await ledger.all_final()
        right = {"status": "completed", "cost_usd": Decimal("0.5"), "cost_source": "provider"}
        await ledger.until(lambda: ledger.rows(_TASK, key) == [right])
        assert len(ledger.rows("SELECT 1 FROM tasks")) == len(model_server.requests) == 1

    async def test_a_request_gets_it_all_the_same(self, start_server, ledger, asking, model_server, away):
        model_server.will(good([CALL], cost=0.5, after=1))
        async with client_of(start_server(**asking)) as client:
            body = {"query": _GENERATE, "variables": {"lead": await new_lead(client)}}
            request = asyncio.create_task(client.post("/graphql", json=body))
            await away(2.5)
            assert (await request).json() == {"data": {"generateTaskRecommendations": [{"title": CALL["title"]}]}}
        assert ledger.rows(_CALLS) == [{"outcome": "ok", "cost_usd": Decimal("0.5"), "cost_source": "provider"}]

    async def test_a_request_that_cannot_wait_so_long_leaves_the_bill(
        self, start_server, ledger, asking, model_server, away
    ):
        model_server.will(good([CALL], cost=0.5, after=1))
        async with client_of(start_server(**asking, CRM_REQUEST_TIMEOUT_SECONDS="4")) as client:
            body = {"query": _GENERATE, "variables": {"lead": await new_lead(client)}}
            request = asyncio.create_task(client.post("/graphql", json=body))
            await away(4.5)
            answer = (await request).json()
        assert answer["errors"][0]["extensions"]["code"] in {"UNAVAILABLE", "TIMEOUT"}
        right = {"outcome": "ok", "cost_usd": Decimal("0.5"), "cost_source": "provider"}
        await ledger.until(lambda: ledger.rows(_CALLS) == [right])
