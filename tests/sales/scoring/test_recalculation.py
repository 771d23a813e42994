"""Recalculating every score: in batches, past what fails, in nobody's way, by one process at a time."""

import asyncio
import os
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from crm.core import errors
from crm.db.row_lock import lease
from crm.sales.scoring.recalculation import LEASE, Recalculation
from tests.support.children import run_module, start_module

RECALCULATE = "mutation { recalculateAllScores { count failed changed durationMs scoreVersion } }"
LOCK = 20_26


@pytest.fixture
def leads(db):
    """Ninety-five leads with a contact each, five more that are deleted."""
    db.execute(
        "INSERT INTO leads (first_name, last_name, deleted_at) SELECT 'First', 'Last' || i,"
        " CASE WHEN i > 95 THEN now() END FROM generate_series(1, 100) i"
    )
    db.execute("INSERT INTO interactions (lead_id, type) SELECT id, 'call' FROM leads")
    return [row["id"] for row in db.execute("SELECT id FROM leads WHERE deleted_at IS NULL ORDER BY id")]


@pytest.fixture
def scores(db):
    """What the leads' columns say, by id."""

    def read():
        rows = db.execute(
            "SELECT id, activity_score, score_calculated_at, score_factors, version, updated_at FROM leads"
        )
        return {row["id"]: row for row in rows}

    return read


@contextmanager
def trigger(db, body):
    """A trigger that runs for each lead that is written."""
    db.execute(
        f"CREATE FUNCTION crm_test() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN new; END $$;"
        "CREATE TRIGGER crm_test BEFORE UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION crm_test()"
    )
    try:
        yield
    finally:
        db.execute("DROP TRIGGER crm_test ON leads; DROP FUNCTION crm_test()")


