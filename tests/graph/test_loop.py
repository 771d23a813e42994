"""Nothing that a client sends holds the event loop: what takes long is refused before, or goes on beside it."""

import asyncio
import json
import time
from collections.abc import Awaitable
from typing import Any

import pytest
from graphql import get_introspection_query
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from crm.core import errors
from crm.core.identity import Role
from crm.core.settings import Settings
from crm.graph.compile.documents import Document
from crm.graph.compile.parsing import InvalidDocument
from crm.graph.run.engine import Request
from crm.schema import schema
from tests.support.websockets import GRAPHQL_WS

SCHEMA = schema._schema  # noqa: SLF001
KIB = 1024
CREATE = "mutation($i: [CreateLeadInput!]!) { createLeads(inputs: $i) { index } }"
TASKS = "mutation($i: [CreateAiTaskInput!]!) { createAiTasks(inputs: $i) { id } }"
FILTER = "query($f: LeadFilter) { leads(filter: $f) { id } }"
IDS = "query($f: [Int!]) { leads(filter: {id: {in: $f}}) { id } }"
ADA = {"firstName": "Ada", "lastName": "Berg"}
JSON = {"Content-Type": "application/json"}
# Far above what they take (5 to 200 ms), far below what they took (half a minute and more).
SECONDS = 3.0


def cycle(count: int) -> str:
    """Each fragment spreads the next one, and all before it."""
    spreads = [[min(n + 1, count - 1), *range(n)] for n in range(count)]
    bodies = (" ".join(f"...F{other}" for other in others) for others in spreads)
    named = " ".join(f"fragment F{n} on Lead {{ {body} }}" for n, body in enumerate(bodies))
    return f"{{ leads {{ ...F0 ...F{count - 1} }} }} {named}"


def refusal(text: str, **limits: Any) -> errors.CrmError:
    """The error of a document, which comes soon."""
    started = time.process_time()
    with pytest.raises(errors.CrmError) as refused:
        Document.read(text, SCHEMA, Settings(**limits), introspection=True)
    assert time.process_time() - started < SECONDS
    return refused.value


async def longest_turn(work: Awaitable[Any]) -> tuple[Any, float]:
    """What is awaited returns, and the longest turn of the event loop meanwhile, in seconds of the processor."""
    running = asyncio.ensure_future(work)
    longest, before = 0.0, time.thread_time()
    while not running.done():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, before = max(longest, now - before), now
    return await running, longest


async def turns(work: Awaitable[Any]) -> tuple[Any, int]:
    """What is awaited returns, and how often the event loop comes round meanwhile."""
    count = 0

    async def tick() -> None:
        nonlocal count
        while True:
            count += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0)
    count = 0
    try:
        return await work, count
    finally:
        ticking.cancel()


