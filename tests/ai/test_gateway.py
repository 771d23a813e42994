"""Budget, circuit breaker, cancellation, fallback: what holds whoever answers."""

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from crm.ai import playbook
from crm.ai.breaker import AiCircuit, Breaker
from crm.ai.calls import Calls
from crm.ai.gateway import AnswerSource
from crm.ai.openai_client import OpenAiProvider, openai_or_compatible, openrouter
from crm.ai.playbook import PlaybookProvider
from crm.ai.provider import Outcome
from crm.ai.scripted import FAILS, ScriptedProvider
from crm.core.errors import AiBudgetSpent, AiUnavailable
from crm.db.database import Database
from tests.ai.questions import KEY, Suggestions, question, suggestion
from tests.support.model_server import ModelServer, good, hang, status
from tests.support.servers import free_port
from tests.support.waiting import eventually

NOTHING = '{"tasks": []}'


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


async def refusal(asking):
    with pytest.raises(AiUnavailable) as raised:
        await asking
    return raised.value


async def reason(asking):
    return (await refusal(asking)).details["reason"]


class TestBudget:
    async def test_is_spent_and_then_nothing_is_asked(self, make_ai, model_server, calls):
        model_server.will(good([], cost=0.004))
        ai = make_ai(budget=Decimal("0.01"))
        for _ in range(3):
            await ai.ask(question())
        assert await reason(ai.ask(question())) == "BUDGET_SPENT"
        assert len(model_server.requests) == len(calls()) == 3
        assert await ai.calls.spent_today() == Decimal("0.012")

    async def test_of_nothing_is_not_spent_on_what_nobody_has_a_price_for(self, make_ai, model_server):
        model_server.will(good([], cost=0.01))
        assert await reason(make_ai(budget=Decimal(0)).ask(question())) == "BUDGET_SPENT"
        assert not model_server.requests

    async def test_does_not_open_the_circuit(self, make_ai, model_server):
        model_server.will(good([]))
        ai = make_ai(budget=Decimal(0), endpoint=openrouter(KEY, address=model_server.url), model="openai/gpt-6-luna")
        for _ in range(10):
            assert await reason(ai.ask(question())) == "BUDGET_SPENT"
        assert ai.breaker.state is AiCircuit.CLOSED

    async def test_is_kept_by_reserving_before_asking(self, make_ai, model_server, calls):
        """20 at once, of which the budget allows for 2, however little they turn out to cost."""
        model_server.will(good([], cost=0.0001, after=0.3))
        endpoint = openrouter(KEY, address=model_server.url)
        provider = OpenAiProvider(endpoint, "openai/gpt-6-luna", max_output_tokens=1000)
        most = provider.most(question())
        ai = make_ai(provider=provider, budget=most * 2)
        found = await asyncio.gather(*(ai.ask(question()) for _ in range(20)), return_exceptions=True)
        answered = [one for one in found if not isinstance(one, AiUnavailable)]
        assert len(answered) == len(model_server.requests) == len(calls()) == 2
        assert await ai.calls.spent_today() == Decimal("0.0002")  # what was reserved is given back
        await ai.ask(question())

    async def test_is_shared_by_processes(self, make_ai, model_server, database_url):
        """Two gateways with connections of their own know of each other by the database alone."""
        model_server.will(good([], cost=0.0005, after=0.1))
        others = Database(database_url)
        options: dict[str, Any] = {
            "endpoint": openrouter(KEY, address=model_server.url),
            "model": "openai/gpt-6-luna",
            "budget": Decimal("0.002"),
        }
        here, there = make_ai(**options), make_ai(**options)
        there.calls = Calls(others, options["budget"])
        with suppress(AiUnavailable):
            for _ in range(10):
                await asyncio.gather(here.ask(question()), there.ask(question()))
        assert Decimal("0.001") <= await here.calls.spent_today() <= options["budget"]
        others.close()

    async def test_counts_what_is_unknown_as_the_most_it_can_have_cost(self, make_ai, model_server, calls):
        model_server.will(hang())
        ai = make_ai(
            endpoint=openrouter(KEY, address=model_server.url),
            model="openai/gpt-6-luna",
            timeout=0.3,
            budget=Decimal(1),
        )
        assert await reason(ai.ask(question())) == "TIMEOUT"
        [call] = calls()
        assert (call["cost_usd"], call["cost_source"]) == (None, "unknown")
        assert await ai.calls.spent_today() == call["reserved_usd"] > 0

    async def test_counts_nothing_for_what_was_not_answered(self, make_ai, model_server, calls):
        model_server.will(status(401))
        ai = make_ai(endpoint=openrouter(KEY, address=model_server.url), model="openai/gpt-6-luna", budget=Decimal(1))
        assert await reason(ai.ask(question())) == "REJECTED"
        assert (calls()[0]["reserved_usd"], calls()[0]["cost_usd"], await ai.calls.spent_today()) == (None, 0, 0)

    async def test_counts_nothing_for_what_could_not_be_sent(self, make_ai, calls):
        endpoint = openai_or_compatible(KEY, f"http://127.0.0.1:{free_port()}/v1")
        assert await reason(make_ai(endpoint=endpoint, timeout=2).ask(question())) == "UNREACHABLE"
        assert {(call["cost_usd"], call["cost_source"]) for call in calls()} == {(0, "provider")}

    async def test_that_is_spent_is_so_until_midnight(self, make_ai, model_server):
        model_server.will(good([], cost=0.01))
        ai = make_ai(budget=Decimal("0.01"))
        await ai.ask(question())  # nobody can tell what it will cost, and there is something left
        spent = await refusal(ai.ask(question()))
        assert isinstance(spent, AiBudgetSpent)
        assert "midnight UTC" in spent.message
        assert spent.extensions == {"code": "AI_UNAVAILABLE", "reason": "BUDGET_SPENT"}

    async def test_that_questions_under_way_have_reserved_may_be_free_again_soon(self, make_ai, model_server):
        model_server.will(good([], cost=0.0001, after=0.5))
        provider = OpenAiProvider(
            openrouter(KEY, address=model_server.url), "openai/gpt-6-luna", max_output_tokens=1000
        )
        ai = make_ai(provider=provider, budget=provider.most(question()))
        first = asyncio.create_task(ai.ask(question()))
        await eventually(lambda: model_server.requests, 5)
        refused = await refusal(ai.ask(question()))
        assert not isinstance(refused, AiBudgetSpent)
        assert (refused.details["reason"], refused.details["retryAfterSeconds"]) == ("BUDGET_RESERVED", 5)
        await first
        assert ai.breaker.state is AiCircuit.CLOSED

    async def test_that_a_killed_process_has_reserved_is_not_free_again_today(self, make_ai, model_server, db):
        model_server.will(hang())
        provider = OpenAiProvider(
            openrouter(KEY, address=model_server.url), "openai/gpt-6-luna", max_output_tokens=1000
        )
        ai = make_ai(provider=provider, budget=provider.most(question()), timeout=0.3)
        assert await reason(ai.ask(question())) == "TIMEOUT"
        assert isinstance(await refusal(ai.ask(question())), AiBudgetSpent)
        # For longer than any call may take.
        db.execute("UPDATE ai_calls SET outcome = 'underway', created_at = created_at - interval '1 second'")
        assert isinstance(await refusal(ai.ask(question())), AiBudgetSpent)

    async def test_is_of_today(self, make_ai, model_server, db):
        model_server.will(good([], cost=0.005))
        ai = make_ai(budget=Decimal("0.005"))
        await ai.ask(question())
        db.execute(
            "UPDATE ai_calls SET created_at = "
            "date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '1 second'"
        )
        assert await ai.calls.spent_today() == 0
        await ai.ask(question())

    async def test_of_nothing_leaves_the_playbook(self, make_ai, rules):
        assert (await make_ai(provider=PlaybookProvider(), budget=Decimal(0)).ask(question(purpose=rules))).cost == 0


