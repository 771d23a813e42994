"""What a caller gets for whatever a model's server says or does, what is on record, and what it cost."""

import asyncio
import gzip
import json
import time
import zlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from structlog.testing import capture_logs

from crm.ai.gateway import AnswerSource
from crm.core.errors import AiUnavailable
from tests.ai.questions import KEY, Suggestions, question, suggestion
from tests.support.model_server import (
    completion,
    drip,
    endless,
    error_in_200,
    garbage,
    good,
    hang,
    raw,
    reset,
    status,
)

CENT = Decimal("0.001")
DEADLINE = 1.5
# What may go by after the deadline: two cores, shared.
SLACK = 0.7

BILLED = ("provider", CENT)
UNKNOWN = ("unknown", None)
# An error in place of an answer: nothing was made, so nothing is owed.
FREE = ("provider", Decimal(0))
THREE = [suggestion(1), suggestion(2), suggestion(3)]
WHOLE = json.dumps({**completion({"tasks": THREE[:1]}), "usage": {"cost": float(CENT)}}).encode()
FENCED = f"```json\n{json.dumps({'tasks': THREE[:1]}, indent=2)}\n```"
TWO_OF_THREE = {"tasks": [suggestion(1), {"title": ""}, suggestion(3)]}
# A thousandth of these bytes is sent.
BOMB = b" " * (64 << 20)
TITLES_OF_TWO = ["Call 1", "Call 3"]
WRONG_KEYS = {"tasks": [{"name": "Call 1", "why": "They asked."}]}


def in_parts(*parts):
    """A completion whose message comes in parts, as some servers send it."""
    body = completion("")
    body["choices"][0]["message"]["content"] = list(parts)
    body["usage"]["cost"] = float(CENT)
    return raw(body)


def packed(pack, body, encoding):
    return raw(pack(body), content_encoding=encoding)


@dataclass
class Case:
    says: list[Any]
    titles: list[str] | None = None
    reason: str | None = None
    # Each call on record: outcome, source of cost, cost.
    calls: tuple[tuple[str, str, Decimal | None], ...] = (("ok", *BILLED),)
    asked: int = 1
    warnings: int = 0


