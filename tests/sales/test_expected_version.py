"""Changes on top of a version that is not the current one: only the same field is in conflict."""

from datetime import datetime

import pytest

from tests.support.problems import brief

UPDATE = """mutation($id: Int!, $input: UpdateLeadInput!) {
  updateLead(id: $id, input: $input) { version firstName company status }
}"""
# Each mutation of a versioned record, with what it changes of the record.
MUTATIONS = {
    "updateLead": 'updateLead(id: 1, input: {company: "Mine", expectedVersion: %d}) { id }',
    "deleteLead": "deleteLead(id: 1, expectedVersion: %d) { id }",
    "updateTask": 'updateTask(id: 1, input: {title: "Mine", expectedVersion: %d}) { id }',
    "completeTask": "completeTask(id: 1, expectedVersion: %d) { id }",
    "updateTaskSource": "updateTaskSource(taskId: 1, source: DISMISSED, expectedVersion: %d) { id }",
    "deleteTask": "deleteTask(id: 1, expectedVersion: %d) { id }",
    "updateInteraction": 'updateInteraction(id: 1, input: {subject: "Mine", expectedVersion: %d}) { id }',
    "deleteInteraction": "deleteInteraction(id: 1, expectedVersion: %d) { id }",
}
RESTORES = {
    "restoreLead": "restoreLead(id: 1, expectedVersion: %d) { id }",
    "restoreTask": "restoreTask(id: 1, expectedVersion: %d) { id }",
}


@pytest.fixture
def records(make_lead, make_task, make_interaction):
    lead = make_lead()["id"]
    make_task(lead_id=lead, source="ai_suggested", generated_by="playbook")
    make_interaction(lead_id=lead)


@pytest.fixture
def lead(graphql):
    """A lead at version 3: made, its company changed, its status changed."""

    async def made():
        await graphql('mutation { createLead(input: {firstName: "Åsa", lastName: "Ek"}) { id } }')
        await graphql(UPDATE, id=1, input={"company": "Theirs"})
        await graphql(UPDATE, id=1, input={"status": "WON"})
        return 1

    return made


class TestAnotherField:
    async def test_of_one_record_is_no_conflict(self, graphql, lead):
        data = await graphql(UPDATE, id=await lead(), input={"firstName": "Eva", "expectedVersion": 1})
        assert data["updateLead"] == {"version": 4, "firstName": "Eva", "company": "Theirs", "status": "WON"}

    async def test_that_was_changed_before_the_version_is_no_conflict(self, graphql, lead):
        data = await graphql(UPDATE, id=await lead(), input={"company": "Mine", "expectedVersion": 2})
        assert data["updateLead"]["company"] == "Mine"

    async def test_with_the_value_that_it_has_by_now_is_no_conflict(self, graphql, lead):
        data = await graphql(UPDATE, id=await lead(), input={"company": "Theirs", "expectedVersion": 1})
        assert data["updateLead"]["version"] == 3  # nothing changed

    async def test_is_none_where_a_score_was_calculated_meanwhile(self, graphql, lead):
        key = await lead()
        await graphql("mutation { recalculateAllScores { count } }")
        assert (await graphql(UPDATE, id=key, input={"company": "Mine", "expectedVersion": 3}))["updateLead"]