class TestDocuments:
    @pytest.mark.parametrize("count", [2, 5, 12, 22, 40])
    def test_fragments_within_each_other(self, count):
        error = refusal(cycle(count))
        assert error.code in ("BAD_USER_INPUT", "TOO_COMPLEX")
        assert "within itself" in error.message

    def test_a_fragment_within_itself_is_named_in_part(self):
        name = "F" * 10_000
        error = refusal(f"{{ leads {{ ...{name} }} }} fragment {name} on Lead {{ id ...{name} }}")
        assert len(error.message) < 200

    def test_operations_without_end(self):
        error = refusal(" ".join(f"query Q{n} {{ leads {{ id }} }}" for n in range(480)))
        assert (error.code, error.details["what"], error.details["limit"]) == ("TOO_COMPLEX", "operations", 50)

    def test_fifty_operations_pass(self):
        text = " ".join(f"query Q{n} {{ leads {{ id }} }}" for n in range(50))
        document = Document.read(text, SCHEMA, Settings(), introspection=True)
        assert document.operation("Q49").name == "Q49"

    def test_fragments_that_no_operation_reaches(self):
        each = "tasks { id } " * 20
        error = refusal("{ leads { id } } " + " ".join(f"fragment F{n} on Lead {{ {each} }}" for n in range(30)))
        assert error.details["what"] == "pairs of fields under one name"

    def test_fragments_of_one_name(self):
        error = refusal("{ leads { id } } " + "fragment F on Lead { tasks { id } tasks { id } } " * 51)
        assert error.details["what"] == "fragments"

    def test_the_pairs_of_all_operations_are_added_up(self):
        each = f"leads {{ {'id ' * 40} }}"
        error = refusal(" ".join(f"query Q{n} {{ {each} }}" for n in range(10)))
        assert error.details["what"] == "pairs of fields under one name"

    def test_inline_fragments_that_fragments_multiply(self):
        deep = "... { " * 60 + "id" + " }" * 60
        error = refusal(f"{{ leads {{ {'...F ' * 30} }} }} fragment F on Lead {{ {deep} }}")
        assert error.details["what"] == "fragment spreads"

    def test_of_a_thousand_places_ten_are_told(self):
        error = refusal("\n" * 240_000 + f"{{ leads({'limit: 1 ' * 1200}) {{ id }} }}")
        assert isinstance(error, InvalidDocument)
        assert error.rendered[0]["locations"][0] == {"line": 240_001, "column": 9}
        assert len(error.rendered[0]["locations"]) == 10

    @pytest.mark.parametrize(
        ("text", "line", "column"),
        [
            ("{ nope }", 1, 3),
            ("\n{ nope }", 2, 3),
            ("\r\n\r\n{\r\n  nope }", 4, 3),
            ("\r{ \r nope }", 3, 2),
            ("# å\n{ \n\n\nnope }", 5, 1),
        ],
    )
    def test_places_are_counted_as_editors_count(self, text, line, column):
        error = refusal(text)
        assert isinstance(error, InvalidDocument)
        assert error.rendered[0]["locations"] == [{"line": line, "column": column}]


@pytest.fixture
def settled(engine):
    engine.settings = Settings()
    return engine


class TestTurns:
    """What is refused only after all the work: on the event loop nobody else would have had a turn."""

    @pytest.mark.parametrize(
        ("query", "variables"),
        [
            ("{ leads { " + "id @skip(if: false) " * 30 + "nope } }" + "#\n" * 2000, {}),
            ('{ leads(filter: {email: {eq: "' + "x" * 200 * KIB + '"}}) { nope } }', {}),
            ("{ leads { nope } } #" + "x" * 200 * KIB, {}),
            (CREATE, {"i": [{**ADA, "tags": ["x"] * 50}] * 999 + [{**ADA, "status": "NOPE"}]}),
            (TASKS, {"i": [{"taskType": "echo"}] * 99 + [{"taskType": "echo", "agentId": "\0"}]}),
            (FILTER, {"f": {"or": [{"id": {"in": list(range(900))}}] * 10, "nope": {}}}),
        ],
        ids=["tokens", "a string", "a comment", "many leads", "many tasks", "many numbers"],
    )
    async def test_others_have_theirs(self, settled, viewers, query, variables):
        answer, count = await turns(settled.run(Request(query, None, variables), viewers[Role.ADMIN]))
        assert b'"errors"' in answer.body
        assert b"INTERNAL" not in answer.body
        assert count > 1

    async def test_many_short_ones_at_once_leave_turns_between(self, settled, viewers):
        """Each holds the loop for some milliseconds; all of them together held it for as many times that."""
        texts = [f"{{ leads {{ {'id ' * 60} nope{number} }} }}" for number in range(30)]
        answers = asyncio.gather(*(settled.run(Request(text), viewers[Role.VIEWER]) for text in texts))
        found, count = await turns(answers)
        assert all(b"nope" in answer.body for answer in found)
        assert count >= 30

    async def test_a_long_result_that_python_makes_is_made_in_pieces(self, settled, viewers):
        """A thousand errors under four names took half a second of the processor in one turn of the loop."""
        names = " ".join(f"e{number}: error {{ problems {{ field message }} }}" for number in range(4))
        query = f"mutation($i: [CreateLeadInput!]!) {{ createLeads(inputs: $i) {{ {names} }} }}"
        wrong = {"firstName": "", "lastName": "", "email": "x", "phone": "none", "currency": "kr", "company": "a\nb"}
        work = settled.run(Request(query, None, {"i": [wrong] * 1000}), viewers[Role.ADMIN])
        answer, longest = await longest_turn(work)
        assert len(json.loads(answer.body)["data"]["createLeads"]) == 1000
        assert longest < 0.15

    async def test_many_long_texts_are_written_in_pieces(self, settled, viewers, db, make_lead):
        lead = make_lead()["id"]
        db.execute(
            "INSERT INTO tasks (title, description, lead_id) SELECT 'A', repeat('😀', 20000), %s"
            " FROM generate_series(1, 500)",
            (lead,),
        )
        ids = [row["id"] for row in db.execute("SELECT id FROM tasks").fetchall()]
        query = "mutation($i: [ID!]!, $d: String) { updateTasks(ids: $i, input: {description: $d}) { saved } }"
        work = settled.run(Request(query, None, {"i": ids, "d": "🎈" * 20_000}), viewers[Role.ADMIN])
        answer, longest = await longest_turn(work)
        assert answer.body.count(b'"saved":true') == 500
        assert longest < 0.1

    async def test_introspection_gives_way_and_is_kept(self, settled, viewers):
        request = Request(get_introspection_query())
        answer, count = await turns(settled.run(request, viewers[Role.VIEWER]))
        assert count > 1
        assert json.loads(answer.body)["data"]["__schema"]["queryType"]["name"] == "Query"
        again = [await settled.run(request, viewers[Role.VIEWER]) for _ in range(2)]
        kept, count = await turns(settled.run(request, viewers[Role.VIEWER]))
        assert count == 0  # no thread, no wait
        assert {one.body for one in (answer, kept, *again)} == {answer.body}

    async def test_what_depends_on_variables_is_not_kept(self, settled, viewers):
        query = "query($n: String!) { __type(name: $n) { name } }"
        for name in ("Lead", "Task") * 3:
            answer = await settled.run(Request(query, None, {"n": name}), viewers[Role.VIEWER])
            assert json.loads(answer.body)["data"] == {"__type": {"name": name}}


