"""A form with mistakes: all of them come at once, for programs and for people, however the request comes."""

import asyncio
import json
from urllib.parse import urlsplit

import pytest
from graphql import get_named_type
from websockets.asyncio.client import connect

from crm.core.errors import ErrorCode
from crm.core.labels import has_label
from tests.support import sdl
from tests.support.problems import brief, reasons
from tests.support.websockets import GRAPHQL_WS

CREATE = "mutation($input: CreateLeadInput!) { createLead(input: $input) { id } }"
UPDATE = "mutation($id: Int!, $input: UpdateLeadInput!) { updateLead(id: $id, input: $input) { id } }"
CREATE_TASK = "mutation($input: CreateTaskInput!) { createTask(input: $input) { id } }"
CREATE_USER = "mutation($input: CreateUserInput!) { createUser(input: $input) { id } }"
CREATE_MANY = """mutation($inputs: [CreateLeadInput!]!) {
  createLeads(inputs: $inputs) {
    status field message duplicateOfId lead { id }
    error { code conflict existingId problems { field reason limit message } }
  }
}"""
NOBODY = "0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f10"
BLANK = {"firstName": " ", "lastName": "Berg"}
SWEDISH = {"Accept-Language": "sv-SE, sv;q=0.9, en;q=0.8"}
FIVE = {
    "firstName": " ",
    "lastName": "x" * 201,
    "email": "nope",
    "phone": "ask",
    "budget": "-1",
    "currency": "kr",
    "tags": ["a", "b\x00"],
    "ownerId": NOBODY,
}


class TestAForm:
    async def test_is_told_all_its_mistakes_in_its_order(self, refused):
        error = await refused(CREATE, input=FIVE)
        assert reasons(error) == [
            ("firstName", "BLANK"),
            ("lastName", "TOO_LONG"),
            ("email", "NOT_AN_EMAIL"),
            ("phone", "NOT_A_PHONE"),
            ("budget", "OUT_OF_RANGE"),
            ("currency", "NOT_A_CURRENCY"),
            ("tags.1", "BAD_CHARACTER"),
            ("ownerId", "UNKNOWN_REFERENCE"),
        ]
        assert brief(error) == {"code": "BAD_USER_INPUT", "field": "firstName"}
        assert [problem.get("limit") for problem in error["problems"][:5]] == [None, 200, None, None, 0]
        assert "`" not in json.dumps(error["problems"])

    async def test_is_told_those_of_types_and_those_of_columns_together(self, refused):
        given = {"lastName": "", "email": "nope", "budget": "abc", "status": "SOLD", "ownerId": None, "colour": "red"}
        error = await refused(CREATE, input=given)
        assert sorted(reasons(error)) == [
            ("budget", "NOT_A_NUMBER"),
            ("colour", "UNKNOWN_FIELD"),
            ("email", "NOT_AN_EMAIL"),
            ("firstName", "REQUIRED"),
            ("lastName", "BLANK"),
            ("status", "NOT_A_CHOICE"),
        ]
        assert "None" not in json.dumps(error["problems"])

    async def test_is_told_of_a_taken_address_with_the_rest(self, refused, make_lead):
        other = make_lead(email="asa@example.com")
        error = await refused(CREATE, input={"firstName": "", "lastName": "Berg", "email": "ASA@example.com"})
        assert reasons(error) == [("firstName", "BLANK"), ("email", "TAKEN")]
        assert brief(error) == {"code": "BAD_USER_INPUT", "field": "firstName", "existingId": str(other["id"])}
        alone = await refused(CREATE, input={"firstName": "Åsa", "lastName": "Berg", "email": "ASA@example.com"})
        assert (alone["code"], alone["conflict"], reasons(alone)) == ("CONFLICT", "TAKEN", [("email", "TAKEN")])

    async def test_of_a_change_is_told_the_same(self, refused, make_lead):
        make_lead(email="asa@example.com")
        changes = {"firstName": None, "email": "asa@example.com", "ownerId": NOBODY}
        error = await refused(UPDATE, id=make_lead()["id"], input=changes)
        assert reasons(error) == [("firstName", "REQUIRED"), ("email", "TAKEN"), ("ownerId", "UNKNOWN_REFERENCE")]

    async def test_of_a_task_is_told_which_records_are_unknown(self, refused):
        error = await refused(CREATE_TASK, input={"leadId": 999, "title": "", "assigneeId": NOBODY, "dueDate": "soon"})
        assert reasons(error) == [("title", "BLANK"), ("dueDate", "NOT_A_DATE")]
        error = await refused(CREATE_TASK, input={"leadId": 999, "title": "", "assigneeId": NOBODY})
        assert reasons(error) == [
            ("title", "BLANK"),
            ("leadId", "UNKNOWN_REFERENCE"),
            ("assigneeId", "UNKNOWN_REFERENCE"),
        ]

    async def test_of_a_user_is_told_who_has_the_address(self, refused, db):
        admin = db.execute("SELECT id, email FROM users LIMIT 1").fetchone()
        error = await refused(CREATE_USER, input={"email": admin["email"].upper(), "name": "Ada"})
        assert (error["conflict"], error["existingId"]) == ("TAKEN", str(admin["id"]))
        error = await refused(CREATE_USER, input={"email": admin["email"], "name": ""})
        assert reasons(error) == [("email", "TAKEN"), ("name", "BLANK")]

    async def test_of_many_is_told_each_ones_mistakes(self, graphql, make_lead):
        other = make_lead(email="asa@example.com")
        inputs = [BLANK, {**FIVE, "email": "asa@example.com"}, {"firstName": "Bo", "lastName": "Ek"}]
        first, second, third = (await graphql(CREATE_MANY, inputs=inputs))["createLeads"]
        assert reasons(first["error"]) == [("firstName", "BLANK")]
        assert (first["field"], first["message"]) == ("firstName", first["error"]["problems"][0]["message"])
        assert [reason for _, reason in reasons(second["error"])] == [
            "BLANK",
            "TOO_LONG",
            "TAKEN",
            "NOT_A_PHONE",
            "OUT_OF_RANGE",
            "NOT_A_CURRENCY",
            "BAD_CHARACTER",
            "UNKNOWN_REFERENCE",
        ]
        assert (second["status"], second["error"]["code"]) == ("INVALID", "BAD_USER_INPUT")
        assert second["error"]["existingId"] == str(second["duplicateOfId"]) == str(other["id"])
        assert (third["status"], third["error"]) == ("CREATED", None)

    async def test_of_one_of_many_with_a_taken_address_is_a_conflict(self, graphql, make_lead):
        other = make_lead(email="asa@example.com")
        inputs = [{"firstName": "Åsa", "lastName": "Berg", "email": "asa@example.com"}]
        (result,) = (await graphql(CREATE_MANY, inputs=inputs))["createLeads"]
        assert (result["status"], result["error"]["code"], result["error"]["conflict"]) == (
            "DUPLICATE",
            "CONFLICT",
            "TAKEN",
        )
        assert (result["error"]["existingId"], reasons(result["error"])) == (str(other["id"]), [("email", "TAKEN")])

    async def test_is_told_at_most_a_hundred(self, refused):
        error = await refused(CREATE_MANY, inputs=[{"firstName": 1, "lastName": ""}] * 200)
        assert len(error["problems"]) == 100