ANSWERED = {
    "good": Case([good({"tasks": THREE[:2]})], ["Call 1", "Call 2"]),
    "fenced JSON": Case([good(FENCED)], ["Call 1"]),
    "packed by gzip, which nobody asked for": Case([packed(gzip.compress, WHOLE, "gzip")], ["Call 1"]),
    "packed by deflate": Case([packed(zlib.compress, WHOLE, "deflate")], ["Call 1"]),
    "in parts": Case(
        [
            in_parts(
                {"type": "thinking", "thinking": [{"type": "text", "text": "{}"}]},
                {"type": "text", "text": json.dumps({"tasks": THREE[:2]})[:30]},
                {"type": "text", "text": json.dumps({"tasks": THREE[:2]})[30:]},
                {"type": "text", "text": 7},
                None,
            )
        ],
        ["Call 1", "Call 2"],
    ),
    "fenced without a language": Case([good(FENCED.replace("json", ""))], ["Call 1"]),
    "prose around JSON": Case(
        [good(f"Sure! As [1] says, here they are: {json.dumps({'tasks': THREE[:1]})} Good luck.")], ["Call 1"]
    ),
    "prose around a fence": Case([good(f"Of course.\n\n{FENCED}\n\nShall I {{explain}}?")], ["Call 1"]),
    "thoughts before JSON": Case(
        [good(f"<think>Maybe {json.dumps({'tasks': THREE})}?</think>{json.dumps({'tasks': THREE[:1]})}")], ["Call 1"]
    ),
    "a bare array": Case([good(THREE[:2])], ["Call 1", "Call 2"]),
    "one object": Case([good(suggestion())], ["Call 1"]),
    "one object under the key": Case([good({"tasks": suggestion()})], ["Call 1"]),
    "another key around": Case([good({"suggestions": THREE[:1]})], ["Call 1"]),
    "wrapped twice": Case([good({"result": {"tasks": THREE[:1]}})], ["Call 1"]),
    "JSON within JSON": Case([good(json.dumps(json.dumps({"tasks": THREE[:1]})))], ["Call 1"]),
    "5 suggestions": Case(
        [good({"tasks": [suggestion(n) for n in range(1, 6)]})], ["Call 1", "Call 2", "Call 3"], warnings=1
    ),
    "2 good of 3": Case([good(TWO_OF_THREE)], TITLES_OF_TWO, warnings=1),
    "an empty list": Case([good({"tasks": []})], []),
    "a bare empty list": Case([good([])], []),
    "null for the list": Case([good({"tasks": None})], []),
    "extra keys": Case([good({"tasks": [{**suggestion(), "mood": "good"}], "note": "hi"})], ["Call 1"]),
    "wrong keys, corrected": Case(
        [good(WRONG_KEYS), good({"tasks": THREE[:1]})],
        ["Call 1"],
        calls=(("invalid", *BILLED), ("ok", *BILLED)),
        asked=2,
    ),
    "prose, corrected": Case(
        [good("I would call them."), good({"tasks": THREE[:1]})],
        ["Call 1"],
        calls=(("invalid", *BILLED), ("ok", *BILLED)),
        asked=2,
    ),
    "no content, corrected": Case(
        [good(None), good({"tasks": []})], [], calls=(("invalid", *BILLED), ("ok", *BILLED)), asked=2
    ),
    "500 then good": Case(
        [status(500), good({"tasks": THREE[:1]})], ["Call 1"], calls=(("failed", *FREE), ("ok", *BILLED)), asked=2
    ),
    "503 then 408 then good": Case(
        [status(503), status(408), good({"tasks": THREE[:1]})],
        ["Call 1"],
        calls=(("failed", *FREE), ("failed", *FREE), ("ok", *BILLED)),
        asked=3,
    ),
    "429 with Retry-After": Case(
        [status(429, retry_after="0.2"), good({"tasks": THREE[:1]})],
        ["Call 1"],
        calls=(("rate_limited", *FREE), ("ok", *BILLED)),
        asked=2,
    ),
    "null choices, then good": Case(
        [raw({"choices": None}), good({"tasks": THREE[:1]})],
        ["Call 1"],
        calls=(("failed", *UNKNOWN), ("ok", *BILLED)),
        asked=2,
    ),
    "connection reset, then good": Case(
        [reset(), good({"tasks": THREE[:1]})], ["Call 1"], calls=(("unreachable", *UNKNOWN), ("ok", *BILLED)), asked=2
    ),
    "reset amid the answer, then good": Case(
        [reset(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{"), good([])],
        [],
        calls=(("unreachable", *UNKNOWN), ("ok", *BILLED)),
        asked=2,
    ),
    "overloaded in a 200, then good": Case(
        [error_in_200(503), good([])], [], calls=(("failed", *UNKNOWN), ("ok", *BILLED)), asked=2
    ),
}

UNAVAILABLE = {
    "refusal": Case([good(None, refusal="I cannot.")], reason="REFUSED", calls=(("refused", *BILLED),)),
    "content filter": Case(
        [good("{", finish_reason="content_filter")], reason="REFUSED", calls=(("refused", *BILLED),)
    ),
    "cut by length": Case(
        [good('{"tasks": [{"title": "Ca', finish_reason="length")], reason="TRUNCATED", calls=(("truncated", *BILLED),)
    ),
    "no finish reason": Case(
        [good({"tasks": THREE}, finish_reason=None)], reason="TRUNCATED", calls=(("truncated", *BILLED),)
    ),
    "wrong keys twice": Case(
        [good(WRONG_KEYS)], reason="INVALID", calls=(("invalid", *BILLED), ("invalid", *BILLED)), asked=2
    ),
    "prose twice": Case([good("No.")], reason="INVALID", calls=(("invalid", *BILLED), ("invalid", *BILLED)), asked=2),
    "200 with an error body": Case([error_in_200(400)], reason="REJECTED", calls=(("rejected", *UNKNOWN),)),
    "200 with an error body and a bill": Case(
        [error_in_200("insufficient_quota", usage={"prompt_tokens": 5, "completion_tokens": 0, "cost": 0.001})],
        reason="FAILED",
        calls=(("failed", *BILLED),),
    ),
    "an error in the choice": Case(
        [raw({"choices": [{"finish_reason": "error", "message": {"content": ""}, "error": {"code": 403}}]})],
        reason="REJECTED",
        calls=(("rejected", *UNKNOWN),),
    ),
    "not an object": Case([raw([1, 2])], reason="FAILED", calls=(("failed", *UNKNOWN),)),
    "a web page": Case(
        [raw(b"<html>Sign in to the hotel</html>", kind="text/html")], reason="FAILED", calls=(("failed", *UNKNOWN),)
    ),
    "garbage in JSON's clothes": Case([raw(b"\x00\xff\xfe{{{")], reason="FAILED", calls=(("failed", *UNKNOWN),)),
    "a redirect": Case(
        [raw(b"", 302, location="http://127.0.0.1:9/")], reason="REJECTED", calls=(("rejected", *FREE),)
    ),
    "401": Case([status(401)], reason="REJECTED", calls=(("rejected", *FREE),)),
    "402": Case([status(402)], reason="REJECTED", calls=(("rejected", *FREE),)),
    "403": Case([status(403)], reason="REJECTED", calls=(("rejected", *FREE),)),
    "429 for longer than there is time": Case(
        [status(429, retry_after="60")], reason="RATE_LIMITED", calls=(("rate_limited", *FREE),)
    ),
    "hang": Case([hang()], reason="TIMEOUT", calls=(("timeout", *UNKNOWN),)),
    "slow drip": Case([drip({"tasks": THREE})], reason="TIMEOUT", calls=(("timeout", *UNKNOWN),)),
    "a body without end": Case([endless()], reason="FAILED", calls=(("failed", *UNKNOWN),)),
}


@pytest.mark.parametrize("case", ANSWERED.values(), ids=ANSWERED)
async def test_answered(case, make_ai, model_server, calls):
    model_server.will(*case.says)
    began = time.monotonic()
    answer = await make_ai(timeout=5).ask(question())
    assert time.monotonic() - began < 5
    assert [task.title for task in answer.value.tasks] == case.titles
    assert len(answer.warnings) == case.warnings
    assert _recorded(calls()) == case.calls
    assert len(model_server.requests) == case.asked
    assert answer.call_id == calls()[-1]["id"]


@pytest.mark.parametrize("case", UNAVAILABLE.values(), ids=UNAVAILABLE)
async def test_unavailable(case, make_ai, model_server, calls):
    model_server.will(*case.says)
    began = time.monotonic()
    with pytest.raises(AiUnavailable) as raised:
        await make_ai(timeout=DEADLINE).ask(question())
    assert time.monotonic() - began < DEADLINE + SLACK
    assert raised.value.details["reason"] == case.reason
    assert _recorded(calls()) == case.calls
    assert len(model_server.requests) == case.asked


def _recorded(calls):
    return tuple((call["outcome"], call["cost_source"], call["cost_usd"]) for call in calls)


class TestPacked:
    @pytest.mark.parametrize(
        ("pack", "body", "encoding", "detail"),
        [
            (gzip.compress, BOMB, "gzip", "the body of the answer is too large"),
            (zlib.compress, BOMB, "deflate", "the body of the answer is too large"),
            (bytes, b"{}", "gzip", "the body of the answer cannot be unpacked"),
            (bytes, b"{}", "zstd", "the body of the answer is packed in an unknown way"),
        ],
        ids=["gzip", "deflate", "not at all", "otherwise"],
    )
    async def test_is_unpacked_as_far_as_a_reply_may_go(
        self, make_ai, model_server, calls, pack, body, encoding, detail
    ):
        model_server.will(packed(pack, body, encoding))
        with pytest.raises(AiUnavailable) as raised:
            await make_ai().ask(question())
        assert raised.value.details["reason"] == "FAILED"
        assert [call["detail"] for call in calls()] == [detail]


class TestGarbageBytes:
    async def test_are_tried_again_until_there_is_no_time(self, make_ai, model_server, calls):
        model_server.will(garbage())
        began = time.monotonic()
        with pytest.raises(AiUnavailable) as raised:
            await make_ai(timeout=DEADLINE).ask(question())
        assert time.monotonic() - began < DEADLINE + SLACK
        assert raised.value.details["reason"] == "UNREACHABLE"
        assert {call["outcome"] for call in calls()} == {"unreachable"}
        assert len(calls()) == len(model_server.requests) > 1


class TestARecord:
    async def test_holds_who_what_and_how_much(self, make_ai, model_server, calls, make_user):
        user = make_user()["id"]
        model_server.will(good({"tasks": [suggestion()]}, cost=0.00123, after=0.05))
        answer = await make_ai().ask(question(), lead_id=7, requested_by=user)
        assert (answer.source, answer.model, answer.cost) == (AnswerSource.LLM, "test-model", Decimal("0.00123"))
        assert answer.prompt_version == "test-1"
        [call] = calls()
        assert (call["purpose"], call["prompt_version"], call["provider"]) == ("test", "test-1", "openai")
        assert (call["tokens_in"], call["tokens_out"]) == (100, 20)
        assert (call["lead_id"], call["requested_by"], call["attempt"]) == (7, user, 1)
        assert call["input_hash"] == answer.input_hash == question().input_hash
        assert 50 <= call["duration_ms"] < 3000

    async def test_shows_the_model_that_answered(self, make_ai, model_server, calls):
        model_server.will(good([], model="test-model-2026-11-01"))
        answer = await make_ai().ask(question())
        assert answer.model == calls()[0]["model"] == "test-model-2026-11-01"

    async def test_counts_the_calls_of_a_question(self, make_ai, model_server, calls):
        model_server.will(status(500), good("No."), good([]))
        answer = await make_ai().ask(question())
        assert [call["attempt"] for call in calls()] == [1, 2, 3]
        assert len({call["question_id"] for call in calls()}) == 1
        assert answer.cost == 2 * CENT  # what was said in vain costs too; the error does not

    async def test_holds_nothing_that_the_crm_or_the_model_wrote(self, make_ai, model_server, db):
        secret = "Ms Lindqvist is ill"
        model_server.will(
            good(None, refusal=f"I will not talk about it: {secret}"),
            good(f"{secret}."),
            good({"tasks": [{"x": secret}]}),
        )
        ai = make_ai()
        for _ in range(2):
            with pytest.raises(AiUnavailable):
                await ai.ask(question(facts={"notes": secret}))
        assert db.execute("SELECT count(*) AS count FROM ai_calls").fetchone()["count"] == 3
        assert (
            db.execute("SELECT ai_calls::text AS row FROM ai_calls WHERE ai_calls::text LIKE '%Lindqvist%'").fetchall()
            == []
        )

    @pytest.mark.parametrize(
        "usage",
        [
            {},
            {"prompt_tokens": "many", "completion_tokens": -1, "cost": "free"},
            {"prompt_tokens": 2**40, "completion_tokens": 1.5, "cost": 1e300},
            {"prompt_tokens": True, "completion_tokens": None, "cost": True},
            {"prompt_tokens": 1, "completion_tokens": 1, "cost": -3},
            "none",
            [1],
        ],
        ids=str,
    )
    async def test_takes_no_nonsense_for_a_bill(self, usage, make_ai, model_server, calls):
        model_server.will(good([], cost=None, usage=usage))
        answer = await make_ai().ask(question())
        assert answer.cost is None
        assert (calls()[0]["cost_usd"], calls()[0]["cost_source"], calls()[0]["outcome"]) == (None, "unknown", "ok")

    async def test_keeps_a_cost_of_nothing_that_the_provider_tells(self, make_ai, model_server, calls):
        model_server.will(good([], cost=0))
        assert (await make_ai().ask(question())).cost == 0
        assert (calls()[0]["cost_usd"], calls()[0]["cost_source"]) == (0, "provider")


class TestTheCorrection:
    async def test_quotes_the_reply_and_what_is_wrong_with_it(self, make_ai, model_server):
        model_server.will(good(WRONG_KEYS), good({"tasks": []}))
        await make_ai().ask(question())
        first, second = (request.body["messages"] for request in model_server.requests)
        assert [message["role"] for message in second] == ["system", "user", "assistant", "user"]
        assert second[:2] == first
        assert json.loads(second[2]["content"]) == WRONG_KEYS
        assert "tasks.0.title: Field required" in second[3]["content"]

    async def test_happens_once(self, make_ai, model_server):
        model_server.will(good("No."))
        with pytest.raises(AiUnavailable):
            await make_ai().ask(question())
        assert len(model_server.requests) == 2

    async def test_is_not_asked_for_what_is_valid_in_part(self, make_ai, model_server):
        model_server.will(good(TWO_OF_THREE))
        answer = await make_ai().ask(question())
        assert answer.warnings == ("1 of 3 were not valid and were left out",)
        assert len(model_server.requests) == 1


class TestPatience:
    async def test_waits_as_long_as_the_provider_asks(self, make_ai, model_server):
        model_server.will(status(429, retry_after="1"), good([]))
        await make_ai(timeout=5).ask(question())
        first, second = model_server.requests
        assert second.at - first.at >= 1

    async def test_tells_how_long_to_wait_when_that_is_too_long(self, make_ai, model_server):
        model_server.will(status(429, retry_after="60"))
        began = time.monotonic()
        with pytest.raises(AiUnavailable) as raised:
            await make_ai(timeout=5).ask(question())
        assert time.monotonic() - began < 1
        assert raised.value.details["retryAfterSeconds"] == 60

    async def test_understands_a_date(self, make_ai, model_server):
        model_server.will(status(429, retry_after="Wed, 21 Oct 2099 07:28:00 GMT"))
        with pytest.raises(AiUnavailable) as raised:
            await make_ai().ask(question())
        assert raised.value.details["retryAfterSeconds"] == 3600

    @pytest.mark.parametrize("nonsense", ["soon", "nan", "-5", "inf", "1e400"])
    async def test_survives_nonsense(self, nonsense, make_ai, model_server):
        model_server.will(status(429, retry_after=nonsense), good([]))
        ai = make_ai()
        if nonsense in {"inf", "1e400"}:
            with pytest.raises(AiUnavailable):
                await ai.ask(question())
        else:
            assert (await ai.ask(question())).value == Suggestions(tasks=[])

    async def test_ends_with_the_callers_deadline(self, make_ai, model_server, calls):
        model_server.will(hang())
        began = time.monotonic()
        with pytest.raises(AiUnavailable):
            await make_ai(timeout=30).ask(question(), deadline=asyncio.get_running_loop().time() + 0.5)
        assert time.monotonic() - began < 0.5 + SLACK
        assert [call["outcome"] for call in calls()] == ["timeout"]

    async def test_does_not_ask_at_all_without_time(self, make_ai, model_server, calls):
        with pytest.raises(AiUnavailable) as raised:
            await make_ai().ask(question(), deadline=0)
        assert raised.value.details["reason"] == "TIMEOUT"
        assert (calls(), model_server.requests) == ([], [])

    async def test_gives_up_after_some_attempts(self, make_ai, model_server, calls):
        model_server.will(status(500, retry_after="0"))
        with pytest.raises(AiUnavailable):
            await make_ai(timeout=10).ask(question())
        assert len(calls()) == 4


class TestASchemaThatTheServerDoesNotTake:
    @pytest.mark.parametrize("code", [400, 404, 422])
    async def test_is_left_out(self, code, make_ai, model_server, calls):
        model_server.will(status(code, "response_format is not supported"), good([]))
        ai = make_ai()
        await ai.ask(question())
        with_schema, without = (request.body for request in model_server.requests)
        assert with_schema["response_format"]["json_schema"]["strict"] is True
        assert "response_format" not in without
        assert '"title"' in without["messages"][0]["content"]  # now the instructions hold the schema
        assert '"title"' not in with_schema["messages"][0]["content"]
        await ai.ask(question())
        assert "response_format" not in model_server.requests[2].body  # and it is remembered
        assert [call["outcome"] for call in calls()] == ["ok", "ok"]

    async def test_is_not_blamed_for_everything(self, make_ai, model_server):
        model_server.will(status(404, "no such model"))
        ai = make_ai()
        with pytest.raises(AiUnavailable):
            await ai.ask(question())
        model_server.will(good([]))
        await ai.ask(question())
        assert "response_format" in model_server.requests[-1].body


def test_the_server_speaks_as_openai_does():
    assert completion([])["choices"][0]["message"]["content"] == "[]"


QUOTED = "Åsa Öberg of Volvo said: the budget is gone"
QUOTING = {
    "refused": status(400, QUOTED),
    "refused twice over": raw({"error": {"message": QUOTED, "code": QUOTED, "error": {"message": QUOTED}}}, 422),
    "a body that is text": raw(json.dumps(QUOTED).encode(), 500),
    "busy": status(429, QUOTED, retry_after="60"),
    "in a 200": error_in_200(503, QUOTED),
    "in a 200, as its code": error_in_200(QUOTED, QUOTED),
    "in the choice": raw({"choices": [{"finish_reason": "error", "message": {}, "error": {"message": QUOTED}}]}),
    "in a refusal": good(None, refusal=QUOTED),
    "in a reply that is none": good(QUOTED),
    "as keys": good({"tasks": [{QUOTED: QUOTED}], QUOTED: 1}),
}


class TestAProviderThatQuotesItsPrompt:
    @pytest.mark.parametrize("says", QUOTING.values(), ids=QUOTING)
    async def test_is_not_quoted(self, make_ai, model_server, calls, says):
        model_server.will(says)
        with capture_logs() as logged, pytest.raises(AiUnavailable) as raised:
            await make_ai(timeout=DEADLINE).ask(question())
        shown = [str(entry) for entry in logged if entry["log_level"] != "debug"]
        assert shown, "an operator hears that calls fail"
        for text in (*shown, str(calls()), raised.value.message, str(raised.value.details)):
            assert "Åsa" not in text
            assert "Volvo" not in text

    async def test_is_heard_by_whoever_debugs(self, make_ai, model_server):
        model_server.will(status(400, f"{QUOTED} {KEY}"))
        with capture_logs() as logged, pytest.raises(AiUnavailable):
            await make_ai(timeout=DEADLINE).ask(question())
        said = [entry["text"] for entry in logged if entry["event"] == "ai.provider_said"]
        assert said
        assert set(said) == {f"{QUOTED} [key]"}

    async def test_leaves_its_codes_on_record(self, make_ai, model_server, calls):
        error = {"message": QUOTED, "type": "invalid_request_error", "code": "context_length_exceeded"}
        model_server.will(raw({"error": error}, 400))
        with pytest.raises(AiUnavailable):
            await make_ai(timeout=DEADLINE).ask(question())
        assert {call["detail"] for call in calls()} == {"HTTP 400: invalid_request_error, context_length_exceeded"}
