"""Global ids: every record has one of its own, and is read by it, whatever its type."""

from base64 import b64encode

import pytest

from tests.graph.asking import answer, data
from tests.graph.generate import node_id
from tests.support import sdl

NODES = "query($ids: [ID!]!) { nodes(nodeIds: $ids) { __typename nodeId ... on Lead { fullName } } }"


@pytest.fixture
def one_of_each(db, make_lead, make_task, make_interaction, make_user, insert):
    """A record of every type that is a `Node`, by the type's name."""
    lead = make_lead(first_name="Åsa", last_name="Ek")
    user = db.execute("SELECT * FROM users WHERE email = 'service-admin@crm.invalid'").fetchone()
    ai_task = insert("ai_tasks", id="0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f10", task_type="echo", created_by=user["id"])
    attempt_id = "1b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f10"
    return {
        "Lead": lead,
        "Task": make_task(lead_id=lead["id"]),
        "Interaction": make_interaction(lead_id=lead["id"]),
        "User": make_user(name="Maja"),
        "AiTask": ai_task,
        "AiTaskAttempt": insert("ai_task_attempts", id=attempt_id, task_id=ai_task["id"], number=1, worker="w"),
    }


class TestNode:
    async def test_each_record_is_read_by_its_own_id(self, graphql, one_of_each):
        kinds = {name for name, kind in sdl.schema().type_map.items() if "nodeId" in getattr(kind, "fields", ())}
        assert kinds == {"Node", *one_of_each}
        query = "query($id: ID!) { node(nodeId: $id) { __typename nodeId } }"
        for kind, record in one_of_each.items():
            key = node_id(kind, record["id"])
            assert (await graphql(query, id=key))["node"] == {"__typename": kind, "nodeId": key}

    async def test_records_say_what_their_id_is(self, graphql, make_task):
        task = make_task()
        query = "query($id: Int!) { task(id: $id) { nodeId id lead { nodeId id } } }"
        found = (await graphql(query, id=task["id"]))["task"]
        assert found["nodeId"] == node_id("Task", found["id"])
        assert found["lead"]["nodeId"] == node_id("Lead", found["lead"]["id"])

    async def test_what_is_written_has_it_too(self, graphql, make_lead):
        lead = make_lead()["id"]
        made = await graphql(
            'mutation($id: Int!) { createTask(input: {leadId: $id, title: "A"}) { id nodeId } }', id=lead
        )
        assert made["createTask"]["nodeId"] == node_id("Task", made["createTask"]["id"])


