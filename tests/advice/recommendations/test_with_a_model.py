import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from crm.advice.ai_claims.model import AiClaimPurpose
from crm.advice.ai_claims.service import AiClaimService
from crm.advice.recommendations.plain import plain
from crm.advice.recommendations.reply import Draft
from crm.advice.recommendations.service import Origin, SuggestionService
from crm.advice.summaries.service import SummaryText, SummaryWriter
from crm.core.identity import Role, Viewer
from crm.db.workflow import Writer, write_of
from crm.sales.leads.model import SummarySource
from crm.sales.tasks.model import TaskGenerator, TaskPriority
from tests.support.model_server import Thinking, drip, error_in_200, garbage, good, hang, raw, reset, status
from tests.support.waiting import eventually

TASK = {"title": "Call Ann at Hill Ltd", "reasoning": "She asked on 3 November.", "priority": "high"}
FAILURES = {
    "nonsense": good("I cannot help with that."),
    "a refusal": good(None, refusal="No."),
    "cut": good('{"tasks": [{"title": "Ca', finish_reason="length"),
    "an error in 200": error_in_200(502),
    "null choices": raw({"id": "x", "choices": None}),
    "401": status(401),
    "402": status(402),
    "429": status(429),
    "500": status(500),
    "hang": hang(),
    "drip": drip({"tasks": []}),
    "reset": reset(),
    "garbage": garbage(),
    "wrong keys": good({"suggestions": [{"heading": "x"}]}),
}

RECOMMEND = """mutation($lead: ID!) { recommendTasks(input: {leadId: $lead}) {
  tasks { generatedBy } answeredBy warnings { code message reason retryAfterSeconds }
} }"""


def of(answer):
    assert "errors" not in answer, answer
    return answer["data"]["generateTaskRecommendations"]