class TestBreaker:
    async def test_leaves_a_failing_provider_alone(self, make_ai):
        provider = ScriptedProvider(FAILS)
        ai = make_ai(provider=provider)
        for _ in range(5):
            assert await reason(ai.ask(question())) == "FAILED"
        assert await reason(ai.ask(question())) == "CIRCUIT_OPEN"
        assert len(provider.asked) == 5

    async def test_lets_one_through_after_a_while(self, make_ai):
        clock, provider = Clock(), ScriptedProvider(FAILS, takes_seconds=0.05)
        ai = make_ai(provider=provider, breaker=Breaker(clock))
        for _ in range(5):
            await reason(ai.ask(question()))
        clock.now += 31
        assert ai.breaker.state is AiCircuit.HALF_OPEN
        found = await asyncio.gather(*(reason(ai.ask(question())) for _ in range(4)))
        assert sorted(found) == ["CIRCUIT_OPEN"] * 3 + ["FAILED"]
        assert ai.breaker.state is AiCircuit.OPEN
        clock.now += 31
        provider.say([NOTHING])
        await ai.ask(question())
        assert ai.breaker.state is AiCircuit.CLOSED
        await asyncio.gather(*(ai.ask(question()) for _ in range(4)))

    async def test_lets_another_through_when_the_first_goes_away(self, make_ai):
        clock, provider = Clock(), ScriptedProvider(FAILS)
        ai = make_ai(provider=provider, breaker=Breaker(clock))
        for _ in range(5):
            await reason(ai.ask(question()))
        clock.now += 31
        slow = ScriptedProvider(NOTHING, takes_seconds=30)
        ai.provider = slow
        probe = asyncio.create_task(ai.ask(question()))
        await eventually(lambda: slow.asked, 5)
        probe.cancel()
        await asyncio.wait([probe])
        ai.provider = ScriptedProvider(NOTHING)
        await ai.ask(question())
        assert ai.breaker.state is AiCircuit.CLOSED

    async def test_says_when_to_come_back(self, make_ai):
        clock, provider = Clock(), ScriptedProvider(FAILS, takes_seconds=0.05)
        ai = make_ai(provider=provider, breaker=Breaker(clock))
        for _ in range(5):
            await reason(ai.ask(question()))
        assert (await refusal(ai.ask(question()))).details == {"reason": "CIRCUIT_OPEN", "retryAfterSeconds": 30}
        clock.now += 19.5
        assert (await refusal(ai.ask(question()))).details["retryAfterSeconds"] == 11
        clock.now += 11
        found = await asyncio.gather(*(refusal(ai.ask(question())) for _ in range(2)))
        assert [one.details.get("retryAfterSeconds") for one in found] == [None, 10]  # while one question tries it

    async def test_leaves_alone_who_says_when_to_come_back(self, make_ai):
        """Too many questions, says a provider that works."""
        busy = replace(FAILS, outcome=Outcome.RATE_LIMITED, retry_after=60, again=True)
        clock, provider = Clock(), ScriptedProvider(busy)
        ai = make_ai(provider=provider, breaker=Breaker(clock))
        for _ in range(10):
            assert await reason(ai.ask(question())) == "RATE_LIMITED"
        assert ai.breaker.state is AiCircuit.CLOSED
        provider.say([replace(busy, retry_after=None, again=False)])
        for _ in range(5):
            assert await reason(ai.ask(question())) == "RATE_LIMITED"
        assert ai.breaker.state is AiCircuit.OPEN
        clock.now += 31
        provider.say([busy])
        for _ in range(2):  # it still does not say whether it works: the next question tries again
            assert await reason(ai.ask(question())) == "RATE_LIMITED"
        assert ai.breaker.state is AiCircuit.HALF_OPEN

    async def test_minds_no_caller_in_a_hurry(self, make_ai):
        ai = make_ai(provider=ScriptedProvider(NOTHING, takes_seconds=30), timeout=0.5)
        now = asyncio.get_running_loop().time
        for _ in range(6):
            assert await reason(ai.ask(question(), deadline=now() + 0.2)) == "TIMEOUT"
        assert ai.breaker.state is AiCircuit.CLOSED
        for _ in range(5):  # as good as all the time there is
            assert await reason(ai.ask(question(), deadline=now() + 0.48)) == "TIMEOUT"
        assert ai.breaker.state is AiCircuit.OPEN

    async def test_minds_neither_old_failures_nor_a_few_among_many(self, make_ai):
        clock, provider = Clock(), ScriptedProvider(FAILS)
        ai = make_ai(provider=provider, breaker=Breaker(clock))
        for _ in range(4):
            await reason(ai.ask(question()))
        clock.now += 61
        await reason(ai.ask(question()))
        assert ai.breaker.state is AiCircuit.CLOSED
        provider.say([NOTHING])
        for _ in range(10):
            await ai.ask(question())
        provider.say([FAILS])
        for _ in range(5):
            await reason(ai.ask(question()))
        assert ai.breaker.state is AiCircuit.CLOSED

    @pytest.mark.parametrize("says", ["I would rather not.", '{"tasks": [{}]}'])
    async def test_is_not_about_what_a_model_says(self, says, make_ai):
        ai = make_ai(provider=ScriptedProvider(says))
        for _ in range(7):
            assert await reason(ai.ask(question())) == "INVALID"
        assert ai.breaker.state is AiCircuit.CLOSED

    async def test_opens_over_a_real_server_that_is_gone(self, make_ai, calls):
        endpoint = openai_or_compatible(KEY, f"http://127.0.0.1:{free_port()}/v1")
        ai = make_ai(endpoint=endpoint, timeout=0.3)
        for _ in range(5):
            assert await reason(ai.ask(question())) == "UNREACHABLE"
        before = len(calls())
        began = time.monotonic()
        assert await reason(ai.ask(question())) == "CIRCUIT_OPEN"
        assert time.monotonic() - began < 0.1
        assert len(calls()) == before