class TestNodes:
    async def test_the_order_is_that_of_the_ids(self, graphql, one_of_each):
        ids = [node_id(kind, record["id"]) for kind, record in one_of_each.items()]
        ids = [ids[3], ids[0], ids[5], ids[0]]
        found = (await graphql(NODES, ids=ids))["nodes"]
        assert [one["nodeId"] for one in found] == ids
        assert [one.get("fullName") for one in found] == [None, "Åsa Ek", None, "Åsa Ek"]
        assert (await graphql(NODES, ids=[]))["nodes"] == []

    async def test_what_is_not_there_or_not_shown_is_null(self, graphql, make_lead, make_task, one_of_each):
        deleted = make_lead(deleted=True)
        ids = [
            node_id("Lead", deleted["id"]),
            node_id("Task", make_task(lead_id=deleted["id"])["id"]),
            node_id("Lead", 0),
            node_id("Lead", 9_999_999_999),  # more than the column holds
            node_id("Lead", one_of_each["User"]["id"]),
            node_id("User", 1),
            node_id("Nothing", 1),
            node_id("Change", 1),
            node_id("AiTask", one_of_each["AiTask"]["id"]),  # another user's
            node_id("AiTaskAttempt", one_of_each["AiTaskAttempt"]["id"]),
        ]
        assert (await graphql(NODES, role="viewer", ids=ids))["nodes"] == [None] * len(ids)

    async def test_what_is_no_id_is_refused(self, refused):
        keys = (-1, "01", "", "1'", "0B5C7C1E-7F0A-4B1E-9C57-0D3C1B2A4F10")
        texts = ["", "1", "Lead:1", "Å", "TGVhZDox\n", f"{node_id('Lead', 1)}=", b64encode(b"\xff\xfe").decode()]
        texts += [*(node_id("Lead", key) for key in keys), "TGVhZDoxMh=="]  # the last is another spelling of Lead:12
        for text in texts:
            error = await refused(NODES, ids=[node_id("Lead", 1), text])
            assert (error["code"], error["field"]) == ("BAD_USER_INPUT", "nodeIds.1"), text

    async def test_a_thousand_at_most(self, engine, viewers, make_lead):
        lead = node_id("Lead", make_lead()["id"])
        query = "query($ids: [ID!]!) { nodes(nodeIds: $ids) { nodeId } }"
        found = await data(engine, viewers["viewer"], query, {"ids": [lead] * 1000})
        assert found["nodes"] == [{"nodeId": lead}] * 1000
        refused = await answer(engine, viewers["viewer"], query, {"ids": [lead] * 1001})
        assert refused["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"

    async def test_each_record_has_its_price(self, graphql, make_lead):
        ids = [node_id("Lead", make_lead()["id"])] * 500
        query = "query($ids: [ID!]!) { nodes(nodeIds: $ids) { ... on Lead { tasks(limit: 50) { id } } } }"
        refused = await graphql(query, expect_errors=True, ids=ids)
        assert refused["errors"][0]["extensions"]["cost"] == 500 + 500 * 50
        assert "rows of `nodes.tasks` 25,000" in refused["errors"][0]["message"]
        assert len((await graphql(query, ids=ids[:100]))["nodes"]) == 100


class TestConnectionsOfALead:
    QUERY = """query($id: Int!, $after: String, $before: String, $first: Int, $last: Int) {
        lead(id: $id) { tasksConnection(
            first: $first, after: $after, last: $last, before: $before,
            filter: {completed: {eq: false}}, orderBy: [{field: TITLE}]
        ) { totalCount pageInfo { hasNextPage hasPreviousPage endCursor startCursor } edges { node { title } } } }
    }"""

    async def page(self, graphql, lead, **arguments):
        found = (await graphql(self.QUERY, id=lead["id"], **arguments))["lead"]["tasksConnection"]
        return [edge["node"]["title"] for edge in found["edges"]], found["pageInfo"], found["totalCount"]

    async def test_pages_there_and_back(self, graphql, make_lead, make_task):
        lead, other = make_lead(), make_lead()
        for title in "ecabd":
            make_task(lead_id=lead["id"], title=title)
        make_task(lead_id=lead["id"], title="done", completed=True)
        make_task(lead_id=other["id"], title="other")
        titles, info, total = await self.page(graphql, lead, first=2)
        assert (titles, info["hasNextPage"], info["hasPreviousPage"], total) == (["a", "b"], True, False, 5)
        titles, info, _ = await self.page(graphql, lead, first=2, after=info["endCursor"])
        assert (titles, info["hasNextPage"]) == (["c", "d"], True)
        titles, last, _ = await self.page(graphql, lead, first=2, after=info["endCursor"])
        assert (titles, last["hasNextPage"]) == (["e"], False)
        titles, info, _ = await self.page(graphql, lead, last=2, before=info["startCursor"])
        assert (titles, info["hasPreviousPage"]) == (["a", "b"], False)

    async def test_of_many_leads_at_once(self, graphql, make_lead, make_task, make_interaction):
        leads = [make_lead(), make_lead(), make_lead()]
        for lead in leads[:2]:
            for number in range(3):
                make_task(lead_id=lead["id"], title=f"{lead['id']}.{number}")
                make_interaction(lead_id=lead["id"], subject=f"{lead['id']}.{number}")
        query = """{ leads(orderBy: [{field: ID}]) {
            tasksConnection(first: 1) { totalCount nodes { title } }
            interactionsConnection(first: 2, orderBy: [{field: ID}]) { pageInfo { hasNextPage } nodes { subject } }
        } }"""
        first, second, third = (await graphql(query))["leads"]
        assert first["tasksConnection"] == {"totalCount": 3, "nodes": [{"title": f"{leads[0]['id']}.2"}]}
        shown = [{"subject": f"{leads[1]['id']}.{number}"} for number in (0, 1)]
        assert second["interactionsConnection"] == {"pageInfo": {"hasNextPage": True}, "nodes": shown}
        assert third["tasksConnection"] == {"totalCount": 0, "nodes": []}