class TestIntrospection:
    async def test_two_questions_are_enough(self, graphql):
        assert await graphql('{ a: __typename b: __type(name: "Lead") { name } c: __schema { __typename } }')
        fragment = "fragment F on Query { c: __schema { __typename } __schema { types { name } } }"
        query = f'{{ b: __type(name: "Lead") {{ name }} ...F }} {fragment}'
        error = (await graphql(query, expect_errors=True))["errors"][0]
        assert error["extensions"] == {"code": "TOO_COMPLEX", "limit": 2, "what": "introspections"}

    async def test_an_answer_of_very_many_fields_is_refused(self, graphql):
        more = "name kind description ofType { name kind description ofType { name kind ofType { name kind } } }"
        each = " ".join(f"a{number}: type {{ {more} }}" for number in range(28))
        answer = await graphql(f"{{ __schema {{ types {{ inputFields {{ {each} }} }} }} }}", expect_errors=True)
        error = answer["errors"][0]["extensions"]
        assert error == {"code": "TOO_COMPLEX", "limit": 30_000, "what": "fields of the schema"}

    async def test_what_tools_ask_is_answered(self, graphql):
        query = get_introspection_query(specified_by_url=True, schema_description=True, input_value_deprecation=True)
        assert len((await graphql(query))["__schema"]["types"]) > 100


