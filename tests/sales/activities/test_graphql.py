import itertools
import random

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support import plans

ALL = """query($id: Int!, $kinds: [ActivityKind!]) {
  lead(id: $id) { activities(kinds: $kinds, first: 1000) { totalCount nodes { id kind occurredAt } } }
}"""
PAGE = """query($id: Int!, $first: Int, $after: String, $last: Int, $before: String, $kinds: [ActivityKind!]) {
  lead(id: $id) { activities(first: $first, after: $after, last: $last, before: $before, kinds: $kinds) {
    nodes { id } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  } }
}"""
READ = """query($id: Int!) { lead(id: $id) { activities { nodes {
  kind title text durationMinutes statusBefore statusAfter user { name } interaction { type } task { status }
} } } }"""
KINDS = ("call", "email", "meeting", "message", "note")
# As many as there are ways to lie: two moments for all, so that ties are the rule.
MOMENTS = [f"2026-03-0{day}T10:00:00Z" for day in (1, 2)]


@pytest.fixture
def status_changed(db):
    def make(lead, before, after, at):
        fields = [
            {"name": "company", "before": None, "after": "A"},
            {"name": "status", "before": before, "after": after},
        ]
        db.execute(
            "INSERT INTO events (type, entity, entity_id, lead_id, occurred_at, fields) "
            "VALUES ('lead.updated', 'lead', %s::text, %s, %s, %s)",
            (lead, lead, at, Jsonb(fields)),
        )

    return make


@pytest.fixture
def lead(make_lead, make_task, make_interaction, status_changed):
    """A lead with two moments, at each of which much of every kind happened, in no order."""
    lead, other, dice = make_lead()["id"], make_lead()["id"], random.Random(7)
    makers = [
        *((lambda at, kind=kind, **to: make_interaction(type=kind, occurred_at=at, **to)) for kind in KINDS),
        lambda at, **to: make_task(completed=True, completed_at=at, **to),
        lambda at, **to: make_task(source="ai_suggested", generated_by="playbook", created_at=at, **to),
        lambda at, **to: status_changed(to["lead_id"], "NEW", "WON", at),
    ]
    made = list(itertools.product(makers * 2, MOMENTS, [lead, lead, other]))
    dice.shuffle(made)
    for maker, at, to in made:
        maker(at, lead_id=to)
    return lead


