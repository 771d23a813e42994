"""Scores follow what happens: a worker process, beside the API."""

import asyncio
import os
import time

import pytest

from crm.core.identity import PROGRAM
from crm.db.unit_of_work import UnitOfWork
from crm.sales.leads.model import Lead
from crm.sales.scoring.service import ScoreService
from crm.sales.scoring.weights import WEIGHTS
from tests.support.children import start_module

pytestmark = pytest.mark.waits(15)

LOG = "mutation ($id: Int!, $type: InteractionType!) { logInteraction(input: {leadId: $id, type: $type}) { id } }"


@pytest.fixture
def worker(database_url, tmp_path, db):  # noqa: ARG001
    log = tmp_path / "worker.log"
    environment = {**os.environ, "DATABASE_URL": database_url, "CRM_WORKER_GRACE_SECONDS": "2"}
    process = start_module("crm", ["worker"], log, environment)
    deadline = time.monotonic() + 60
    while "worker.started" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)  # it takes its place in the stream
    yield process
    process.terminate()
    process.wait(20)


@pytest.fixture
def score_of(db):
    def read(lead):
        return db.execute("SELECT * FROM leads WHERE id = %s", (lead["id"],)).fetchone()

    return read


def until(holds, seconds=3.0):
    """How long it takes."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < seconds
        time.sleep(0.01)
    return time.monotonic() - started


class TestFollower:
    async def test_scores_a_lead_soon_after_something_happened(self, graphql, worker, make_lead, score_of, events):  # noqa: ARG002
        lead = make_lead()
        await graphql(LOG, id=lead["id"], type="MEETING")
        took = until(lambda: score_of(lead)["activity_score"] is not None)
        assert took < 1.5  # alone on its machine: a tenth of that
        found = score_of(lead)
        assert found["activity_score"] == 25 + 3 + 5 + 3
        assert (found["version"], found["updated_at"]) == (lead["version"], lead["updated_at"])
        scored = events(type="lead.scored")
        assert [(row["lead_id"], row["fields"]) for row in scored] == [
            (lead["id"], [{"name": "activityScore", "before": None, "after": found["activity_score"]}])
        ]

    async def test_does_not_follow_itself(self, graphql, worker, make_lead, score_of, events):  # noqa: ARG002
        lead = make_lead()
        await graphql(LOG, id=lead["id"], type="CALL")
        until(lambda: score_of(lead)["activity_score"] is not None)
        await asyncio.sleep(1)
        assert len(events(type="lead.scored")) == 1

    async def test_what_changes_no_score_writes_nothing(self, graphql, worker, make_lead, score_of, events):  # noqa: ARG002
        lead, other = make_lead(), make_lead()
        await graphql(LOG, id=lead["id"], type="CALL")
        until(lambda: score_of(lead)["activity_score"] is not None)
        before = score_of(lead)
        await graphql(LOG, id=lead["id"], type="NOTE")
        await graphql(LOG, id=other["id"], type="CALL")  # later in the stream
        until(lambda: score_of(other)["activity_score"] is not None)
        assert score_of(lead) == before
        assert len(events(type="lead.scored")) == 2

    async def test_tasks_and_the_stage_count_too(self, graphql, worker, make_lead, score_of):  # noqa: ARG002
        lead = make_lead()
        await graphql(
            'mutation ($id: Int!) { createTask(input: {leadId: $id, title: "Call"}) { id }'
            " updateLead(id: $id, input: {status: PROPOSAL}) { id } }",
            id=lead["id"],
        )
        wanted = WEIGHTS.open_tasks.undated + WEIGHTS.stage.max_points
        until(lambda: score_of(lead)["activity_score"] == wanted)

    async def test_a_deleted_lead_is_left_alone(self, graphql, worker, make_lead, score_of):  # noqa: ARG002
        lead, other = make_lead(), make_lead()
        await graphql(LOG.replace("{ id } }", "{ id } deleteLead(id: $id) { id } }", 1), id=lead["id"], type="CALL")
        await graphql(LOG, id=other["id"], type="CALL")
        until(lambda: score_of(other)["activity_score"] is not None)
        gone = score_of(lead)
        assert gone["deleted_at"] is not None
        await graphql("mutation ($id: Int!) { restoreLead(id: $id) { id } }", id=lead["id"])
        until(lambda: score_of(lead)["activity_score"] == score_of(other)["activity_score"])


class TestService:
    @pytest.fixture
    async def unit(self, database):
        found = UnitOfWork(database, PROGRAM)
        yield found
        await found.close()

    async def test_scores_a_lead_within_the_transaction_at_hand(
        self, unit, make_lead, make_interaction, score_of, events
    ):
        lead = make_lead(status="qualified")
        make_interaction(lead_id=lead["id"])
        record = await unit.get(Lead, lead["id"])
        (await ScoreService(unit).score(record)).summary = "Hot."
        assert score_of(lead)["activity_score"] is None
        await unit.save()
        found = score_of(lead)
        assert found["activity_score"] == sum(one["points"] for one in found["score_factors"]["factors"]) > 0
        assert (found["summary"], found["version"]) == ("Hot.", lead["version"])
        [event] = events()
        assert event["type"] == "lead.updated"

    async def test_sees_what_the_transaction_changed(self, unit, make_lead, score_of):
        lead = make_lead(status="new")
        record = await unit.get(Lead, lead["id"])
        record.status = "proposal"
        await ScoreService(unit).score(record)
        await unit.save()
        assert score_of(lead)["activity_score"] == WEIGHTS.stage.max_points

    async def test_follows_each_lead_once_and_says_which_changed(self, unit, make_lead):
        lead = make_lead()
        assert await ScoreService(unit).follow([lead["id"], lead["id"]]) == [lead["id"]]
        assert await ScoreService(unit).follow([lead["id"]]) == []
        assert await ScoreService(unit).follow([]) == []

    async def test_a_new_score_makes_no_summary_stale(self, unit, make_lead, graphql, events):
        lead = make_lead(activity_score=99, summary="Hot.", summary_generated_at="2026-01-01T00:00:00Z")
        await ScoreService(unit).follow([lead["id"]])
        await unit.save()
        assert [row["type"] for row in events()] == ["lead.scored"]
        query = "query ($id: Int!) { lead(id: $id) { summaryIsStale timeline { type fields { name before after } } } }"
        found = (await graphql(query, id=lead["id"]))["lead"]
        assert found["summaryIsStale"] is False
        change = {"name": "activityScore", "before": 99, "after": WEIGHTS.stage.points["new"]}
        assert found["timeline"] == [{"type": "lead.scored", "fields": [change]}]

    async def test_a_summary_comes_with_a_score(self, graphql, make_lead, make_interaction):
        lead = make_lead()
        make_interaction(lead_id=lead["id"], type="meeting")
        regenerate = (
            "mutation ($id: Int!) { regenerateSummary(leadId: $id) {"
            " summary activityScore scoreCalculatedAt summaryIsStale scoreFactors { points } } }"
        )
        found = (await graphql(regenerate, id=lead["id"]))["regenerateSummary"]
        assert found["summary"]
        assert found["activityScore"] == sum(one["points"] for one in found["scoreFactors"]) > 0
        assert found["scoreCalculatedAt"] is not None
        assert found["summaryIsStale"] is False