@contextmanager
def stuck_at(db, database_url, lead):
    """A recalculation stops at this lead, its batch half done, until the end; yields a wait for that moment."""
    with psycopg.connect(database_url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        with trigger(db, f"IF new.id = {lead} THEN PERFORM pg_advisory_xact_lock({LOCK}); END IF;"):

            async def reached():
                while not db.execute(
                    "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted", (LOCK,)
                ).fetchone():
                    await asyncio.sleep(0.02)

            try:
                yield reached
            finally:
                holder.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
                while db.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'").fetchone():
                    time.sleep(0.02)


RUN = "crm", ["recalculate"]


def environment(database_url):
    """What `crm recalculate` is told."""
    return {**os.environ, "DATABASE_URL": database_url}


def is_whole(row):
    """Whether a lead's score is one calculation's: all of it, and it adds up."""
    factors = row["score_factors"]["factors"]
    return row["score_calculated_at"] is not None and sum(one["points"] for one in factors) == row["activity_score"]


class TestRecalculation:
    async def test_scores_every_living_lead_and_no_other(self, database, leads, scores):
        before = scores()
        result = await Recalculation(database).run()
        after = scores()
        assert (result.count, result.failed, result.changed) == (95, 0, 95)
        assert all(is_whole(after[key]) for key in leads)
        assert [key for key, row in after.items() if row["score_calculated_at"] is None] == sorted(
            set(after) - set(leads)
        )
        for key, row in after.items():
            assert (row["version"], row["updated_at"]) == (before[key]["version"], before[key]["updated_at"])

    async def test_writes_one_event_a_batch(self, database, leads, events):
        await Recalculation(database, batch=10).run()
        found = events()
        assert {row["type"] for row in found} == {"scores.recalculated"}
        counts = [row["fields"][0]["after"] for row in found]
        assert (len(counts), sum(counts)) == (10, 95)
        assert found[0]["fields"][1:] == [
            {"name": "firstLeadId", "before": None, "after": leads[0]},
            {"name": "lastLeadId", "before": None, "after": leads[9]},
        ]
        assert all(row["lead_id"] is None for row in found)

    async def test_all_leads_get_what_one_lead_gets(self, database, leads, scores, scorer):
        await Recalculation(database, batch=7).run()
        row = scores()[leads[0]]
        shown = scorer.stored(leads, row["score_calculated_at"])
        for key, found in scores().items():
            if key in shown:
                assert (found["activity_score"], found["score_factors"]["factors"]) == (
                    shown[key].score,
                    shown[key].factors,
                )

    async def test_says_how_far_it_is(self, database, leads):  # noqa: ARG002
        seen = []
        await Recalculation(database, batch=40, on_progress=lambda done, total: seen.append((done, total))).run()
        assert seen == [(40, 95), (80, 95), (95, 95), (95, 95)]

    async def test_a_newer_score_stays(self, database, leads, db, scores):
        db.execute(
            "UPDATE leads SET activity_score = 77, score_calculated_at = now() + interval '1 hour' WHERE id = %s",
            leads[:1],
        )
        result = await Recalculation(database).run()
        assert scores()[leads[0]]["activity_score"] == 77
        assert (result.count, result.changed) == (95, 94)

    async def test_without_leads_there_is_nothing_to_do(self, database):
        assert (await Recalculation(database).run()).count == 0

    async def test_a_lead_that_fails_does_not_stop_the_others(self, database, leads, db, scores):
        bad = {leads[13], leads[14], leads[80]}
        with trigger(db, f"IF new.id IN ({', '.join(map(str, bad))}) THEN RAISE numeric_value_out_of_range; END IF;"):
            result = await Recalculation(database, batch=40).run()
        assert (result.count, result.failed) == (92, 3)
        found = scores()
        assert {key for key in leads if found[key]["score_calculated_at"] is None} == bad
        assert all(is_whole(found[key]) for key in leads if key not in bad)

    async def test_comes_back_to_a_lead_that_was_locked(self, database, database_url, leads, scores):
        with psycopg.connect(database_url) as other:
            other.execute("SELECT 1 FROM leads WHERE id = %s FOR UPDATE", leads[:1])
            run = asyncio.create_task(Recalculation(database, batch=10).run())
            await asyncio.sleep(0.5)
            assert all(is_whole(row) for key, row in scores().items() if key in leads[1:])
            assert not run.done()
            other.commit()
            result = await run
        assert (result.count, result.failed) == (95, 0)
        assert is_whole(scores()[leads[0]])

    async def test_does_not_wait_for_ever_for_a_lead_that_is_locked(self, database, database_url, leads, scores):
        with psycopg.connect(database_url) as other:
            other.execute("SELECT 1 FROM leads WHERE id = ANY(%s) FOR UPDATE", [leads[3:5]])
            result = await Recalculation(database, batch=10, patience=0.3).run()
            other.rollback()
        assert (result.count, result.failed) == (93, 2)
        assert scores()[leads[3]]["score_calculated_at"] is None

    async def test_a_lead_that_is_deleted_meanwhile_is_not_scored(self, database, database_url, leads, scores):
        with psycopg.connect(database_url) as other:
            other.execute("UPDATE leads SET deleted_at = now() WHERE id = %s", leads[:1])
            run = asyncio.create_task(Recalculation(database).run())
            await asyncio.sleep(0.3)
            other.commit()
            result = await run
        assert (result.count, result.failed) == (94, 0)
        assert scores()[leads[0]]["score_calculated_at"] is None


class TestMeanwhile:
    async def test_readers_and_writers_go_on(self, database, graphql, db, database_url, leads, scores):
        with stuck_at(db, database_url, leads[45]) as reached:
            run = asyncio.create_task(Recalculation(database, batch=10).run())
            await asyncio.wait_for(reached(), 10)
            shown = (await graphql("{ leads { id activityScore } }"))["leads"]
            assert sum(one["activityScore"] is not None for one in shown) == 40  # the batch under way does not show yet
            await graphql(
                "mutation ($lead: Int!, $far: Int!) {"
                ' createTask(input: {leadId: $lead, title: "Call"}) { id }'
                " logInteraction(input: {leadId: $lead, type: CALL}) { id }"
                ' updateLead(id: $far, input: {company: "Acme"}) { id } }',
                lead=leads[45],
                far=leads[90],
            )
            assert not run.done()
        assert (await run).count == 95
        assert all(is_whole(scores()[key]) for key in leads)

    async def test_a_second_one_is_a_conflict_and_no_pile_up(self, database, refused, db, database_url, leads, graphql):
        with stuck_at(db, database_url, leads[0]) as reached:
            run = asyncio.create_task(Recalculation(database).run())
            await asyncio.wait_for(reached(), 10)
            assert (await refused(RECALCULATE))["code"] == "CONFLICT"
            with pytest.raises(errors.Conflict):
                await Recalculation(database).run()
        assert (await run).count == 95
        assert (await graphql(RECALCULATE))["recalculateAllScores"]["count"] == 95

    async def test_one_that_is_cancelled_lets_others_begin(self, database, db, database_url, leads, scores):
        with stuck_at(db, database_url, leads[45]) as reached:
            run = asyncio.create_task(Recalculation(database, batch=10).run())
            await asyncio.wait_for(reached(), 10)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert [row["score_calculated_at"] is not None for row in scores().values()].count(True) == 40
            assert db.execute("SELECT count(*) AS held FROM leases").fetchone()["held"] == 0
        assert (await Recalculation(database).run()).count == 95

    async def test_a_lease_ends_by_itself_when_its_holder_is_gone(self, database, db, leads):  # noqa: ARG002
        db.execute("INSERT INTO leases VALUES (%s, gen_random_uuid(), now() + interval '0.5 seconds')", (LEASE,))
        with pytest.raises(errors.Conflict):
            await Recalculation(database).run()
        await asyncio.sleep(0.6)
        assert (await Recalculation(database).run()).count == 95

    async def test_who_lost_the_lease_stops(self, database, db):
        async with lease(database, "test", seconds=30) as held:
            db.execute("UPDATE leases SET holder = gen_random_uuid()")
            with pytest.raises(errors.Conflict):
                await held.renew()

    async def test_whose_lease_is_taken_stops_and_calls_no_lead_failed(self, database, db, database_url, leads, scores):
        with stuck_at(db, database_url, leads[15]) as reached:
            run = asyncio.create_task(Recalculation(database, batch=10).run())
            await asyncio.wait_for(reached(), 10)
            db.execute("UPDATE leases SET holder = gen_random_uuid()")
        with pytest.raises(errors.Conflict):
            await run
        assert [row["score_calculated_at"] is not None for row in scores().values()].count(True) == 20

    async def test_the_next_try_of_the_same_work_takes_over(self, database, db, leads):  # noqa: ARG002
        mine = uuid4()
        db.execute("INSERT INTO leases VALUES (%s, %s, now() + interval '30 seconds')", (LEASE, mine))
        with pytest.raises(errors.Conflict):
            await Recalculation(database, holder=uuid4()).run()
        assert (await Recalculation(database, holder=mine).run()).count == 95

    async def test_killed_in_the_middle_every_lead_is_old_or_new(
        self, database, db, database_url, leads, scores, tmp_path
    ):
        await Recalculation(database).run()
        old = scores()
        db.execute("INSERT INTO interactions (lead_id, type) SELECT id, 'meeting' FROM leads")
        db.execute("INSERT INTO leads (first_name, last_name) SELECT 'First', 'Last' FROM generate_series(1, 2000)")
        with stuck_at(db, database_url, leads[0] + 1500) as reached:
            command = start_module(*RUN, tmp_path / "log", environment(database_url))
            await asyncio.wait_for(reached(), 30)
            command.kill()
            command.wait(10)
            found = scores()
            new = [key for key in leads if found[key]["score_calculated_at"] > old[key]["score_calculated_at"]]
            assert new == leads
            assert [row["score_calculated_at"] for row in found.values()].count(None) > 500
        for key, row in scores().items():
            assert row == old.get(key) or row["score_calculated_at"] is None or is_whole(row)
        with pytest.raises(errors.Conflict):  # until the dead one's lease has run out
            await Recalculation(database).run()
        assert db.execute("SELECT expires_at < now() + interval '31 seconds' AS soon FROM leases").fetchone()["soon"]
        db.execute("UPDATE leases SET expires_at = now()")
        assert (await Recalculation(database).run()).failed == 0
        assert all(is_whole(row) for row in scores().values() if row["id"] > 100)


class TestCommand:
    def test_recalculates_and_says_what_it_did(self, database, database_url, leads):  # noqa: ARG002
        said = run_module(*RUN, environment(database_url)).stderr
        assert "95 leads in" in said
        assert "95 scores changed" in said

    def test_says_it_when_another_one_runs(self, database, database_url, db):  # noqa: ARG002
        db.execute("INSERT INTO leases VALUES (%s, gen_random_uuid(), now() + interval '30 seconds')", (LEASE,))
        done = run_module(*RUN, environment(database_url))
        assert done.returncode == 2
        assert "under way already" in done.stderr


class TestMutation:
    async def test_returns_what_it_did(self, graphql, database, leads):  # noqa: ARG002
        found = (await graphql(RECALCULATE, role="member"))["recalculateAllScores"]
        took = found.pop("durationMs")
        assert found == {"count": 95, "failed": 0, "changed": 95, "scoreVersion": "activity-1"}
        assert 0 <= took < 30_000

    async def test_is_not_for_viewers(self, refused, database, leads):  # noqa: ARG002
        assert (await refused(RECALCULATE, role="viewer"))["code"] == "FORBIDDEN"

    async def test_shows_the_factors_behind_a_score(self, graphql, database, make_lead, make_interaction):  # noqa: ARG002
        lead = make_lead(status="proposal", budget=600_000, currency="SEK")
        make_interaction(lead_id=lead["id"], type="meeting", occurred_at=datetime.now(UTC) - timedelta(days=2))
        query = (
            "query ($id: Int!) { lead(id: $id) { activityScore scoreCalculatedAt scoreVersion"
            " scoreFactors { signal points maxPoints evidence } } }"
        )
        before = (await graphql(query, id=lead["id"]))["lead"]
        assert set(before.values()) == {None}
        await graphql(RECALCULATE)
        after = (await graphql(query, id=lead["id"]))["lead"]
        assert after["activityScore"] == sum(one["points"] for one in after["scoreFactors"])
        assert after["scoreVersion"] == "activity-1"
        assert after["scoreCalculatedAt"] is not None
        assert {"signal": "BUDGET", "points": 8, "maxPoints": 10, "evidence": "600,000 SEK"} in after["scoreFactors"]

    async def test_a_write_shows_the_factors_too(self, graphql, database, make_lead):  # noqa: ARG002
        lead = make_lead(status="qualified")
        await graphql(RECALCULATE)
        found = await graphql(
            "mutation ($id: Int!) { updateLead(id: $id, input: {}) { f: scoreFactors { s: signal __typename } } }",
            id=lead["id"],
        )
        assert found["updateLead"]["f"][0] == {"s": "RECENCY", "__typename": "ScoreFactor"}

    async def test_its_events_show_as_changes(self, graphql, database, leads, db):  # noqa: ARG002
        await graphql(RECALCULATE)
        [event] = db.execute("SELECT entity, actor_id FROM events").fetchall()
        me = (await graphql("{ me { id } }"))["me"]["id"]
        assert (event["entity"], str(event["actor_id"])) == ("recalculation", me)
