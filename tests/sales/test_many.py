"""Changes of many records at once: one result for each id, and the valid ones are saved."""

from datetime import datetime

import pytest

UPDATE_LEADS = """mutation($ids: [ID!]!, $input: UpdateLeadInput!, $versions: [Int!]) {
  updateLeads(ids: $ids, input: $input, expectedVersions: $versions) {
    id saved message lead { id version status owner { name } }
    error { code conflict currentVersion entity changedAt changedByName changed { field yours theirs } }
  }
}"""
DELETE_LEADS = """mutation($ids: [ID!]!, $versions: [Int!]) {
  deleteLeads(ids: $ids, expectedVersions: $versions) { id saved lead { deletedAt } error { code } }
}"""
UPDATE_TASKS = """mutation($ids: [ID!]!, $input: UpdateTaskInput!) {
  updateTasks(ids: $ids, input: $input) { id saved task { title priority status } error { code } }
}"""
COMPLETE_TASKS = """mutation($ids: [ID!]!, $versions: [Int!], $done: Boolean! = true) {
  completeTasks(ids: $ids, completed: $done, expectedVersions: $versions) {
    id saved task { status } error { code changed { field } }
  }
}"""


class TestUpdateLeads:
    async def test_saves_the_valid_ones_and_says_of_the_others_why_not(self, graphql, make_lead, make_user, events):
        first, second, gone = make_lead()["id"], make_lead()["id"], make_lead(deleted=True)["id"]
        owner = make_user(name="Maja")
        ids = [second, str(gone), first, 4711]
        data = await graphql(UPDATE_LEADS, ids=ids, input={"status": "WON", "ownerId": str(owner["id"])})
        results = data["updateLeads"]
        assert [(one["id"], one["saved"]) for one in results] == [
            (str(second), True),
            (str(gone), False),
            (str(first), True),
            ("4711", False),
        ]
        assert results[0]["lead"] == {"id": str(second), "version": 2, "status": "WON", "owner": {"name": "Maja"}}
        assert results[0]["error"] is results[0]["message"] is results[1]["lead"] is None
        assert (results[1]["error"]["code"], results[1]["error"]["entity"]) == ("NOT_FOUND", "lead")
        assert sorted(event["entity_id"] for event in events()) == sorted([str(first), str(second)])
        assert len({event["request_id"] for event in events()}) == 1

    async def test_refuses_those_that_others_changed_and_leaves_them_as_they_are(self, graphql, make_lead, db):
        ids = [make_lead()["id"] for _ in range(3)]
        await graphql("mutation($id: Int!) { updateLead(id: $id, input: {status: LOST}) { id } }", id=ids[1])
        await graphql('mutation($id: Int!) { updateLead(id: $id, input: {company: "A"}) { id } }', id=ids[2])
        data = await graphql(UPDATE_LEADS, ids=ids, input={"status": "WON"}, versions=[1, 1, 1])
        assert [one["saved"] for one in data["updateLeads"]] == [True, False, True]
        refusal = data["updateLeads"][1]
        assert (refusal["error"]["code"], refusal["error"]["conflict"]) == ("CONFLICT", "CHANGED")
        assert refusal["error"]["changed"] == [{"field": "status", "yours": "WON", "theirs": "LOST"}]
        assert refusal["error"]["changedByName"] == "Service (admin)"
        happened = db.execute(
            "SELECT max(occurred_at) AS at FROM events WHERE entity_id = %s", (str(ids[1]),)
        ).fetchone()
        assert datetime.fromisoformat(refusal["error"]["changedAt"]) == happened["at"]
        assert refusal["lead"]["status"] == "LOST"
        rows = db.execute("SELECT status, version FROM leads ORDER BY id").fetchall()
        assert [(row["status"], row["version"]) for row in rows] == [("won", 2), ("lost", 2), ("won", 3)]

    async def test_takes_each_lead_once_and_writes_nothing_twice(self, graphql, make_lead, events):
        key = make_lead()["id"]
        data = await graphql(UPDATE_LEADS, ids=[key, str(key), key], input={"status": "WON"})
        assert [one["id"] for one in data["updateLeads"]] == [str(key)]
        assert len(events()) == 1
        assert (await graphql(UPDATE_LEADS, ids=[], input={"status": "WON"}))["updateLeads"] == []

    @pytest.mark.parametrize(
        ("variables", "field"),
        [
            ({"input": {"firstName": " "}}, "input.firstName"),
            ({"input": {"ownerId": "0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f10"}}, "input.ownerId"),
            ({"input": {"email": "a@example.com"}}, "input.email"),
            ({"input": {"status": "WON", "expectedVersion": 1}}, "input.expectedVersion"),
            ({"input": {"status": "WON"}, "versions": [1]}, "expectedVersions"),
            ({"input": {"status": "WON"}, "ids": [1, "zwei"]}, "ids.1"),
            ({"input": {"status": "WON"}, "ids": [1] * 501}, "ids"),
        ],
    )
    async def test_refuses_the_whole_for_what_is_wrong_of_all(self, refused, make_lead, variables, field):
        make_lead(), make_lead()
        error = await refused(UPDATE_LEADS, **{"ids": [1, 2], **variables})
        assert error["code"] == "BAD_USER_INPUT"
        assert error["field"].removeprefix("input.") == field.removeprefix("input.")

    async def test_of_five_hundred_is_one_transaction(self, graphql, db, events):
        db.execute("INSERT INTO leads (first_name, last_name) SELECT 'A', n::text FROM generate_series(1, 500) n")
        data = await graphql(UPDATE_LEADS, ids=list(range(500, 0, -1)), input={"tags": ["spring"]})
        assert [one["saved"] for one in data["updateLeads"]] == [True] * 500
        assert len({event["xid"] for event in events()}) == 1
        assert len(events()) == 500