class TestWhoeverGoesAway:
    async def test_leaves_a_record(self, make_ai, model_server, calls):
        model_server.will(hang())
        ai = make_ai(endpoint=openrouter(KEY, address=model_server.url), model="openai/gpt-6-luna")
        asking = asyncio.create_task(ai.ask(question()))
        await eventually(lambda: model_server.requests, 5)
        assert [call["outcome"] for call in calls()] == ["underway"]
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await ai.close()  # waits for the record
        [call] = calls()
        assert (call["outcome"], call["cost_usd"], call["cost_source"]) == ("cancelled", None, "unknown")
        assert call["reserved_usd"] > 0
        assert call["duration_ms"] is not None

    async def test_while_waiting_to_try_again(self, make_ai, model_server, calls):
        model_server.will(status(429, retry_after="2"))
        asking = asyncio.create_task(make_ai().ask(question()))
        await eventually(lambda: calls() and calls()[0]["outcome"] == "rate_limited", 5)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert len(calls()) == 1

    async def test_is_answered_though_the_record_cannot_be_completed(self, make_ai, model_server, database_url, capfd):
        """PostgreSQL is gone for good: the answer comes, and the process ends, with the bill in its log."""
        model_server.will(good([], cost=0.5, after=0.3))
        gone = Database(database_url)
        ai = make_ai(timeout=1)
        ai.calls = Calls(gone)
        asking = asyncio.create_task(ai.ask(question()))
        await eventually(lambda: model_server.requests, 5)
        gone.close()
        assert (await asking).cost == Decimal("0.5")
        began = time.monotonic()
        await ai.close()
        assert time.monotonic() - began < 7
        [told] = [line for line in capfd.readouterr().out.splitlines() if "ai.not_recorded" in line]
        assert "0.5" in told

    async def test_costs_no_connection(self, make_ai, model_server, database_url, calls):
        """No connection is held while a model thinks: one is enough for 20 questions at once."""
        model_server.will(good([], after=0.5))
        narrow = Database(database_url, size=1, timeout=2)
        ai = make_ai()
        ai.calls = Calls(narrow, Decimal(1))
        began = time.monotonic()
        await asyncio.gather(*(ai.ask(question()) for _ in range(20)))
        assert time.monotonic() - began < 3
        assert [call["outcome"] for call in calls()] == ["ok"] * 20
        narrow.close()

    async def test_without_a_record_leaves_the_connection_clean(self, make_ai, model_server, database_url, calls):
        model_server.will(good([]))
        narrow = Database(database_url, size=1, timeout=2)
        ai = make_ai()
        ai.calls = Calls(narrow, Decimal(1))
        with pytest.raises(psycopg.errors.NumericValueOutOfRange):
            await ai.ask(question(), lead_id=2**40)
        assert model_server.requests == []
        await ai.ask(question())
        assert [call["outcome"] for call in calls()] == ["ok"]  # seen from outside: it was committed
        await ai.close()
        narrow.close()