class TestAGoodReply:
    async def test_is_saved_with_where_it_came_from(self, asking, generate, model_server, make_lead, db):
        model_server.will(good({"tasks": [TASK, {**TASK, "title": "Write to Ann", "priority": None}]}))
        lead = make_lead(first_name="Ann", phone="+44 20 7946 0001", email="ann@hill.example")["id"]
        first, second = of(await asking()(generate, lead=lead))
        assert (first["title"], first["aiReasoning"], first["priority"]) == (*list(TASK.values())[:2], "HIGH")
        assert (first["source"], first["generatedBy"], first["rule"]) == ("AI_SUGGESTED", "LLM", None)
        assert (first["model"], first["promptVersion"]) == ("test-model", "recommendations-1")
        assert second["priority"] == "NORMAL"
        assert first["generationId"] == second["generationId"]
        assert db.execute("SELECT outcome, purpose, lead_id FROM ai_calls").fetchall() == [
            {"outcome": "ok", "purpose": "recommendations", "lead_id": lead}
        ]

    async def test_rests_on_facts_without_addresses(
        self, asking, generate, model_server, make_lead, make_task, days_ago
    ):
        lead = make_lead(first_name="Ann", phone="+44 20 7946 0001", email="ann@hill.example", location="London")["id"]
        make_task(lead_id=lead, title="Prepare the demo")
        make_task(lead_id=lead, title="Send flowers", source="dismissed", decided_at=days_ago(3))
        make_task(lead_id=lead, title="Forgotten", source="dismissed", decided_at=days_ago(40))
        model_server.will(good({"tasks": []}))
        assert of(await asking()(generate, lead=lead)) == []
        (asked,) = model_server.requests
        text = str(asked.body)
        assert "Prepare the demo" in text
        assert "Send flowers" in text
        assert "Write in English" in text
        for absent in ("7946", "hill.example", "Forgotten"):
            assert absent not in text

    @pytest.mark.parametrize(
        "reply",
        [
            '```json\n{"tasks": [{"title": "Call Ann at Hill Ltd", "reasoning": "Because."}]}\n```',
            'Sure! [{"title": "Call Ann at Hill Ltd", "reasoning": "Because."}] Good luck.',
            '{"title": "Call Ann at Hill Ltd", "reason": "Because."}',
            '{"tasks": [{"task": "Call Ann at Hill Ltd", "why": "Because."}, {"title": "No reason"}]}',
        ],
    )
    async def test_may_come_in_many_shapes(self, asking, generate, model_server, make_lead, reply):
        model_server.will(good(reply))
        (task,) = of(await asking()(generate, lead=make_lead()["id"]))
        assert task["title"] == "Call Ann at Hill Ltd"

    async def test_is_cut_to_three(self, asking, generate, model_server, make_lead):
        model_server.will(good({"tasks": [{**TASK, "title": f"Task {n}"} for n in range(5)]}))
        assert [one["title"] for one in of(await asking()(generate, lead=make_lead()["id"]))] == [
            "Task 0",
            "Task 1",
            "Task 2",
        ]

    async def test_repeats_nothing(self, asking, generate, model_server, make_lead, make_task, days_ago):
        lead = make_lead()["id"]
        make_task(lead_id=lead, title="Call Ann, at Hill Ltd!")
        make_task(lead_id=lead, title="WRITE to Ann", source="dismissed", updated_at=days_ago(29))
        make_task(lead_id=lead, title="Done", completed=True)
        titles = ["call ann at hill ltd", "Write — to Ann", "Send a gift", "send a GIFT.", "Done"]
        model_server.will(good({"tasks": [{**TASK, "title": title} for title in titles]}))
        assert [one["title"] for one in of(await asking()(generate, lead=lead))] == ["Send a gift", "Done"]

    async def test_repeats_nothing_in_other_words(self, asking, generate, model_server, make_lead, make_task, days_ago):
        lead = make_lead(first_name="Lars")["id"]
        make_task(lead_id=lead, title="E-mail Lars the price list")
        make_task(lead_id=lead, title="Book a demo with Lars", source="dismissed", decided_at=days_ago(3))
        titles = [
            "Call Lars about the proposal",
            "Call Lars regarding the proposal",
            "Ring Lars about proposal",
            "Write to Lars with the price list",
            "Schedule the demo with Lars",
            "Send the proposal to Lars",
        ]
        model_server.will(good({"tasks": [{**TASK, "title": title} for title in titles]}))
        assert [one["title"] for one in of(await asking()(generate, lead=lead))] == [titles[0], titles[-1]]

    async def test_is_cleaned_item_by_item(self, asking, generate, model_server, make_lead, db):
        now = datetime.now(UTC)
        odd = [
            {"title": "x" * 400, "reasoning": "Long.", "due_date": "9999-12-31"},
            {
                "title": "**Call** <script>alert(1)</script>\u202e\x00Ann",
                "reasoning": "See [this](http://evil.example).",
                "due_date": (now - timedelta(days=400)).date().isoformat(),
                "priority": "CRITICAL",
            },
            {"title": "\u200b \u2060", "reasoning": "Nothing to see."},
            {"title": "No reason", "reasoning": "  "},
            {"title": 7, "reasoning": ["x"]},
            {
                "title": "Saturday",
                "reasoning": "A weekend.",
                "due_date": _next_saturday(now).isoformat(),
                "priority": 1,
            },
        ]
        model_server.will(good({"tasks": odd}))
        tasks = of(await asking()(generate, lead=make_lead()["id"]))
        assert [one["title"] for one in tasks] == ["x" * 254 + "…", "Call alert(1)Ann", "Saturday"]
        assert tasks[1]["aiReasoning"] == "See this."
        assert tasks[1]["priority"] == "URGENT"
        for one in tasks:
            due = datetime.fromisoformat(one["dueDate"])
            assert now < due < now + timedelta(days=20)
            assert due.isoweekday() <= 5
        assert db.execute("SELECT count(*) AS n FROM tasks").fetchone() == {"n": 3}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Log in at evil.com/login now", "Log in at now"),
        ("See evil.co.uk:8080/x and evil.com?next=1 today", "See and today"),
        ("See evil.com/a<b>evil.com/b</b>", "See"),
        ("Ask Booking.com?", "Ask Booking.com?"),
        ("Node.js/React, e.g. 10.30/11.00 and Inc./Ltd", "Node.js/React, e.g. 10.30/11.00 and Inc./Ltd"),
    ],
)
def test_an_address_without_a_scheme_is_dropped_and_a_name_is_not(text, left):
    assert plain(text, 200) == left


def _next_saturday(now):
    return (now + timedelta(days=(5 - now.weekday()) % 7 or 7)).date()