class TestLanguage:
    @pytest.fixture
    def answered(self, server, client, db):  # noqa: ARG002
        async def answered(path, body, **headers):
            token = {"Authorization": f"Bearer {server.token()}"}
            return (await client.post(path, json=body, headers={**token, **headers})).json()

        return answered

    async def test_over_http_is_the_one_of_the_request(self, answered):
        request = {"query": CREATE, "variables": {"input": {**BLANK, "budget": "abc"}}}
        (error,) = (await answered("/graphql", request, **SWEDISH))["errors"]
        assert [problem["message"] for problem in error["extensions"]["problems"]] == [
            "Förnamn måste fyllas i.",
            "Budget ska vara ett tal, inte 'abc'.",
        ]
        request["variables"]["input"] = BLANK
        assert (await answered("/graphql", request, **SWEDISH))["errors"][0]["message"] == "Förnamn måste fyllas i."
        assert (await answered("/graphql", request))["errors"][0]["message"] == "First name must not be blank."

    async def test_is_not_the_one_of_a_request_before_in_the_same_line(self, server, db):  # noqa: ARG002
        body = json.dumps({"query": CREATE, "variables": {"input": BLANK}}).encode()
        head = f"POST /graphql HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {server.token()}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        url = urlsplit(server.url)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        swedish = f"{head}Accept-Language: sv\r\n\r\n".encode() + body
        writer.write(swedish + f"{head}Connection: close\r\n\r\n".encode() + body)
        answers = (await reader.read()).decode()
        writer.close()
        assert answers.index("Förnamn måste fyllas i.") < answers.index("First name must not be blank.")

    async def test_over_rest_too(self, answered):
        found = await answered("/api/ai/tasks", {"taskType": "echo", "maxRetries": 11, "agentId": "a\nb"}, **SWEDISH)
        assert reasons(found) == [("agentId", "NOT_ONE_LINE"), ("maxRetries", "OUT_OF_RANGE")]
        assert found["detail"] == found["problems"][0]["message"] == "Agent ska vara på en rad."

    @pytest.mark.parametrize("by", ["Accept-Language", "acceptLanguage", None])
    async def test_over_a_socket_is_that_of_its_opening_or_of_connection_init(self, server, db, by):  # noqa: ARG002
        payload = {"Authorization": f"Bearer {server.token()}", **({by: "sv"} if by else {})}
        opening = {} if by else SWEDISH
        url = f"{server.url.replace('http', 'ws')}/graphql"
        async with connect(url, subprotocols=[GRAPHQL_WS], additional_headers=opening) as socket:
            await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
            await socket.recv()
            request = {"query": CREATE, "variables": {"input": BLANK}}
            await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": request}))
            answer = json.loads(await socket.recv())
        assert answer["payload"]["errors"][0]["message"] == "Förnamn måste fyllas i."


def test_the_schema_has_every_code():
    assert set(sdl.schema().get_type("ErrorCode").values) == set(ErrorCode.__members__)


def _inputs():
    """Each field of an input of a mutation, and each argument."""
    mutations = sdl.schema().mutation_type.fields.values()
    for field in mutations:
        for name, argument in field.args.items():
            yield name
            input_type = get_named_type(argument.type)
            if not input_type.name.endswith("Filter"):
                yield from getattr(input_type, "fields", {})


@pytest.mark.parametrize("name", sorted(set(_inputs())))
def test_every_field_of_a_mutation_has_a_label(name):
    """In the model's column (`label=`), or in crm/core/labels.py if it is no column."""
    assert has_label(name)
