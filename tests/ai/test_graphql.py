"""`aiUsage` and `aiStatus` over HTTP."""

import asyncio
import itertools
import time
from uuid import UUID

import pytest

from tests.ai.questions import KEY
from tests.support.http_client import AsyncClient
from tests.support.model_server import good, hang, status
from tests.support.servers import Server
from tests.support.waiting import eventually

STATUS = """
{ aiStatus { provider model source healthy circuit fallsBackToPlaybook dailyBudgetUsd spentTodayUsd budgetLeftUsd } }
"""
_ids = itertools.count(1)


@pytest.fixture
def make_call(insert):
    def make(**values):
        number = next(_ids)
        defaults = {
            "id": UUID(int=number),
            "question_id": UUID(int=number),
            "attempt": 1,
            "purpose": "summary",
            "prompt_version": "1",
            "input_hash": "x",
            "provider": "openai",
            "model": "m1",
            "outcome": "ok",
            "tokens_in": 100,
            "tokens_out": 10,
            "duration_ms": 500,
            "cost_usd": "0.001",
            "cost_source": "provider",
        }
        return insert("ai_calls", **{**defaults, **values})

    return make


class TestAiUsage:
    async def test_adds_up(self, graphql, make_call):
        make_call()
        make_call(cost_usd="0.0005", cost_source="estimated", duration_ms=1000)
        make_call(
            outcome="timeout", cost_usd=None, cost_source="unknown", tokens_in=None, tokens_out=None, duration_ms=30_000
        )
        make_call(
            outcome="underway", cost_usd=None, cost_source="unknown", tokens_in=None, tokens_out=None, duration_ms=None
        )
        found = await graphql(
            "{ aiUsage { day model purpose calls answered failed tokensIn tokensOut costUsd estimatedUsd "
            "unknownCostCalls averageDurationMs } }"
        )
        assert found["aiUsage"] == [
            {
                "day": None,
                "model": None,
                "purpose": None,
                "calls": 4,
                "answered": 2,
                "failed": 1,
                "tokensIn": 200,
                "tokensOut": 20,
                "costUsd": "0.0015",
                "estimatedUsd": "0.0005",
                "unknownCostCalls": 2,
                "averageDurationMs": 10_500,
            }
        ]

    async def test_by_everything(self, graphql, make_call):
        make_call(created_at="2026-01-01T23:59:59Z")
        make_call(created_at="2026-01-02T00:00:00Z", model="m2", cost_usd="0.5")
        make_call(created_at="2026-01-02T00:00:00+01:00", purpose="tasks", cost_usd="7")
        found = await graphql("{ aiUsage(groupBy: [PURPOSE, DAY, MODEL]) { day model purpose costUsd } }")
        assert [tuple(row.values()) for row in found["aiUsage"]] == [
            ("2026-01-02", "m2", "summary", "0.5"),
            ("2026-01-01", "m1", "tasks", "7"),
            ("2026-01-01", "m1", "summary", "0.001"),
        ]

    async def test_of_a_time(self, graphql, make_call):
        for day in range(1, 6):
            make_call(created_at=f"2026-01-0{day}T00:00:00Z")
        query = "query($from: DateTime, $to: DateTime) { aiUsage(groupBy: [DAY], from: $from, to: $to) { day } }"
        found = await graphql(query, **{"from": "2026-01-02T00:00:00Z", "to": "2026-01-04T00:00:00Z"})
        assert [row["day"] for row in found["aiUsage"]] == ["2026-01-03", "2026-01-02"]

    async def test_of_nothing_costs_nothing_known(self, graphql, make_call):
        found = await graphql("{ all: aiUsage { calls costUsd tokensIn } none: aiUsage(groupBy: [DAY]) { calls } }")
        assert found == {"all": [{"calls": 0, "costUsd": None, "tokensIn": 0}], "none": []}
        make_call(cost_usd=None, cost_source="unknown")
        assert (await graphql("{ aiUsage { costUsd } }"))["aiUsage"] == [{"costUsd": None}]

    async def test_counts_beyond_32_bits(self, graphql, make_call):
        for _ in range(3):
            make_call(tokens_in=2**31 - 1)
        assert (await graphql("{ aiUsage { tokensIn } }"))["aiUsage"] == [{"tokensIn": 3 * (2**31 - 1)}]

    @pytest.mark.parametrize("role", ["member", "viewer"])
    async def test_is_for_admins(self, role, refused):
        assert (await refused("{ aiUsage { calls } }", role=role))["code"] == "FORBIDDEN"


