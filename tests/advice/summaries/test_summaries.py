import asyncio
from dataclasses import replace
from datetime import datetime

import psycopg
import pytest

from crm.ai.playbook import PlaybookProvider
from tests.support.model_server import good, hang, status
from tests.support.problems import reasons
from tests.support.waiting import eventually

SUMMARY = "Ann asked for a quote.\n\nThe lead is qualified.\n\nNext: send it."
WRITE = """mutation($lead: ID!, $force: Boolean! = false) { writeSummary(input: {leadId: $lead, force: $force}) {
  lead { id summary } answeredBy warnings { code message }
} }"""
STALE = "query($lead: Int!) { lead(id: $lead) { summaryIsStale } }"
LOG = "mutation($lead: Int!) { logInteraction(input: {leadId: $lead, type: CALL}) { id } }"


def of(answer):
    assert "errors" not in answer, answer
    return answer["data"]["regenerateSummary"]


class TestRegenerateSummary:
    async def test_writes_it_with_where_it_came_from(self, asking, regenerate, model_server, make_lead, events):
        model_server.will(good({"summary": f"**Summary**\n\n{SUMMARY} <b>x</b>\x00"}))
        found = of(await asking()(regenerate, lead=make_lead()["id"]))
        assert found["summary"] == f"Summary\n\n{SUMMARY} x"
        assert (found["summarySource"], found["summaryModel"]) == ("LLM", "test-model")
        assert found["summaryPromptVersion"] == "summary-1"
        assert found["summaryGeneratedAt"]
        assert (found["summaryIsStale"], found["version"]) == (False, 1)
        assert [event["type"] for event in events()] == ["lead.updated"]

    async def test_is_saved_when_others_hold_the_lead_for_longer_than_a_write_may_last(
        self, asking, regenerate, model_server, make_lead, database, database_url
    ):
        """A model has been paid for it."""
        database.primary.lanes.limits = replace(database.primary.lanes.limits, mutation_seconds=0.5)
        model_server.will(good({"summary": SUMMARY}, after=1))
        lead = make_lead()["id"]
        running = asyncio.create_task(asking(timeout=10)(regenerate, lead=lead))
        await eventually(lambda: model_server.requests)
        async with await psycopg.AsyncConnection.connect(database_url) as other:
            await other.execute("SELECT FROM leads WHERE id = %s FOR UPDATE", [lead])
            await asyncio.sleep(2.5)
            assert not running.done()
        assert of(await running)["summary"] == SUMMARY
        assert len(model_server.requests) == 1

    async def test_has_a_twin_whose_payload_says_how_it_came_about(self, asking, model_server, make_lead):
        lead, run = str(make_lead()["id"]), asking()
        model_server.will(good({"summary": SUMMARY}))
        written = (await run(WRITE, lead=lead))["data"]["writeSummary"]
        assert written == {"lead": {"id": lead, "summary": SUMMARY}, "answeredBy": "LLM", "warnings": []}
        kept = (await run(WRITE, lead=lead))["data"]["writeSummary"]
        assert kept == {**written, "answeredBy": None}
        model_server.will(status(400))
        failed = (await run(WRITE, lead=lead, force=True))["data"]["writeSummary"]
        assert failed["lead"] == written["lead"]
        assert [warning["code"] for warning in failed["warnings"]] == ["AI_UNAVAILABLE"]
        wrong = (await run(WRITE, lead="seven"))["errors"][0]["extensions"]
        assert reasons(wrong) == [("leadId", "NOT_AN_ID")]

    async def test_costs_nothing_when_nothing_happened(self, asking, regenerate, model_server, make_lead, events):
        model_server.will(good({"summary": SUMMARY}))
        lead, run = make_lead()["id"], asking()
        first = of(await run(regenerate, lead=lead))
        written = len(events())
        assert of(await run(regenerate, lead=lead)) == first
        assert len(model_server.requests) == 1
        assert len(events()) == written
        again = of(await run(regenerate, lead=lead, force=True))
        assert len(model_server.requests) == 2
        assert again["summaryGeneratedAt"] > first["summaryGeneratedAt"]

    @pytest.mark.parametrize(
        "change",
        [
            LOG,
            'mutation($lead: Int!) { createTask(input: {leadId: $lead, title: "Call"}) { id } }',
            'mutation($lead: Int!) { updateLead(id: $lead, input: {budget: "5"}) { id } }',
        ],
    )
    async def test_is_stale_and_written_anew_when_something_happened(
        self, asking, regenerate, model_server, make_lead, change
    ):
        model_server.will(good({"summary": SUMMARY}))
        lead, run = make_lead()["id"], asking()
        of(await run(regenerate, lead=lead))
        await run(change, lead=lead)
        assert (await run(STALE, lead=lead))["data"] == {"lead": {"summaryIsStale": True}}
        assert of(await run(regenerate, lead=lead))["summaryIsStale"] is False
        assert len(model_server.requests) == 2

    async def test_is_not_staled_by_what_follows_from_other_facts(self, asking, regenerate, generate, make_lead, db):
        lead, run = make_lead(phone="1")["id"], asking(PlaybookProvider())
        of(await run(regenerate, lead=lead))
        (await run(generate, lead=lead))["data"]
        db.execute(
            "INSERT INTO events (type, entity, entity_id, lead_id, fields) VALUES ('lead.updated', 'lead', %s, %s, "
            """'[{"name": "activityScore", "before": 1, "after": 2}]')""",
            [str(lead), lead],
        )
        assert (await run(STALE, lead=lead))["data"] == {"lead": {"summaryIsStale": False}}

    async def test_what_happens_while_the_model_thinks_makes_it_stale(
        self, asking, regenerate, model_server, make_lead
    ):
        model_server.will(good({"summary": SUMMARY}, after=0.5))
        lead, run = make_lead()["id"], asking()
        asked = asyncio.create_task(run(regenerate, lead=lead))
        while not model_server.requests:
            await asyncio.sleep(0.02)
        await run(LOG, lead=lead)
        assert of(await asked)["summaryIsStale"] is True

    async def test_is_right_again_when_what_happened_was_undone(self, asking, regenerate, model_server, make_lead):
        model_server.will(good({"summary": SUMMARY}))
        lead, run = make_lead()["id"], asking()
        first = of(await run(regenerate, lead=lead))
        key = int((await run(LOG, lead=lead))["data"]["logInteraction"]["id"])
        await run("mutation($id: Int!) { deleteInteraction(id: $id) { id } }", id=key)
        assert (await run(STALE, lead=lead))["data"] == {"lead": {"summaryIsStale": True}}
        assert of(await run(regenerate, lead=lead)) == first
        assert len(model_server.requests) == 1

    async def test_is_written_anew_by_another_model(self, asking, regenerate, model_server, make_lead):
        model_server.will(good({"summary": SUMMARY}))
        lead = make_lead()["id"]
        of(await asking()(regenerate, lead=lead))
        assert of(await asking(PlaybookProvider())(regenerate, lead=lead))["summarySource"] == "PLAYBOOK"

    @pytest.mark.parametrize(
        "failure",
        [status(500), hang(), good({"summary": " "}), good("")],
        ids=["error", "silence", "blank", "empty"],
    )
    async def test_leaves_the_summary_as_it_is_when_the_model_fails(
        self, asking, regenerate, model_server, make_lead, events, failure
    ):
        model_server.will(failure)
        lead = make_lead(summary="Old", summary_generated_at="2026-01-01T00:00:00Z")["id"]
        answer = await asking(timeout=1.0)(regenerate, lead=lead)
        assert (of(answer)["summary"], of(answer)["summarySource"]) == ("Old", None)
        assert answer["extensions"]["warnings"][0]["code"] == "AI_UNAVAILABLE"
        assert [event["type"] for event in events()] == ["lead.scored"]

    @pytest.mark.parametrize("says", [good({"summary": SUMMARY}), status(500)], ids=["nothing new", "failure"])
    async def test_scores_the_lead_all_the_same(
        self, asking, regenerate, model_server, make_lead, make_interaction, days_ago, db, events, says
    ):
        model_server.will(says)
        lead, run = make_lead(phone="1")["id"], asking(timeout=1.0)
        make_interaction(lead_id=lead, type="meeting", occurred_at=days_ago(1))
        await run(regenerate, lead=lead)
        right = "SELECT activity_score, score_factors, version FROM leads WHERE id = %s"
        before = db.execute(right, [lead]).fetchone()
        assert before["activity_score"] > 0
        db.execute("UPDATE leads SET activity_score = 1, score_calculated_at = %s WHERE id = %s", [days_ago(9), lead])
        written = len(events())
        query = """mutation($lead: Int!) { regenerateSummary(leadId: $lead) {
          activityScore scoreCalculatedAt scoreFactors { points } version } }"""
        found = of(await run(query, lead=lead))
        assert found["activityScore"] == before["activity_score"] == sum(one["points"] for one in found["scoreFactors"])
        assert datetime.fromisoformat(found["scoreCalculatedAt"]) > days_ago(0.01)
        assert found["version"] == before["version"]
        assert [event["type"] for event in events()[written:]] == ["lead.scored"]
        assert of(await run(query, lead=lead))["activityScore"] == found["activityScore"]
        assert len(events()) == written + 1

    async def test_a_stand_in_is_replaced_as_soon_as_the_model_answers(
        self, asking, regenerate, model_server, make_lead
    ):
        model_server.will(status(401), good({"summary": SUMMARY}))
        lead, run = make_lead()["id"], asking(fallback=True, timeout=1.0)
        first = await run(regenerate, lead=lead)
        assert of(first)["summarySource"] == "PLAYBOOK"
        assert first["extensions"]["warnings"][0]["code"] == "AI_UNAVAILABLE"
        assert of(await run(regenerate, lead=lead))["summarySource"] == "LLM"

    async def test_two_at_once_cost_one(self, asking, regenerate, model_server, make_lead):
        model_server.will(good({"summary": SUMMARY}, after=0.3))
        lead, run = make_lead()["id"], asking()
        answers = await asyncio.gather(*(run(regenerate, lead=lead, force=True) for _ in range(4)))
        assert len({str(of(answer)) for answer in answers}) == 1
        assert len(model_server.requests) == 1

    async def test_whoever_comes_just_after_another_pays_nothing(self, asking, regenerate, model_server, make_lead):
        """One that found no summary, and whose claim came when another's had just ended, looks again."""
        model_server.will(good({"summary": SUMMARY}))
        run, leads = asking(), [make_lead()["id"] for _ in range(15)]

        async def later(lead, seconds):
            await asyncio.sleep(seconds)
            return of(await run(regenerate, lead=lead))["summary"]

        for lead in leads:
            found = await asyncio.gather(*(later(lead, number * 0.003) for number in range(10)))
            assert found == [SUMMARY] * 10
        assert len(model_server.requests) == len(leads)

    async def test_needs_a_living_lead(self, asking, regenerate, make_lead):
        for lead in (make_lead(deleted=True)["id"], 999_999):
            answer = await asking()(regenerate, lead=lead)
            assert answer["errors"][0]["extensions"] == {"code": "NOT_FOUND", "entity": "lead", "id": str(lead)}