@pytest.mark.usefixtures("db")
class TestBodies:
    @pytest.mark.parametrize("piece", [b"[]", b"{}", b'"a":[]'], ids=["lists", "objects", "members"])
    async def test_more_parts_than_are_read(self, client, piece):
        many = b",".join([piece] * 100_000)
        many = b"{%s}" % many if b":" in piece else b"[%s]" % many
        body = b'{"query": "%s", "variables": {"i": []}, "extensions": {"x": %s}}' % (CREATE.encode(), many)
        answer = await client.post("/graphql", content=body, headers=JSON)
        assert answer.status_code == 413
        error = answer.json()["errors"][0]["extensions"]
        assert error == {"code": "TOO_LARGE", "limit": 100_000}

    async def test_a_thousand_leads_with_all_they_can_have_are_let_in(self, client):
        whole = {
            **ADA,
            "phone": "+46 70-123 45 67",
            "company": "a, b: [c] {d}",
            "jobTitle": "x" * 200,
            "status": "NEW",
            "source": "x" * 100,
            "budget": "1250.00",
            "currency": "SEK",
            "location": "x" * 300,
            "tags": [f"tag {number}" for number in range(50)],
        }
        variables = {"i": [{**whole, "email": f"a{number}@example.com"} for number in range(1000)]}
        answer = (await client.post("/graphql", json={"query": CREATE, "variables": variables})).json()
        assert len(answer["data"]["createLeads"]) == 1000

    @pytest.mark.parametrize(
        ("query", "variables", "field", "limit"),
        [
            (CREATE, {"i": [{**ADA, "budget": "x"}] * 1001}, "inputs", 1000),
            (TASKS, {"i": [{"taskType": "echo", "leadId": "x"}] * 101}, "inputs", 100),
            (CREATE, {"i": [{**ADA, "budget": "x", "tags": ["x"] * 1001}]}, "inputs.0.tags", 1000),
            (FILTER, {"f": {"id": {"eq": "x", "in": ["x"] * 1001}}}, "filter.id.in", 1000),
            (
                FILTER,
                {"f": {"not": {"or": [{"status": {"notIn": ["x"] * 1001}}]}}},
                "filter.not.or.0.status.notIn",
                1000,
            ),
            (IDS, {"f": ["x"] * 50_000}, "filter.id.in", 1000),
        ],
    )
    async def test_lists_are_counted_before_their_values_are_looked_at(self, graphql, query, variables, field, limit):
        answer = await graphql(query, expect_errors=True, **variables)
        assert "data" not in answer
        assert answer["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT", "field": field, "limit": limit}

    async def test_values_are_counted_over_all_variables(self, graphql):
        query = "query($a: LeadFilter, $b: LeadFilter) { x: leads(filter: $a) { id } y: leads(filter: $b) { id } }"
        half = {"or": [{"company": {"in": ["x"] * 1000}}] * 5}
        answer = await graphql(query, expect_errors=True, a=half, b=half)
        error = answer["errors"][0]["extensions"]
        assert error == {"code": "TOO_COMPLEX", "limit": 10_000, "what": "values in its variables"}

    async def test_json_of_a_task_is_counted_too(self, client):
        deep = json.loads('{"a":' * 13 + "1" + "}" * 13)
        wide = [{}] * 501
        for given, what in ((deep, "levels of input"), (wide, "conditions and inputs")):
            body = {"input": {"taskType": "echo", "input": {"text": given}}}
            answer = await client.post("/api/ai/tasks", json=body["input"])
            assert answer.status_code == 400
            assert (answer.json()["code"], answer.json()["what"]) == ("TOO_COMPLEX", what)


class TestSockets:
    @staticmethod
    def opened(server):
        url = server.url.replace("http", "ws") + "/graphql"
        return connect(url, subprotocols=[GRAPHQL_WS], max_size=None)

    @staticmethod
    async def closed(socket):
        with pytest.raises(ConnectionClosed) as ended:
            await asyncio.wait_for(socket.recv(), 10)
        return ended.value.rcvd.code

    async def test_strangers_send_little(self, server):
        async with self.opened(server) as socket:
            payload = {f"k{number}": "" for number in range(2000)}
            await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
            assert await self.closed(socket) == 1009

    @pytest.mark.parametrize(
        ("message", "code"),
        [
            ({"type": "subscribe", "id": "x" * 201, "payload": {"query": "{ me { id } }"}}, 4400),
            ({"type": "ping", "payload": {"x": [[]] * 100_000}}, 1009),
        ],
        ids=["a long id", "many parts"],
    )
    async def test_what_no_client_sends(self, server, message, code):
        async with self.opened(server) as socket:
            token = {"authorization": f"Bearer {server.token()}"}
            await socket.send(json.dumps({"type": "connection_init", "payload": token}))
            assert json.loads(await socket.recv())["type"] == "connection_ack"
            await socket.send(json.dumps(message))
            assert await self.closed(socket) == code