class TestTheSameField:
    async def test_is_a_conflict_that_shows_both_values(self, refused, lead):
        changed = {"company": "Mine", "status": "LOST", "firstName": "Eva", "expectedVersion": 1}
        error = await refused(UPDATE, id=await lead(), input=changed)
        assert brief(error) == {
            "code": "CONFLICT",
            "conflict": "CHANGED",
            "field": "expectedVersion",
            "currentVersion": 3,
            "changed": [
                {"field": "company", "yours": "Mine", "theirs": "Theirs"},
                {"field": "status", "yours": "LOST", "theirs": "WON"},
            ],
        }

    async def test_says_it_in_swedish(self, client, lead):
        variables = {"id": await lead(), "input": {"company": "Mine", "expectedVersion": 1}}
        asked = {"query": UPDATE, "variables": variables}
        answer = await client.post("/graphql", json=asked, headers={"Accept-Language": "sv"})
        assert "Service (admin) har ändrat Företag under tiden" in answer.json()["errors"][0]["message"]

    @pytest.mark.usefixtures("records")
    async def test_names_the_fields_as_people_do_without_what_follows_from_others(self, graphql):
        await graphql('mutation { updateLead(id: 1, input: {jobTitle: "CTO", company: "Theirs"}) { id } }')
        deletion = await graphql(f"mutation {{ {MUTATIONS['deleteLead'] % 1} }}", expect_errors=True)
        assert "Service (admin) changed Company, Job title meanwhile" in deletion["errors"][0]["message"]
        await graphql("mutation { updateTaskSource(taskId: 1, source: MANUAL) { id } }")
        dismissal = await graphql(f"mutation {{ {MUTATIONS['updateTaskSource'] % 1} }}", expect_errors=True)
        assert "Service (admin) changed Source meanwhile" in dismissal["errors"][0]["message"]

    @pytest.mark.usefixtures("records")
    async def test_an_old_screen_does_not_dismiss_what_was_accepted(self, graphql, refused):
        await graphql("mutation { updateTaskSource(taskId: 1, source: MANUAL) { id } }")
        error = await refused(f"mutation {{ {MUTATIONS['updateTaskSource'] % 1} }}")
        assert error["changed"] == [{"field": "source", "yours": "DISMISSED", "theirs": "MANUAL"}]

    async def test_tells_who_changed_it_last_and_when(self, refused, lead, make_user, db):
        key, eva = await lead(), make_user(name="Eva Berg")
        db.execute("UPDATE events SET actor_id = %s WHERE version = 3", (eva["id"],))
        error = await refused(UPDATE, id=key, input={"company": "Mine", "expectedVersion": 1})
        assert (error["changedByName"], error["changedById"]) == ("Eva Berg", str(eva["id"]))
        happened = db.execute("SELECT occurred_at FROM events WHERE version = 3").fetchone()["occurred_at"]
        assert datetime.fromisoformat(error["changedAt"]) == happened

    async def test_tells_who_changed_it_though_a_score_was_calculated_since(self, refused, lead, insert, db):
        key = await lead()
        change = db.execute("SELECT actor_id, occurred_at FROM events WHERE version = 3").fetchone()
        insert("events", type="lead.scored", entity="lead", entity_id=str(key), lead_id=key, version=3)
        error = await refused(UPDATE, id=key, input={"company": "Mine", "expectedVersion": 1})
        assert error["changedById"] == str(change["actor_id"])
        assert datetime.fromisoformat(error["changedAt"]) == change["occurred_at"]

    async def test_tells_nobody_where_a_program_changed_it(self, graphql, lead, db):
        key = await lead()
        db.execute("UPDATE events SET actor_id = NULL")
        asked = {"company": "Mine", "expectedVersion": 1}
        (error,) = (await graphql(UPDATE, expect_errors=True, id=key, input=asked))["errors"]
        assert "changedAt" in error["extensions"]
        assert not {"changedById", "changedByName"} & error["extensions"].keys()
        assert "somebody changed Company meanwhile" in error["message"]

    async def test_is_a_conflict_where_another_program_changed_the_record_without_a_word(self, db, refused, lead):
        key = await lead()
        db.execute("UPDATE leads SET location = 'Lund', version = version + 1")
        error = await refused(UPDATE, id=key, input={"company": "Mine", "expectedVersion": 2})
        assert error["changed"] == [{"field": "company", "yours": "Mine", "theirs": "Theirs"}]

    async def test_is_a_conflict_where_the_changes_are_gone(self, db, refused, lead):
        key = await lead()
        db.execute("DELETE FROM events WHERE version = 2")
        error = await refused(UPDATE, id=key, input={"firstName": "Eva", "expectedVersion": 1})
        assert error["changed"] == [{"field": "firstName", "yours": "Eva", "theirs": "Åsa"}]

    async def test_is_a_conflict_with_a_version_that_was_never_there(self, refused, lead):
        error = await refused(UPDATE, id=await lead(), input={"firstName": "Eva", "expectedVersion": 9})
        assert error["currentVersion"] == 3