class TestAFailure:
    @pytest.mark.parametrize("failure", FAILURES, ids=str)
    async def test_gives_nothing_and_says_so_in_time(
        self, asking, generate, model_server, make_lead, db, events, failure
    ):
        model_server.will(FAILURES[failure])
        began = time.monotonic()
        answer = await asking(timeout=1.0)(generate, lead=make_lead()["id"])
        assert time.monotonic() - began < 2.5
        assert of(answer) == []
        (warning,) = answer["extensions"]["warnings"]
        assert (warning["code"], warning["path"]) == ("AI_UNAVAILABLE", ["generateTaskRecommendations"])
        assert warning["message"]
        assert events() == []
        assert db.execute("SELECT outcome FROM generations").fetchall() == [{"outcome": "failed"}]
        assert db.execute("SELECT count(*) AS n FROM ai_calls").fetchone()["n"] >= 1

    async def test_is_stood_in_for_by_the_playbook_if_so_set(self, asking, generate, model_server, make_lead):
        model_server.will(status(500))
        answer = await asking(fallback=True, timeout=1.0)(generate, lead=make_lead(phone="1")["id"])
        assert {one["generatedBy"] for one in of(answer)} == {"PLAYBOOK"}
        assert answer["extensions"]["warnings"][0]["code"] == "AI_UNAVAILABLE"

    async def test_is_part_of_the_payload_of_the_twin(self, asking, model_server, make_lead):
        """An empty list without a warning means that there is nothing to suggest."""
        lead = make_lead(phone="1")["id"]
        model_server.will(status(500))
        failed = (await asking(timeout=1.0)(RECOMMEND, lead=lead))["data"]["recommendTasks"]
        assert (failed["tasks"], failed["answeredBy"]) == ([], None)
        assert [warning["code"] for warning in failed["warnings"]] == ["AI_UNAVAILABLE"]
        assert failed["warnings"][0]["message"]
        model_server.will(status(500))
        stood_in = (await asking(fallback=True, timeout=1.0)(RECOMMEND, lead=lead))["data"]["recommendTasks"]
        assert {task["generatedBy"] for task in stood_in["tasks"]} == {stood_in["answeredBy"]} == {"PLAYBOOK"}
        assert [warning["code"] for warning in stood_in["warnings"]] == ["AI_UNAVAILABLE"]
        model_server.will(good({"tasks": []}))
        assert (await asking()(RECOMMEND, lead=lead))["data"]["recommendTasks"] == {
            "tasks": [],
            "answeredBy": "LLM",
            "warnings": [],
        }

    async def test_never_outlasts_the_request(self, asking, generate, model_server, make_lead):
        model_server.will(hang())
        began = time.monotonic()
        answer = await asking(timeout=30, request_timeout=2)(generate, lead=make_lead()["id"])
        assert time.monotonic() - began < 2
        assert of(answer) == []

    async def test_warns_once_for_each_field(self, asking, model_server, make_lead):
        model_server.will(status(401))
        answer = await asking()(
            "mutation($a: Int!, $b: Int!) { one: generateTaskRecommendations(leadId: $a) { id } "
            "two: generateTaskRecommendations(leadId: $b) { id } }",
            a=make_lead()["id"],
            b=make_lead()["id"],
        )
        assert answer["data"] == {"one": [], "two": []}
        assert [one["path"] for one in answer["extensions"]["warnings"]] == [["one"], ["two"]]


class TestTwoAtOnce:
    async def test_get_one_answer(self, asking, generate, model_server, make_lead, db):
        model_server.will(good({"tasks": [TASK]}, after=0.4), good({"tasks": [{**TASK, "title": "Ring up Ann"}]}))
        lead, run = make_lead()["id"], asking()
        answers = await asyncio.gather(*(run(generate, lead=lead) for _ in range(5)))
        assert len({str(of(answer)) for answer in answers}) == 1
        assert len(model_server.requests) == 1
        assert db.execute("SELECT count(*) AS n FROM tasks").fetchone() == {"n": 1}

    async def test_of_different_leads_do_not_wait(self, asking, generate, model_server, make_lead):
        thinking = Thinking({"tasks": [TASK]})
        model_server.will(thinking)
        run = asking()
        answers = [asyncio.create_task(run(generate, lead=make_lead()["id"])) for _ in range(4)]
        await eventually(lambda: len(model_server.requests) == 4)
        thinking.go_on.set()
        assert [len(of(await answer)) for answer in answers] == [1] * 4

    async def test_share_the_failure_too(self, asking, generate, model_server, make_lead):
        model_server.will(hang())
        lead, run = make_lead()["id"], asking(timeout=0.5)
        answers = await asyncio.gather(*(run(generate, lead=lead) for _ in range(3)))
        assert [of(answer) for answer in answers] == [[], [], []]
        warnings = [answer["extensions"]["warnings"][0] for answer in answers]
        assert {one["code"] for one in warnings} == {"AI_UNAVAILABLE"}
        told = sorted((one["reason"], one.get("retryAfterSeconds")) for one in warnings)
        assert told == [("JOINED", 1), ("JOINED", 1), ("TIMEOUT", None)]
        assert len(model_server.requests) == 1

    async def test_the_second_takes_over_from_one_that_was_given_up(
        self, asking, generate, model_server, make_lead, db
    ):
        model_server.will(hang(), good({"tasks": [TASK]}))
        lead, run = make_lead()["id"], asking(timeout=20)
        first = asyncio.create_task(run(generate, lead=lead))
        while not model_server.requests:
            await asyncio.sleep(0.02)
        second = asyncio.create_task(run(generate, lead=lead))
        await asyncio.sleep(0.1)
        first.cancel()
        assert [one["title"] for one in of(await second)] == [TASK["title"]]
        outcomes = [row["outcome"] for row in db.execute("SELECT outcome FROM generations ORDER BY started_at")]
        assert outcomes == ["abandoned", "saved"]

    async def test_a_lease_of_a_process_that_died_expires(self, asking, generate, model_server, make_lead, db):
        lead = make_lead()["id"]
        db.execute(
            "INSERT INTO generations (lead_id, purpose, expires_at) VALUES (%s, 'recommendations', now())", [lead]
        )
        model_server.will(good({"tasks": [TASK]}))
        assert len(of(await asking()(generate, lead=lead))) == 1


