"""What a caller gets for whatever a model's server answers, what is on record, and what it cost."""

from decimal import Decimal

from model_server import good
from questions import question, suggestion

from crm.ai.gateway import AnswerSource


class TestGoodReplies:
    async def test_an_answer_and_its_record(self, make_ai, model_server, calls):
        model_server.will(good({"tasks": [suggestion()]}, cost=0.00123))
        answer = await make_ai().ask(question(), lead_id=7)
        assert [task.title for task in answer.value.tasks] == ["Call 1"]
        assert (answer.source, answer.model, answer.cost) == (AnswerSource.LLM, "test-model", Decimal("0.00123"))
        [call] = calls()
        assert call["id"] == answer.call_id
        assert (call["outcome"], call["purpose"], call["prompt_version"]) == ("ok", "test", "test-1")
        assert (call["tokens_in"], call["tokens_out"]) == (100, 20)
        assert (call["cost_usd"], call["cost_source"]) == (Decimal("0.00123"), "provider")
        assert (call["lead_id"], call["input_hash"]) == (7, answer.input_hash)
