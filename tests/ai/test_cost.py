"""What a call cost: told, estimated, or unknown."""

from decimal import Decimal

import pytest

from crm.ai import cost
from crm.ai.openai_client import openrouter
from tests.ai.questions import KEY, question
from tests.support.model_server import good

OPENROUTER = "https://openrouter.ai/api/v1"


class TestEstimates:
    @pytest.mark.parametrize(
        ("address", "model"), [(OPENROUTER, "openai/gpt-6-luna"), ("https://api.openai.com/v1", "gpt-6-luna")]
    )
    def test_follow_the_list_of_prices(self, address, model):
        one, more = (cost.estimated(model, 1000, out, address=address) for out in (100, 200))
        assert isinstance(one, Decimal)
        assert 0 < one < more < Decimal("0.01")

    @pytest.mark.parametrize(
        ("address", "model", "tokens"),
        [
            (OPENROUTER, "nobody/has-heard-of-it", (1, 1)),
            ("http://127.0.0.1:11434/v1", "gpt-6-luna", (1, 1)),  # a server of one's own may call its model so
            (OPENROUTER, "openai/gpt-6-luna", (None, 5)),
            (OPENROUTER, "openai/gpt-6-luna", (5, None)),
        ],
    )
    def test_are_none_rather_than_nothing(self, address, model, tokens):
        assert cost.estimated(model, *tokens, address=address) is None

    async def test_are_labelled(self, make_ai, model_server, calls):
        model_server.will(good([], cost=None, model="openai/gpt-6-luna"))
        answer = await make_ai(endpoint=openrouter(KEY, address=model_server.url), model="openai/gpt-6-luna").ask(
            question()
        )
        assert answer.cost == cost.estimated("openai/gpt-6-luna", 100, 20, address=OPENROUTER) > 0
        assert (calls()[0]["cost_source"], calls()[0]["cost_usd"]) == ("estimated", answer.cost)

    async def test_take_the_model_asked_for_when_the_answer_names_an_unknown_one(self, make_ai, model_server):
        model_server.will(good([], cost=None, model="some-deployment-7"))
        answer = await make_ai(endpoint=openrouter(KEY, address=model_server.url), model="openai/gpt-6-luna").ask(
            question()
        )
        assert answer.cost == cost.estimated("openai/gpt-6-luna", 100, 20, address=OPENROUTER)

    @pytest.mark.parametrize("text", ["Ring Åsa Öberg på Sjöfartsverket imorgon.", '{"a": [1, 2, 3]}', "x" * 3000, ""])
    def test_of_tokens_are_not_too_low(self, text):
        assert cost.tokens_of(text) >= len(text) / 4


class TestWhatIsTold:
    async def test_with_a_key_of_ones_own_for_the_upstream(self, make_ai, model_server):
        usage = {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "is_byok": True,
            "cost": 0.0001,
            "cost_details": {"upstream_inference_cost": 0.002},
        }
        model_server.will(good([], cost=None, usage=usage))
        assert (await make_ai().ask(question())).cost == Decimal("0.0021")

    @pytest.mark.parametrize(
        ("told", "amount"), [(0.1, "0.1"), ("0.25", "0.25"), (3, "3"), (1e-7, "0.0000001"), (0, "0")]
    )
    def test_is_exact(self, told, amount):
        assert cost.stated(told) == Decimal(amount)

    @pytest.mark.parametrize("told", [None, True, "", "free", -1, float("nan"), float("inf"), 1e9, [], {}])
    def test_must_be_an_amount(self, told):
        assert cost.stated(told) is None