@pytest.fixture
def rules():
    """A purpose that the playbook knows."""
    purpose = "test-rules"
    with suppress(ValueError):

        @playbook.answers(purpose)
        def answer(asked):
            if asked.facts.get("broken"):
                raise KeyError(KEY)
            return Suggestions(tasks=[suggestion()] if asked.language == "en" else [])

    return purpose


class TestPlaybook:
    async def test_answers_and_says_so(self, make_ai, rules, calls):
        answer = await make_ai(provider=PlaybookProvider()).ask(question(purpose=rules))
        assert [task.title for task in answer.value.tasks] == ["Call 1"]
        assert (answer.source, answer.model, answer.cost) == (AnswerSource.PLAYBOOK, "playbook", 0)
        [call] = calls()
        assert (call["provider"], call["outcome"], call["cost_usd"], call["cost_source"]) == (
            "playbook",
            "ok",
            0,
            "provider",
        )

    async def test_does_not_hold_the_event_loop_while_it_reads(self, make_ai):
        """Twelve long notes take the rules 0.2 s, in which others are answered."""
        reading, went_on = threading.Event(), threading.Event()

        @playbook.answers("test-slow-rules")
        def read(_):
            reading.set()
            return Suggestions(tasks=[suggestion()] if went_on.wait(10) else [])

        ai = make_ai(provider=PlaybookProvider())
        asking = asyncio.create_task(ai.ask(question(purpose="test-slow-rules")))
        await asyncio.to_thread(reading.wait, 10)
        went_on.set()
        assert len((await asking).value.tasks) == 1

    async def test_has_rules_or_says_no(self, make_ai):
        assert await reason(make_ai(provider=PlaybookProvider()).ask(question(purpose="poetry"))) == "REJECTED"

    async def test_that_breaks_is_unavailable(self, make_ai, rules, calls):
        assert (
            await reason(make_ai(provider=PlaybookProvider()).ask(question(purpose=rules, facts={"broken": True})))
            == "FAILED"
        )
        assert calls()[0]["detail"] == "KeyError"

    def test_has_one_set_of_rules_for_a_purpose(self, rules):
        with pytest.raises(ValueError, match=rules):
            playbook.answers(rules)(lambda _: Suggestions(tasks=[]))