@pytest.mark.usefixtures("records")
class TestAFieldOfSeveralColumns:
    """`Task.status` follows from `completed` and `source`: who changes one of them overwrites the other's change."""

    COMPLETE = "mutation { completeTask(id: 1, expectedVersion: 1) { status } }"
    DISMISS = "mutation { updateTaskSource(taskId: 1, source: DISMISSED, expectedVersion: 1) { status } }"

    async def test_an_old_screen_does_not_complete_what_was_dismissed(self, graphql, refused, db):
        await graphql("mutation { updateTaskSource(taskId: 1, source: DISMISSED) { id } }")
        error = await refused(self.COMPLETE)
        assert [change for change in error["changed"] if change["field"] != "completedAt"] == [
            {"field": "completed", "yours": True, "theirs": False},
            {"field": "source", "yours": None, "theirs": "DISMISSED"},
        ]
        assert db.execute("SELECT completed, version FROM tasks").fetchone() == {"completed": False, "version": 2}

    async def test_nor_dismiss_what_was_completed(self, graphql, refused, db):
        await graphql("mutation { updateTaskSource(taskId: 1, source: MANUAL) { id } }")
        await graphql("mutation { completeTask(id: 1) { id } }")
        error = await refused(self.DISMISS.replace("Version: 1", "Version: 2"))
        assert {"field": "completed", "yours": None, "theirs": True} in error["changed"]
        assert db.execute("SELECT source FROM tasks").fetchone()["source"] == "manual"

    async def test_nor_does_one_of_many(self, graphql):
        await graphql("mutation { updateTaskSource(taskId: 1, source: DISMISSED) { id } }")
        many = "mutation { completeTasks(ids: [1], expectedVersions: [1]) { saved task { status completed } } }"
        (result,) = (await graphql(many))["completeTasks"]
        assert result == {"saved": False, "task": {"status": "DISMISSED", "completed": False}}

    async def test_is_in_no_conflict_with_others(self, graphql):
        await graphql('mutation { updateTask(id: 1, input: {title: "Theirs"}) { id } }')
        assert (await graphql(self.COMPLETE))["completeTask"]["status"] == "DONE"


@pytest.mark.usefixtures("records")
class TestEachMutation:
    @pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
    async def test_is_refused_on_a_version_that_was_never_there(self, refused, mutation):
        assert (await refused(f"mutation {{ {mutation % 7} }}"))["conflict"] == "CHANGED"

    @pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS)
    async def test_is_done_on_the_version_that_is_there(self, graphql, mutation):
        await graphql(f"mutation {{ {mutation % 1} }}")

    @pytest.mark.parametrize("restore", RESTORES)
    async def test_a_restore_too(self, graphql, refused, restore):
        await graphql(f"mutation {{ {restore.replace('restore', 'delete')}(id: 1) {{ id }} }}")
        assert (await refused(f"mutation {{ {RESTORES[restore] % 1} }}"))["conflict"] == "CHANGED"
        await graphql(f"mutation {{ {RESTORES[restore] % 2} }}")

    async def test_a_deletion_is_in_conflict_with_any_change(self, graphql, refused):
        await graphql(UPDATE, id=1, input={"company": "Theirs"})
        error = await refused(f"mutation {{ {MUTATIONS['deleteLead'] % 1} }}")
        assert error["changed"] == [{"field": "company", "yours": None, "theirs": "Theirs"}]
