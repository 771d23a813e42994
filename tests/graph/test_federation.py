"""The API as a subgraph: what a gateway asks, and the SDL that it is composed of."""

import re
from pathlib import Path

import pytest
from graphql import build_schema, parse
from graphql.language import ObjectTypeDefinitionNode

from crm.db.database import Database
from crm.graph.federation import subgraph, subgraph_sdl
from crm.graph.run.engine import Engine
from crm.schema import schema
from tests.graph.asking import answer, data
from tests.graph.tap import Tap
from tests.support import sdl

ROOT = Path(__file__).parents[2]
ENTITIES = """query($of: [_Any!]!) {
    _entities(representations: $of) {
        __typename ... on Lead { fullName tasks { title } } ... on Task { title lead { fullName } } ... on User { name }
    }
}"""


@pytest.fixture
async def tap(database_url):
    running = await Tap(database_url).start()
    yield running
    await running.stop()


@pytest.fixture
def federated(tap, roomy):
    database = Database(tap.url, size=2)
    yield Engine(subgraph(schema), database, roomy)
    database.close()


class TestSdl:
    def test_each_record_has_its_id_for_key_and_all_else_is_as_it_was(self):
        text = subgraph_sdl(schema)
        keys = {
            one.name.value: [directive.name.value for directive in one.directives]
            for one in parse(text).definitions
            if isinstance(one, ObjectTypeDefinitionNode) and one.directives
        }
        records = [name for name, kind in sdl.schema().type_map.items() if "nodeId" in getattr(kind, "fields", ())]
        assert keys == {**{name: ["key"] for name in records if name != "Node"}, "PageInfo": ["shareable"]}
        assert '@link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key", "@shareable"])' in text
        rest = "\n".join(text.split("\n")[2:])
        assert rest.replace(' @key(fields: "id")', "").replace(" @shareable", "") == sdl.text()
        assert "_entities" not in text

    async def test_the_gateway_is_told_it(self, federated, viewers):
        found = await data(federated, viewers["viewer"], "{ _service { sdl } }")
        assert found["_service"]["sdl"] == subgraph_sdl(schema)


class TestEntities:
    async def test_one_statement_for_records_of_any_type_in_their_order(
        self, federated, tap, viewers, make_lead, make_task, make_user
    ):
        lead, user = make_lead(first_name="Åsa", last_name="Ek"), make_user(name="Maja")
        task = make_task(lead_id=lead["id"], title="Call")
        of = [
            {"__typename": "Task", "id": str(task["id"])},
            {"__typename": "Lead", "id": lead["id"], "fullName": "whatever"},
            {"__typename": "Lead", "id": "999999"},
            {"__typename": "User", "id": str(user["id"])},
            {"__typename": "Nothing", "id": "1"},
        ]
        tap.reset()
        found = await data(federated, viewers["viewer"], ENTITIES, {"of": of})
        assert found["_entities"] == [
            {"__typename": "Task", "title": "Call", "lead": {"fullName": "Åsa Ek"}},
            {"__typename": "Lead", "fullName": "Åsa Ek", "tasks": [{"title": "Call"}]},
            None,
            {"__typename": "User", "name": "Maja"},
            None,
        ]
        assert len(tap.executed) == 1

    async def test_literals(self, federated, viewers, make_lead):
        lead = make_lead(first_name="Åsa", last_name="Ek")
        representation = f'{{__typename: "Lead", id: {lead["id"]}}}'
        query = f"{{ _entities(representations: [{representation}]) {{ ... on Lead {{ fullName }} }} }}"
        assert (await data(federated, viewers["viewer"], query))["_entities"] == [{"fullName": "Åsa Ek"}]

    async def test_policies_hold(self, federated, viewers, make_lead):
        of = [{"__typename": "Lead", "id": str(make_lead(deleted=True)["id"])}]
        assert (await data(federated, viewers["viewer"], ENTITIES, {"of": of}))["_entities"] == [None]

    async def test_what_names_no_record_is_refused(self, federated, tap, viewers):
        halves = ({"__typename": "Lead", "id": "\ud800"}, {"__typename": "\udfff", "id": 1})
        of_no_form = (7, "Lead", None, {}, {"__typename": "Lead"}, {"id": "1"}, {"__typename": "Lead", "id": True})
        for wrong in (*of_no_form, *halves):
            found = await answer(federated, viewers["viewer"], ENTITIES, {"of": [wrong]})
            assert found["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT", wrong
        found = await answer(federated, viewers["viewer"], ENTITIES, {"of": [{"__typename": "Lead", "id": "x'"}]})
        assert found["errors"][0]["extensions"]["field"] == "representations.0.id"
        assert tap.executed == []


class TestGuide:
    def test_its_code_is_the_code_that_is_run(self):
        guide = (ROOT / "docs" / "guides" / "federation.md").read_text()
        program = (ROOT / "tests" / "clients" / "federation" / "main.mjs").read_text()
        shown = re.findall(r"^```js main\.mjs\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
        assert len(shown) > 1
        assert [text for text in shown if text.strip() not in program] == []


class TestWithoutIt:
    async def test_the_api_has_neither_field(self, engine, viewers):
        for query in ("{ _service { sdl } }", "{ _entities(representations: []) { __typename } }"):
            assert "Cannot query field" in (await answer(engine, viewers["viewer"], query))["errors"][0]["message"]
        assert not {"_Any", "_Entity", "_Service"} & build_schema(sdl.text()).type_map.keys()