class TestFallback:
    async def test_is_the_playbook_labelled(self, make_ai, rules, calls):
        ai = make_ai(provider=ScriptedProvider(FAILS), fallback=PlaybookProvider())
        answer = await ai.ask(question(purpose=rules))
        assert (answer.source, answer.model) == (AnswerSource.PLAYBOOK, "playbook")
        assert answer.warnings == ("The AI provider answered with an error.",)
        assert [(call["provider"], call["outcome"]) for call in calls()] == [("scripted", "failed"), ("playbook", "ok")]
        assert len({call["question_id"] for call in calls()}) == 1

    async def test_answers_when_all_the_time_is_used_up(self, make_ai, rules):
        ai = make_ai(provider=ScriptedProvider(NOTHING, takes_seconds=10), fallback=PlaybookProvider(), timeout=0.2)
        assert (await ai.ask(question(purpose=rules))).source is AnswerSource.PLAYBOOK

    async def test_is_not_there_unless_asked_for(self, make_ai, rules):
        assert await reason(make_ai(provider=ScriptedProvider(FAILS)).ask(question(purpose=rules))) == "FAILED"

    async def test_without_rules_is_no_answer(self, make_ai):
        ai = make_ai(provider=ScriptedProvider(FAILS), fallback=PlaybookProvider())
        assert await reason(ai.ask(question(purpose="poetry"))) == "REJECTED"


