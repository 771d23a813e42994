from typing import Any

import pytest

from crm.core.api_json import camel
from crm.core.model import Model
from crm.sales.history.service import SHOWN
from tests.support import sdl

TIMELINE = """query($id: Int!, $limit: Int, $before: String) {
  lead(id: $id) { timeline(limit: $limit, before: $before) { id cursor type entity entityId occurredAt leadId } }
}"""


@pytest.fixture
def timeline(graphql):
    async def read(lead, **arguments):
        return (await graphql(TIMELINE, id=lead, **arguments))["lead"]["timeline"]

    return read


@pytest.fixture
def broken_tasks(db):
    """Tasks that cannot be created, by a fault of ours."""
    db.execute("CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM no_such(); END'")
    db.execute("CREATE TRIGGER broken BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION broken()")
    yield
    db.execute("DROP FUNCTION broken CASCADE")


class TestTimeline:
    async def test_shows_what_happened_to_the_lead_its_tasks_and_interactions(self, graphql, make_lead, timeline, db):
        lead, other = make_lead()["id"], make_lead()["id"]
        await graphql(f'mutation {{ updateLead(id: {lead}, input: {{company: "Saab"}}) {{ id }} }}')
        await graphql(f'mutation {{ createTask(input: {{leadId: {lead}, title: "Call"}}) {{ id }} }}')
        await graphql(f"mutation {{ logInteraction(input: {{leadId: {lead}, type: CALL}}) {{ id }} }}")
        await graphql(f'mutation {{ createTask(input: {{leadId: {other}, title: "Other"}}) {{ id }} }}')
        call = db.execute("SELECT id FROM interactions").fetchone()["id"]
        await graphql(f"mutation {{ deleteInteraction(id: {call}) {{ id }} }}")
        found = await timeline(lead)
        assert [change["type"] for change in found] == [
            "interaction.deleted",
            "interaction.created",
            "task.created",
            "lead.updated",
        ]
        assert [change["entity"] for change in found] == ["INTERACTION", "INTERACTION", "TASK", "LEAD"]
        assert {change["leadId"] for change in found} == {lead}

    async def test_says_who_and_which_fields_and_leads_to_the_records(self, graphql, make_lead):
        lead = make_lead(company="Volvo")["id"]
        await graphql(f'mutation {{ updateLead(id: {lead}, input: {{company: "Saab"}}) {{ id }} }}', role="member")
        await graphql(f'mutation {{ createTask(input: {{leadId: {lead}, title: "Call"}}) {{ id }} }}')
        data = await graphql(
            "query($id: Int!) { lead(id: $id) { timeline { actor { email } fields { name before after } "
            "lead { id } task { title } interaction { id } } } }",
            id=lead,
        )
        created, updated = data["lead"]["timeline"]
        assert updated == {
            "actor": {"email": "service-member@crm.invalid"},
            "fields": [{"name": "company", "before": "Volvo", "after": "Saab"}],
            "lead": {"id": str(lead)},
            "task": None,
            "interaction": None,
        }
        assert created["task"] == {"title": "Call"}
        assert created["actor"] == {"email": "service-admin@crm.invalid"}

    async def test_says_by_which_way_and_request_a_change_came_and_to_which_version(self, graphql, make_lead, db):
        lead = make_lead()["id"]
        both = """mutation($id: Int!) {
          saab: updateLead(id: $id, input: {company: "Saab"}) { id }
          volvo: updateLead(id: $id, input: {company: "Volvo"}) { id }
          logInteraction(input: {leadId: 1, type: CALL}) { id }
        }"""
        await graphql(both.replace("leadId: 1", f"leadId: {lead}"), id=lead)
        await graphql(f'mutation {{ createTask(input: {{leadId: {lead}, title: "Call"}}) {{ id }} }}')
        db.execute(
            "INSERT INTO events (type, entity, entity_id, lead_id) VALUES ('lead.updated', 'lead', '1', %s)", [lead]
        )
        read = "query($id: Int!) { lead(id: $id) { timeline { type via requestId version } } }"
        by_hand, task, call, volvo, saab = (await graphql(read, id=lead))["lead"]["timeline"]
        assert [saab["version"], volvo["version"], call["version"], task["version"]] == [2, 3, 1, 1]
        assert {change["via"] for change in (saab, volvo, call, task)} == {"API"}
        assert saab["requestId"] == volvo["requestId"] == call["requestId"] != task["requestId"]
        assert by_hand == {"type": "lead.updated", "via": "SQL", "requestId": None, "version": None}

    @pytest.mark.usefixtures("broken_tasks")
    async def test_what_was_saved_before_a_failure_has_the_id_of_its_error(self, graphql, make_lead):
        lead = make_lead()["id"]
        mutation = """mutation($lead: ID!) {
          logInteraction(input: {leadId: $lead, type: CALL}) { id }
          createTask(input: {leadId: $lead, title: "Call"}) { id }
        }"""
        failed = await graphql(mutation, lead=lead, expect_errors=True)
        [error] = failed["errors"]
        assert (error["path"], error["extensions"]["code"]) == (["createTask"], "INTERNAL")
        read = "query($id: Int!) { lead(id: $id) { timeline { type requestId } } }"
        saved = (await graphql(read, id=lead))["lead"]["timeline"]
        assert saved == [{"type": "interaction.created", "requestId": error["extensions"]["requestId"]}]

    async def test_shows_no_field_that_the_api_does_not_have(self, graphql, make_lead, db):
        """Not even of events that an earlier version wrote."""
        lead = make_lead()["id"]
        db.execute(
            "INSERT INTO events (type, entity, entity_id, lead_id, fields) SELECT 'lead.updated', 'lead', %s, %s, "
            "jsonb_agg(jsonb_build_object('name', name, 'before', null, 'after', 'x')) "
            "FROM unnest(ARRAY['summary', 'summaryHash', 'summaryFactsAt']) AS name",
            (str(lead), lead),
        )
        await graphql("mutation($id: Int!) { regenerateSummary(leadId: $id) { summary } }", id=lead)
        data = await graphql("query($id: Int!) { lead(id: $id) { timeline { fields { name } } } }", id=lead)
        names = [{field["name"] for field in change["fields"]} for change in data["lead"]["timeline"]]
        assert names[-1] == {"summary"}
        assert "summaryGeneratedAt" in names[0]
        assert not {"summaryHash", "summaryFactsAt"} & set().union(*names)
        written = db.execute("SELECT fields::text FROM events ORDER BY id DESC LIMIT 1").fetchone()["fields"]
        assert "summaryHash" not in written

    @pytest.mark.parametrize("entity", SHOWN)
    def test_has_no_column_to_show_that_the_api_does_not_have(self, entity):
        model = next(one for one in Model.__subclasses__() if one.__dict__.get("entity") == entity)
        logged = {camel(column.name) for column in model.__table__.c} - {"version", "updatedAt"}
        internal = {camel(name) for name in model.internal | model.unlogged}
        kind: Any = sdl.schema().type_map[entity.capitalize()]
        assert logged - internal <= set(kind.fields)

    @pytest.mark.parametrize("size", [1, 3, 7, 100])
    async def test_pages_without_a_gap_or_a_repetition(self, graphql, make_lead, timeline, size):
        lead = make_lead()["id"]
        for number in range(10):
            await graphql(f'mutation {{ updateLead(id: {lead}, input: {{company: "{number}"}}) {{ id }} }}')
        everything = [change["id"] for change in await timeline(lead)]
        assert len(everything) == 10
        paged, before = [], None
        while page := await timeline(lead, limit=size, before=before):
            assert len(page) <= size
            paged += [change["id"] for change in page]
            before = page[-1]["cursor"]
        assert paged == everything

    async def test_keeps_its_place_while_new_things_happen(self, graphql, make_lead, timeline):
        lead = make_lead()["id"]
        for number in range(4):
            await graphql(f'mutation {{ updateLead(id: {lead}, input: {{company: "{number}"}}) {{ id }} }}')
        everything = [change["id"] for change in await timeline(lead)]
        first = await timeline(lead, limit=2)
        await graphql(f'mutation {{ updateLead(id: {lead}, input: {{company: "new"}}) {{ id }} }}')
        second = await timeline(lead, limit=2, before=first[-1]["cursor"])
        assert [change["id"] for change in first + second] == everything

    @pytest.mark.parametrize("before", ["nonsense", "", "a.b.c", "1.2", "ü.1.9999999999999999999999"])
    async def test_refuses_a_cursor_that_is_none_and_says_where(self, graphql, make_lead, before):
        answer = await graphql(TIMELINE, expect_errors=True, id=make_lead()["id"], before=before)
        extensions = answer["errors"][0]["extensions"]
        assert (extensions["code"], extensions["field"]) == ("BAD_USER_INPUT", "before")

    async def test_a_failed_write_leaves_nothing(self, graphql, make_lead, timeline):
        lead = make_lead()["id"]
        for failing in (
            'updateLead(id: %d, input: {company: "x", expectedVersion: 9}) { id }',
            'createTask(input: {leadId: %d, title: " "}) { id }',
            'createTask(input: {leadId: %d, title: "x", assigneeId: "0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f10"}) { id }',
        ):
            answer = await graphql("mutation { " + failing % lead + " }", expect_errors=True)
            assert answer["errors"]
        assert await timeline(lead) == []

    async def test_refuses_a_cursor_of_another_stream(self, graphql, make_lead):
        lead = make_lead()["id"]
        await graphql(f'mutation {{ updateLead(id: {lead}, input: {{company: "Saab"}}) {{ id }} }}')
        foreign = "7e5ab7ba-52ee-4f25-9a1a-7cf8a70a1d21.1.99999"
        answer = await graphql(TIMELINE, expect_errors=True, id=lead, before=foreign)
        extensions = answer["errors"][0]["extensions"]
        assert (extensions["code"], extensions["field"]) == ("CURSOR_EXPIRED", "before")

    @pytest.mark.parametrize(("kept", "code"), [(0, None), (-1, "CURSOR_EXPIRED")])
    async def test_takes_a_cursor_from_before_a_failover_if_nothing_was_lost_up_to_it(
        self, graphql, make_lead, timeline, db, kept, code
    ):
        lead = make_lead()["id"]
        for company in ("Saab", "Volvo"):
            await graphql(f'mutation {{ updateLead(id: {lead}, input: {{company: "{company}"}}) {{ id }} }}')
        newest, oldest = await timeline(lead)
        db.execute(
            "WITH old AS (SELECT epoch FROM event_epoch), new AS (UPDATE event_epoch SET epoch = gen_random_uuid() "
            "RETURNING epoch) INSERT INTO event_forks (epoch, successor, kept_xid) "
            "SELECT old.epoch, new.epoch, (%s)::text::xid8 FROM old, new",
            (int(newest["cursor"].split(".")[1]) + kept,),
        )
        answer = await graphql(TIMELINE, expect_errors=True, id=lead, before=newest["cursor"])
        if code is None:
            (shown,) = answer["data"]["lead"]["timeline"]
            assert shown["cursor"].split(".")[1:] == oldest["cursor"].split(".")[1:]
        else:
            assert answer["errors"][0]["extensions"]["code"] == code
