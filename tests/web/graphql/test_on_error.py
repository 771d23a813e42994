"""`onError: NULL`: a root field that fails is null, and the answer keeps what the others brought."""

import json

import pytest

from tests.support.websockets import signed_in

MODERN = "application/graphql-response+json"
MIXED = """
    mutation($lead: Int!) {
      first: createTask(input: {leadId: $lead, title: "Ring"}) { title }
      none: createTask(input: {leadId: $lead, title: " "}) { title }
      last: createTask(input: {leadId: $lead, title: "Skriv"}) { title }
    }
"""


@pytest.fixture
def ask(client):
    async def run(query, **parameters):
        body = {"query": query, **parameters}
        response = await client.post("/graphql", json=body, headers={"Accept": MODERN})
        return response.status_code, response.json()

    return run


class TestOnError:
    async def test_null_reports_a_mutation_field_by_field(self, ask, make_lead, db):
        status, answer = await ask(MIXED, variables={"lead": make_lead()["id"]}, onError="NULL")
        assert (status, answer["data"]) == (294, {"first": {"title": "Ring"}, "none": None, "last": {"title": "Skriv"}})
        [error] = answer["errors"]
        assert (error["path"], error["extensions"]["field"]) == (["none"], "title")
        assert db.execute("SELECT count(*) AS tasks FROM tasks").fetchone()["tasks"] == 2

    @pytest.mark.parametrize("parameters", [{}, {"onError": None}, {"onError": "PROPAGATE"}])
    async def test_propagate_is_the_default(self, ask, make_lead, db, parameters):
        status, answer = await ask(MIXED, variables={"lead": make_lead()["id"]}, **parameters)
        assert (status, answer["data"]) == (294, None)
        assert db.execute("SELECT count(*) AS tasks FROM tasks").fetchone()["tasks"] == 1

    async def test_null_leaves_other_roots_of_a_query_their_data(self, ask, make_lead, db):
        lead = make_lead()["id"]
        db.execute("INSERT INTO tasks (title, lead_id) SELECT 'a', %s FROM generate_series(1, 1001)", [lead])
        query = f"{{ tasks {{ id }} lead(id: {lead}) {{ id }} }}"
        status, answer = await ask(query, onError="NULL")
        assert (status, answer["data"]) == (294, {"tasks": None, "lead": {"id": str(lead)}})
        assert [error["path"] for error in answer["errors"]] == [["tasks"]]
        status, answer = await ask("{ tasks { id } }", onError="NULL")
        assert (status, answer["data"]) == (294, {"tasks": None})

    async def test_by_get(self, client, db):
        db.execute("INSERT INTO leads (first_name, last_name) SELECT 'a', 'b' FROM generate_series(1, 1001)")
        response = await client.get("/graphql", params={"query": "{ leads { id } me { role } }", "onError": "NULL"})
        assert response.json()["data"] == {"leads": None, "me": {"role": "ADMIN"}}

    async def test_by_websocket(self, server, db):  # noqa: ARG002
        socket = await signed_in(server.url, server.token())
        payload = {"query": "mutation { deleteLead(id: 404) { id } }", "onError": "NULL"}
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
        answer = json.loads(await socket.recv())["payload"]
        await socket.close()
        assert answer["data"] == {"deleteLead": None}

    @pytest.mark.parametrize("value", ["HALT", "null", 5, ["NULL"], True])
    async def test_nothing_else_is_taken(self, ask, db, value):  # noqa: ARG002
        status, answer = await ask("{ me { id } }", onError=value)
        assert (status, answer["errors"][0]["extensions"]["field"]) == (422, "onError")