class TestActivities:
    async def test_shows_what_a_person_reads_in_the_order_in_which_it_happened(self, graphql, make_lead):
        lead = make_lead()["id"]
        await graphql(
            """mutation($id: Int!) {
              note: logInteraction(input: {
                leadId: $id, type: NOTE, subject: "Moves in May", notes: "To Lund", occurredAt: "2026-01-02T10:00:00Z"
              }) { id }
              call: logInteraction(input: {
                leadId: $id, type: CALL, subject: "First call", durationMinutes: 5, occurredAt: "2026-01-01T10:00:00Z"
              }) { id }
              updateLead(id: $id, input: {status: CONTACTED, company: "Saab"}) { id }
              createTask(input: {leadId: $id, title: "Send the list", description: "The long one"}) { id }
              completeTask(id: 1) { id }
              regenerateSummary(leadId: $id) { id }
            }""",
            id=lead,
        )
        summary, done, status, note, call = (await graphql(READ, id=lead))["lead"]["activities"]["nodes"]
        nothing = dict.fromkeys(summary)
        admin = {"name": "Service (admin)"}
        contact = {**nothing, "user": admin}
        assert call == {
            **contact,
            "kind": "CALL",
            "title": "First call",
            "durationMinutes": 5,
            "interaction": {"type": "CALL"},
        }
        assert note == {
            **contact,
            "kind": "NOTE",
            "title": "Moves in May",
            "text": "To Lund",
            "interaction": {"type": "NOTE"},
        }
        assert status == {
            **nothing,
            "kind": "STATUS_CHANGED",
            "statusBefore": "NEW",
            "statusAfter": "CONTACTED",
            "user": admin,
        }
        assert done == {
            **nothing,
            "kind": "TASK_DONE",
            "title": "Send the list",
            "text": "The long one",
            "task": {"status": "DONE"},
        }
        assert summary["kind"] == "SUMMARY"
        assert "First call" in summary["text"] or summary["text"]

    async def test_shows_suggestions_with_their_reason_and_their_answer(self, graphql, make_lead, make_interaction):
        lead = make_lead(status="contacted")["id"]
        make_interaction(lead_id=lead, occurred_at="2026-01-01T10:00:00Z")
        data = await graphql(
            "mutation($id: Int!) { generateTaskRecommendations(leadId: $id) { id title aiReasoning } }", id=lead
        )
        suggested = data["generateTaskRecommendations"]
        await graphql(f"mutation {{ updateTaskSource(taskId: {suggested[0]['id']}, source: DISMISSED) {{ id }} }}")
        read = """query($id: Int!) {
          lead(id: $id) { activities(kinds: [SUGGESTION]) { nodes { title text task { status } } } }
        }"""
        found = (await graphql(read, id=lead))["lead"]["activities"]["nodes"]
        assert {(one["title"], one["text"]) for one in found} == {
            (one["title"], one["aiReasoning"]) for one in suggested
        }
        assert "DISMISSED" in {one["task"]["status"] for one in found}

    async def test_hides_what_is_deleted_and_what_is_not_done(self, graphql, make_lead, make_task):
        lead = make_lead()["id"]
        make_task(lead_id=lead, completed=True, completed_at=MOMENTS[0], deleted=True)
        make_task(lead_id=lead, completed=True, completed_at=MOMENTS[0], source="dismissed")
        make_task(lead_id=lead)
        assert (await graphql(ALL, id=lead))["lead"]["activities"] == {"totalCount": 0, "nodes": []}

    async def test_pages_forwards_and_backwards_through_ties_of_all_kinds(self, graphql, lead):
        whole = (await graphql(ALL, id=lead))["lead"]["activities"]
        ids = [node["id"] for node in whole["nodes"]]
        assert whole["totalCount"] == len(ids) == len(set(ids)) == 64
        moments = [node["occurredAt"] for node in whole["nodes"]]
        assert moments == sorted(moments, reverse=True)
        for size in (1, 7, 63, 64):
            assert await _walked(graphql, lead, first=size) == ids
            assert await _walked(graphql, lead, last=size) == ids

    @pytest.mark.parametrize("kinds", [["CALL"], ["TASK_DONE", "NOTE"], ["STATUS_CHANGED"], ["SUGGESTION", "SUMMARY"]])
    async def test_shows_only_the_kinds_that_are_asked_for(self, graphql, lead, kinds):
        whole = (await graphql(ALL, id=lead))["lead"]["activities"]["nodes"]
        wanted = {node["id"] for node in whole if node["kind"] in kinds}
        found = (await graphql(ALL, id=lead, kinds=kinds))["lead"]["activities"]
        assert {node["id"] for node in found["nodes"]} == wanted
        assert found["totalCount"] == len(wanted)
        assert set(await _walked(graphql, lead, first=3, kinds=kinds)) == wanted
        assert (await graphql(ALL, id=lead, kinds=[]))["lead"]["activities"]["nodes"] == whole

    async def test_refuses_a_cursor_of_other_kinds(self, graphql, refused, lead):
        page = (await graphql(PAGE, id=lead, first=1))["lead"]["activities"]
        extensions = await refused(PAGE, id=lead, first=1, after=page["pageInfo"]["endCursor"], kinds=["CALL"])
        assert (extensions["code"], extensions["field"]) == ("BAD_USER_INPUT", "after")

    async def test_shows_no_status_that_there_is_not(self, graphql, make_lead, status_changed):
        lead = make_lead()["id"]
        status_changed(lead, "FROZEN", 7, MOMENTS[0])
        read = "query($id: Int!) { lead(id: $id) { activities { nodes { statusBefore statusAfter } } } }"
        (found,) = (await graphql(read, id=lead))["lead"]["activities"]["nodes"]
        assert found == {"statusBefore": None, "statusAfter": None}

    async def test_reads_of_each_table_no_more_than_a_page(self, graphql, database_url, lead):
        page = (await graphql(PAGE, id=lead, first=5))["lead"]["activities"]
        arguments = {"id": lead, "first": 5, "after": page["pageInfo"]["endCursor"]}
        text, params = await plans.statement(database_url, PAGE, arguments)
        with psycopg.connect(database_url) as connection:
            connection.execute("SET enable_seqscan = off")
            connection.execute("SET enable_bitmapscan = off")
            plan = plans.plan(connection, text, params)
        for index in (
            "interactions_lead_id_occurred_at_id_idx",
            "tasks_lead_id_completed_at_id_idx",
            "tasks_lead_id_created_at_id_idx",
            "events_activities_idx",
        ):
            assert index in plan
        assert plan.count("Sort Key: ") == 2  # of the pages' rows together, and of the answer
        conditions = [line for line in plan.splitlines() if "Index Cond" in line and "ROW(" in line]
        assert len(conditions) == 4


async def _walked(graphql, lead, **arguments):
    """The ids of all activities, page by page."""
    backwards, found, place = "last" in arguments, [], {}
    while True:
        page = (await graphql(PAGE, id=lead, **arguments, **place))["lead"]["activities"]
        ids, info = [node["id"] for node in page["nodes"]], page["pageInfo"]
        found = ids + found if backwards else found + ids
        if not info["hasPreviousPage" if backwards else "hasNextPage"]:
            return found
        place = {"before": info["startCursor"]} if backwards else {"after": info["endCursor"]}