class TestAiStatus:
    async def test_of_the_playbook(self, graphql):
        assert (await graphql(STATUS, role="member"))["aiStatus"] == {
            "provider": "playbook",
            "model": "playbook",
            "source": "PLAYBOOK",
            "healthy": True,
            "circuit": "CLOSED",
            "fallsBackToPlaybook": False,
            "dailyBudgetUsd": "5",
            "spentTodayUsd": "0",
            "budgetLeftUsd": "5",
        }

    async def test_is_not_for_viewers(self, refused):
        assert (await refused("{ aiStatus { provider } }", role="viewer"))["code"] == "FORBIDDEN"

    async def test_stands_beside_reads_of_rows(self, graphql, make_lead):
        lead = make_lead()
        found = await graphql("{ leads { id } aiStatus { provider } me { role } aiUsage { calls } }")
        assert found["leads"] == [{"id": str(lead["id"])}]
        assert found["aiStatus"] == {"provider": "playbook"}

    async def test_of_a_model_with_a_budget(self, database_url, tmp_path, make_call, model_server):
        settings = {
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": model_server.url,
            "CRM_AI_MODEL": "llama-5",
            "CRM_AI_DAILY_BUDGET_USD": "2.50",
            "CRM_AI_FALLBACK": "playbook",
        }
        model_server.will(good([]))
        make_call(cost_usd="0.0000001")
        make_call(cost_usd=None, cost_source="unknown", reserved_usd="1.2")
        make_call(cost_usd="100", created_at="2026-01-01T00:00:00Z")
        server = Server(database_url, tmp_path / "log", **settings).start()
        try:
            found = await _asked(server, STATUS)
            assert found["data"]["aiStatus"] == {
                "provider": "openai",
                "model": "llama-5",
                "source": "LLM",
                "healthy": True,
                "circuit": "CLOSED",
                "fallsBackToPlaybook": True,
                "dailyBudgetUsd": "2.50",
                "spentTodayUsd": "1.2000001",
                "budgetLeftUsd": "1.2999999",
            }
            make_call(cost_usd="2")
            spent = (await _asked(server, STATUS))["data"]["aiStatus"]
            assert (spent["healthy"], spent["budgetLeftUsd"]) == (False, "0")
            assert model_server.requests == []  # nobody is asked for a status
        finally:
            assert server.stop() == 0
        assert KEY not in server.log()


@pytest.fixture
def asking_server(database_url, tmp_path, model_server):
    """A server that asks the model server; its requests' deadline is shorter than the AI's."""
    settings = {
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": model_server.url,
        "CRM_REQUEST_TIMEOUT_SECONDS": "4",
        "CRM_AI_TIMEOUT_SECONDS": "60",
    }
    server = Server(database_url, tmp_path / "log", **settings).start()
    yield server
    assert server.stop() == 0
    assert KEY not in server.log()


class TestAMutationThatAsks:
    async def test_and_is_refused_costs_nothing_and_is_not_of_unknown_cost(
        self, asking_server, model_server, make_lead, graphql
    ):
        model_server.will(status(401))
        await _asked(asking_server, f"mutation {{ generateTaskRecommendations(leadId: {make_lead()['id']}) {{ id }} }}")
        [usage] = (await graphql("{ aiUsage { calls failed costUsd unknownCostCalls } }"))["aiUsage"]
        assert usage == {"calls": 1, "failed": 1, "costUsd": "0", "unknownCostCalls": 0}

    async def test_ends_before_the_requests_deadline(self, asking_server, model_server, make_lead, calls):
        lead = make_lead()["id"]
        model_server.will(hang())
        began = time.monotonic()
        found = await _asked(asking_server, f"mutation {{ generateTaskRecommendations(leadId: {lead}) {{ id }} }}")
        assert time.monotonic() - began < 4
        assert found["data"] == {"generateTaskRecommendations": []}
        [warning] = found["extensions"]["warnings"]
        assert (warning["code"], warning["reason"]) == ("AI_UNAVAILABLE", "TIMEOUT")
        assert [(call["outcome"], call["lead_id"]) for call in calls()] == [("timeout", lead)]

    async def test_whose_client_goes_away_is_on_record(self, asking_server, model_server, make_lead, calls):
        lead = make_lead()["id"]
        model_server.will(hang())
        query = f"mutation {{ generateTaskRecommendations(leadId: {lead}) {{ id }} }}"
        client = asyncio.create_task(_asked(asking_server, query))
        await eventually(lambda: model_server.requests)
        client.cancel()
        await eventually(lambda: calls()[0]["outcome"] != "underway", 5)
        assert [(call["outcome"], call["cost_source"]) for call in calls()] == [("cancelled", "unknown")]


async def _asked(server, query):
    async with AsyncClient(timeout=10) as client:
        headers = {"Authorization": f"Bearer {server.token()}"}
        return (await client.post(f"{server.url}/graphql", json={"query": query}, headers=headers)).json()