class TestScriptedProvider:
    async def test_goes_the_whole_way(self, make_ai, calls):
        provider = ScriptedProvider("No.", lambda asked: f'{{"tasks": []}} for {asked.purpose}')
        answer = await make_ai(provider=provider).ask(question())
        assert (answer.model, answer.cost) == ("scripted-1", Decimal("0.002"))
        assert [call["outcome"] for call in calls()] == ["invalid", "ok"]
        assert provider.asked[1].correction.text == "No."

    async def test_fails_as_told(self, make_ai):
        failure = replace(FAILS, outcome=Outcome.RATE_LIMITED, retry_after=0.01, again=True)
        answer = await make_ai(provider=ScriptedProvider(failure, NOTHING)).ask(question())
        assert answer.value.tasks == []

    async def test_may_break(self, make_ai, calls):
        def broken(_):
            raise ZeroDivisionError

        assert await reason(make_ai(provider=ScriptedProvider(broken)).ask(question())) == "FAILED"
        assert calls()[0]["detail"] == "ZeroDivisionError"


class TestNoNetwork:
    @pytest.mark.parametrize("host", ["nowhere.invalid", "127.0.0.1:9", "[::1]:9"])
    async def test_is_unavailable_in_time(self, host, make_ai, calls):
        began = time.monotonic()
        ai = make_ai(endpoint=openai_or_compatible(KEY, f"http://{host}/v1"), timeout=1.0)
        assert await reason(ai.ask(question())) in {"UNREACHABLE", "TIMEOUT"}
        assert time.monotonic() - began < 1.7
        assert {call["cost_usd"] for call in calls()} <= {0, None}  # None: nobody knows whether it was still sent

    async def test_that_comes_back_is_found(self, make_ai):
        server = ModelServer()
        url = server.url
        server.stop()
        ai = make_ai(endpoint=openai_or_compatible(KEY, url))
        assert await reason(ai.ask(question(), deadline=asyncio.get_running_loop().time() + 0.3)) == "UNREACHABLE"
        again = ModelServer(int(url.split(":")[2].split("/")[0]))
        again.will(good([]))
        await ai.ask(question())
        again.stop()

    async def test_or_not_a_server_of_models(self, make_ai, server):
        ai = make_ai(endpoint=openai_or_compatible(KEY, f"{server.url}/v1"))
        assert await reason(ai.ask(question())) == "REJECTED"

    async def test_or_a_base_that_is_none(self, make_ai):
        ai = make_ai(endpoint=openai_or_compatible(KEY, "http://127.0.0.1:99999/v1"), timeout=0.5)
        assert await reason(ai.ask(question())) in {"UNREACHABLE", "FAILED", "TIMEOUT"}


class TestTheKey:
    async def test_goes_to_the_server_and_nowhere_else(self, make_ai, model_server, db, capfd):
        model_server.will(
            status(401, f"Incorrect API key provided: {KEY}. Get one at https://example.com"),
            status(500, f"Bearer {KEY}"),
            good(f"Your key is {KEY}"),
        )
        ai = make_ai(timeout=2)
        failures = []
        for _ in range(2):
            with pytest.raises(AiUnavailable) as raised:
                await ai.ask(question())
            failures.append(raised.value)
        assert all(request.headers["authorization"] == f"Bearer {KEY}" for request in model_server.requests)
        said = "".join(f"{one!r} {one} {one.extensions} {one.__cause__!r}" for one in failures)
        rows = str(db.execute("SELECT ai_calls::text FROM ai_calls").fetchall())
        out = capfd.readouterr()
        assert "401" in rows
        for shown in (said, rows, out.out, out.err, repr(openai_or_compatible(KEY, "http://x"))):
            assert KEY not in shown

    async def test_is_not_quoted_by_what_breaks(self, make_ai, calls, capfd):
        class Broken(ScriptedProvider):
            async def complete(self, question, *, deadline):  # noqa: ARG002
                message = f"Illegal header value b'Bearer {KEY}'"
                raise RuntimeError(message)

        assert await reason(make_ai(provider=Broken("")).ask(question())) == "FAILED"
        out = capfd.readouterr()
        assert "RuntimeError" in out.out + out.err
        assert KEY not in out.out + out.err + str(calls())