class TestDeleteLeads:
    async def test_deletes_them_and_leaves_what_others_changed(self, graphql, make_lead, db):
        ids = [make_lead()["id"] for _ in range(3)]
        await graphql('mutation($id: Int!) { updateLead(id: $id, input: {company: "A"}) { id } }', id=ids[1])
        data = await graphql(DELETE_LEADS, ids=ids, versions=[1, 1, 1])
        assert [one["saved"] for one in data["deleteLeads"]] == [True, False, True]
        assert [one["lead"]["deletedAt"] is None for one in data["deleteLeads"]] == [False, True, False]
        assert db.execute("SELECT count(*) AS living FROM leads WHERE deleted_at IS NULL").fetchone()["living"] == 1

    async def test_needs_the_role_that_a_single_one_needs(self, graphql, make_lead):
        answer = await graphql(DELETE_LEADS, role="viewer", expect_errors=True, ids=[make_lead()["id"]])
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"


class TestTasks:
    async def test_updates_many(self, graphql, make_task):
        ids = [make_task()["id"], make_task(source="ai_suggested", generated_by="playbook")["id"], 4711]
        data = await graphql(UPDATE_TASKS, ids=ids, input={"priority": "URGENT", "completed": True})
        done = [(one["task"]["priority"], one["task"]["status"]) for one in data["updateTasks"] if one["saved"]]
        assert done == [("URGENT", "DONE")] * 2
        assert data["updateTasks"][2]["error"] == {"code": "NOT_FOUND"}

    async def test_completes_many_and_takes_it_back(self, graphql, make_task):
        ids = [make_task()["id"] for _ in range(3)]
        await graphql("mutation($id: Int!) { updateTaskSource(taskId: $id, source: DISMISSED) { id } }", id=ids[0])
        data = await graphql(COMPLETE_TASKS, ids=ids, versions=[2, 1, 1])
        assert [one["task"]["status"] for one in data["completeTasks"]] == ["DISMISSED", "DONE", "DONE"]
        back = await graphql(COMPLETE_TASKS, ids=ids[1:], done=False)
        assert [one["task"]["status"] for one in back["completeTasks"]] == ["OPEN", "OPEN"]

    async def test_says_no_more_than_an_answer_may_hold_and_saves_nothing_then(self, refused, make_task, db):
        """What it says of those that it refuses is as long as what others wrote: 60 MB of 500, once for each name."""
        ids = [make_task()["id"] for _ in range(100)]
        db.execute("UPDATE tasks SET description = repeat('漢', 20000)")
        stale = "changed { yours theirs }"
        query = f"""mutation($ids: [ID!]!, $input: UpdateTaskInput!, $versions: [Int!]) {{
          updateTasks(ids: $ids, input: $input, expectedVersions: $versions) {{ error {{ a: {stale} b: {stale} }} }}
        }}"""
        versions = [0] * 99 + [db.execute("SELECT version FROM tasks WHERE id = %s", (ids[-1],)).fetchone()["version"]]
        given = {"ids": ids, "versions": versions, "input": {"description": "字" * 20000}}
        assert (await refused(query, **given))["what"] == "bytes"
        assert db.execute("SELECT count(*) AS n FROM tasks WHERE description LIKE '字%%'").fetchone()["n"] == 0


class TestFields:
    async def test_share_what_an_answer_may_hold(self, graphql, make_lead, db):
        """Each had the whole for itself: thirty of them made 162 MB out of 1.6 KB."""
        lead = make_lead(company="Before")["id"]
        db.execute(
            "INSERT INTO interactions (type, notes, occurred_at, lead_id)"
            " SELECT 'note', repeat('abc å ', 10000), now(), %s FROM generate_series(1, 50)",
            (lead,),
        )
        field = 'updateLead(id: %s, input: {company: "%s"}) { interactions(limit: 50) { notes } }'
        fields = " ".join(f"a{number}: {field % (lead, number)}" for number in range(4))
        answer = await graphql(f"mutation {{ {fields} }}", expect_errors=True)
        assert [error["path"] for error in answer["errors"]] == [["a2"]]
        assert (answer["errors"][0]["extensions"]["code"], answer["data"]) == ("TOO_LARGE", None)
        assert db.execute("SELECT company FROM leads WHERE id = %s", (lead,)).fetchone()["company"] == "1"