class TestMeanwhile:
    @pytest.mark.parametrize(
        "how", ["UPDATE leads SET deleted_at = now() WHERE id = %s", "DELETE FROM leads WHERE id = %s"]
    )
    async def test_a_deleted_lead_gets_nothing_and_a_clear_answer(
        self, asking, generate, model_server, make_lead, db, how
    ):
        model_server.will(good({"tasks": [TASK]}, after=0.5))
        lead = make_lead()["id"]
        asked = asyncio.create_task(asking()(generate, lead=lead))
        while not model_server.requests:
            await asyncio.sleep(0.02)
        db.execute(how, [lead])
        answer = await asked
        assert answer["data"] is None
        assert answer["errors"][0]["extensions"] == {"code": "NOT_FOUND", "entity": "lead", "id": str(lead)}
        assert db.execute("SELECT count(*) AS n FROM tasks").fetchone() == {"n": 0}
        assert db.execute("SELECT 1 FROM generations WHERE finished_at IS NULL").fetchall() == []

    async def test_a_lead_that_was_restored_does_not_wait(self, asking, generate, model_server, make_lead, db):
        model_server.will(good({"tasks": [TASK]}, after=0.5), good({"tasks": [TASK]}))
        lead, run = make_lead()["id"], asking()
        asked = asyncio.create_task(run(generate, lead=lead))
        while not model_server.requests:
            await asyncio.sleep(0.02)
        db.execute("UPDATE leads SET deleted_at = now() WHERE id = %s", [lead])
        assert (await asked)["errors"][0]["extensions"]["code"] == "NOT_FOUND"
        db.execute("UPDATE leads SET deleted_at = NULL WHERE id = %s", [lead])
        async with asyncio.timeout(3):
            assert [one["title"] for one in of(await run(generate, lead=lead))] == [TASK["title"]]

    async def test_no_transaction_is_open(self, asking, generate, model_server, make_lead, db):
        model_server.will(good({"tasks": [TASK]}, after=0.5))
        asked = asyncio.create_task(asking()(generate, lead=make_lead()["id"]))
        while not model_server.requests:
            await asyncio.sleep(0.02)
        states = db.execute(
            "SELECT state FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchall()
        assert not [row for row in states if row["state"].startswith("idle in transaction")]
        await asked

    async def test_what_somebody_else_added_is_not_added_again(
        self, asking, generate, model_server, make_lead, make_task
    ):
        model_server.will(good({"tasks": [TASK]}, after=0.4))
        lead = make_lead()["id"]
        asked = asyncio.create_task(asking()(generate, lead=lead))
        while not model_server.requests:
            await asyncio.sleep(0.02)
        make_task(lead_id=lead, title=TASK["title"])
        assert of(await asked) == []


class TestALostCommit:
    """The connection broke while it was committed: nobody heard that it was, so it is written again."""

    async def test_of_suggestions_saves_no_twins(self, database, make_lead, db):
        writer, lead = Writer(database, Viewer(None, Role.ADMIN), lambda: None), make_lead()["id"]
        claim = write_of(AiClaimService.claim, lead, AiClaimPurpose.RECOMMENDATIONS, 10)
        generation, _ = await writer.run(claim)
        origin = Origin(generation, TaskGenerator.LLM, "test-model", "1")
        draft = Draft("Call Ann", "Because.", None, TaskPriority.NORMAL, datetime.now(UTC))
        save = write_of(SuggestionService.record, lead, origin, [draft])
        first, again = [[task.id for task in await writer.run(save)] for _ in range(2)]
        assert first == again == [row["id"] for row in db.execute("SELECT id FROM tasks").fetchall()]

    async def test_of_a_summary_changes_nothing_more(self, database, make_lead, events):
        writer, lead = Writer(database, Viewer(None, Role.ADMIN), lambda: None), make_lead()["id"]
        claim = write_of(AiClaimService.claim, lead, AiClaimPurpose.SUMMARY, 10)
        generation, _ = await writer.run(claim)
        text = SummaryText("All is well.", SummarySource.LLM, "test-model", "1", "x", datetime.now(UTC))
        save = write_of(SummaryWriter.record, lead, generation, text)
        first, again = [(await writer.run(save)).summary_generated_at for _ in range(2)]
        assert first == again
        assert [event["type"] for event in events()] == ["lead.updated"]
