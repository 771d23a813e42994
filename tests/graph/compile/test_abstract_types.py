"""Fields that lead to one of several types: interfaces and unions, compiled to SQL."""

from typing import Annotated

import pytest
import strawberry
from sqlalchemy import Text, cast, false, func, literal, select

from crm import graph
from crm.core.identity import Role
from crm.core.settings import Settings
from crm.db.database import Database
from crm.graph.compile.shape import SchemaShape
from crm.graph.declare.scalars import CONFIG
from crm.graph.run.engine import Engine
from crm.sales.leads import model as lead_model
from crm.sales.tasks import model as task_model
from tests.graph.asking import answer, data

LeadRow = type[lead_model.Lead]
TaskRow = type[task_model.Task]


@strawberry.interface
class Item:
    """What has an id."""

    id: strawberry.ID = strawberry.field(description="A number.")


@graph.type(task_model.Task)
class Task(Item):
    """What is to be done."""

    @graph.edge
    def about(task: TaskRow) -> Annotated["Lead", strawberry.lazy(__name__)] | None:  # noqa: N805
        """The lead."""
        return select(lead_model.Lead).where(lead_model.Lead.id == task.lead_id)

    @graph.edge
    def parent(task: TaskRow) -> Item | None:  # noqa: N805
        """The lead, though the schema does not say so."""
        leads = select(lead_model.Lead).where(lead_model.Lead.id == task.lead_id)
        return {Lead: leads, Task: select(task_model.Task).where(false())}


@graph.type(lead_model.Lead)
class Lead(Item):
    """Somebody who may buy."""

    @graph.edge
    def tasks(lead: LeadRow) -> list[Task]:  # noqa: N805
        """What is to be done."""
        return select(task_model.Task).where(task_model.Task.lead_id == lead.id).order_by(task_model.Task.id)

    @graph.computed(role=Role.ADMIN)
    def secret(lead: LeadRow) -> str | None:  # noqa: N805
        """For admins."""
        return func.upper(lead.first_name)


Either = Annotated[Lead | Task, strawberry.union("Either", description="A lead or a task.")]


def named(name: str, model, wanted):
    """The row whose id is `NAME:ID`."""
    return select(model).where(func.concat(literal(name), cast(model.id, Text)) == wanted)


def either(wanted):
    return {Lead: named("lead:", lead_model.Lead, wanted), Task: named("task:", task_model.Task, wanted)}


@strawberry.type
class Query:
    @graph.rows
    def node(name: str) -> Item | None:  # noqa: N805
        """By name."""
        return either(name)

    @graph.rows
    def either(name: str) -> Either | None:  # noqa: N805
        """By name."""
        return either(name)

    @graph.rows(each="names")
    def each(names: list[str]) -> list[Either | None]:  # noqa: N805
        """By their names."""
        return either(names)


SCHEMA = strawberry.Schema(Query, types=[Lead, Task], config=CONFIG)


@pytest.fixture
async def ask(database_url, roomy, viewers):
    """Run an operation with much to spend, and with so little that a list of thirty makes the statement count."""
    database = Database(database_url, size=2)
    engines = [Engine(SCHEMA, database, one) for one in (roomy, Settings(max_cost=120))]

    async def run(query, role="viewer", **variables):
        found = [await data(engine, viewers[role], query, variables) for engine in engines]
        assert found[0] == found[1]
        return found[0]

    yield run
    database.close()


class TestOneOfSeveralTypes:
    async def test_fragments_and_typename_are_those_of_the_row(self, ask, make_lead, make_task):
        lead = make_lead(first_name="Åsa")
        task = make_task(lead_id=lead["id"], title="Call")
        query = """query($name: String!) {
            node(name: $name) { __typename id ... on Lead { firstName label: lastName } ... on Task { label: title } }
        }"""
        found = await ask(query, name=f"lead:{lead['id']}")
        assert found["node"] == {
            "__typename": "Lead",
            "id": str(lead["id"]),
            "firstName": "Åsa",
            "label": lead["last_name"],
        }
        found = await ask(query, name=f"task:{task['id']}")
        assert found["node"] == {"__typename": "Task", "id": str(task["id"]), "label": "Call"}

    async def test_keys_keep_the_order_of_the_document(self, ask, make_lead):
        lead = make_lead()
        query = (
            f'{{ node(name: "lead:{lead["id"]}") {{ ... on Lead {{ lastName }} id ... on Item {{ __typename }} }} }}'
        )
        assert list((await ask(query))["node"]) == ["lastName", "id", "__typename"]

    async def test_nothing_is_selected_of_the_other_types(self, ask, make_lead):
        lead = make_lead()
        assert await ask(f'{{ node(name: "lead:{lead["id"]}") {{ ... on Task {{ title }} }} }}') == {"node": {}}

    async def test_unions(self, ask, make_task):
        task = make_task(title="Call")
        query = f'{{ either(name: "task:{task["id"]}") {{ __typename ... on Task {{ title }} ... on Item {{ id }} }} }}'
        assert await ask(query) == {"either": {"__typename": "Task", "title": "Call", "id": str(task["id"])}}

    async def test_named_fragments(self, ask, make_task):
        task = make_task(title="Call")
        query = f"""{{ node(name: "task:{task["id"]}") {{ ...Any }} }}
            fragment Any on Item {{ id ...OfTask ...OfLead }}
            fragment OfTask on Task {{ title }}
            fragment OfLead on Lead {{ firstName }}"""
        assert await ask(query) == {"node": {"id": str(task["id"]), "title": "Call"}}

    async def test_lists_within_and_edges(self, ask, make_lead, make_task):
        lead = make_lead(first_name="Åsa")
        ids = [str(make_task(lead_id=lead["id"])["id"]) for _ in range(30)]
        query = f"""{{ node(name: "lead:{lead["id"]}") {{
            ... on Lead {{ tasks {{ id parent {{ __typename id ... on Lead {{ firstName }} }} }} }}
            ... on Task {{ about {{ tasks {{ id }} }} }}
        }} }}"""
        parent = {"__typename": "Lead", "id": str(lead["id"]), "firstName": "Åsa"}
        assert await ask(query) == {"node": {"tasks": [{"id": one, "parent": parent} for one in ids]}}
        query = query.replace(f"lead:{lead['id']}", f"task:{ids[0]}")
        assert await ask(query) == {"node": {"about": {"tasks": [{"id": one} for one in ids]}}}


class TestOneForEachKey:
    async def test_in_their_order_with_null_for_what_is_not_there(self, ask, make_lead, make_task):
        lead, task = make_lead(first_name="Åsa"), make_task(title="Call")
        query = """query($names: [String!]!) {
            each(names: $names) { __typename ... on Lead { firstName } ... on Task { title } }
        }"""
        found = await ask(query, names=[f"task:{task['id']}", "nothing", f"lead:{lead['id']}"])
        assert found["each"] == [
            {"__typename": "Task", "title": "Call"},
            None,
            {"__typename": "Lead", "firstName": "Åsa"},
        ]
        assert await ask(query, names=[]) == {"each": []}

    async def test_lists_within(self, ask, make_lead, make_task):
        lead = make_lead()
        ids = [str(make_task(lead_id=lead["id"])["id"]) for _ in range(20)]
        query = f"""{{ each(names: ["lead:{lead["id"]}", "task:{ids[0]}", "lead:{lead["id"]}"]) {{
            ... on Lead {{ tasks {{ id }} }}
            ... on Task {{ about {{ tasks {{ id }} }} }}
        }} }}"""
        tasks = {"tasks": [{"id": one} for one in ids]}
        assert await ask(query) == {"each": [tasks, {"about": tasks}, tasks]}


class TestVisibility:
    async def test_policies_hold(self, ask, make_lead, make_task):
        deleted = make_lead(deleted=True)
        task = make_task(lead_id=deleted["id"])
        for name in (f"lead:{deleted['id']}", f"task:{task['id']}", "lead:0", "nothing"):
            assert await ask("query($name: String!) { node(name: $name) { id } }", name=name) == {"node": None}

    async def test_roles_hold(self, ask, database_url, roomy, viewers, make_lead):
        lead = make_lead(first_name="Åsa")
        query = f'{{ node(name: "lead:{lead["id"]}") {{ ... on Lead {{ secret }} }} }}'
        assert await ask(query, "admin") == {"node": {"secret": "ÅSA"}}
        database = Database(database_url, size=1)
        refused = await answer(Engine(SCHEMA, database, roomy), viewers["viewer"], query)
        database.close()
        assert refused["errors"][0]["extensions"]["code"] == "FORBIDDEN"


class TestBudget:
    async def test_lists_within_count(self, database_url, viewers, make_lead, make_task):
        lead = make_lead()
        for _ in range(40):
            make_task(lead_id=lead["id"])
        database = Database(database_url, size=1)
        engine = Engine(SCHEMA, database, Settings(max_cost=35))
        found = await answer(
            engine, viewers["viewer"], f'{{ node(name: "lead:{lead["id"]}") {{ ... on Lead {{ tasks {{ id }} }} }} }}'
        )
        database.close()
        assert found["errors"][0]["extensions"]["code"] == "TOO_COMPLEX"

    async def test_lists_within_each_count(self, database_url, viewers, make_lead, make_task):
        lead = make_lead()
        for _ in range(20):
            make_task(lead_id=lead["id"])
        database = Database(database_url, size=1)
        engine = Engine(SCHEMA, database, Settings(max_cost=40))
        query = f'{{ each(names: ["lead:{lead["id"]}", "lead:{lead["id"]}"]) {{ ... on Lead {{ tasks {{ id }} }} }} }}'
        found = await answer(engine, viewers["viewer"], query)
        database.close()
        assert found["errors"][0]["extensions"]["code"] == "TOO_COMPLEX"
        assert "ran out in `each`" in found["errors"][0]["message"]


class TestDeclarations:
    def test_lists_of_several_types_are_refused(self):
        @strawberry.type
        class Lists:
            @graph.rows
            def nodes() -> list[Item]:
                """All."""

        schema = strawberry.Schema(Lists, types=[Lead, Task], config=CONFIG)
        with pytest.raises(TypeError, match=r"Lists\.nodes leads to several types: that takes one row"):
            SchemaShape(schema._schema)  # noqa: SLF001

    def test_types_without_a_model_are_refused(self):
        @graph.type()
        class Plain(Item):
            """No record."""

        @strawberry.type
        class Plains:
            @graph.rows
            def node() -> Item | None:
                """One."""

        schema = strawberry.Schema(Plains, types=[Lead, Plain], config=CONFIG)
        with pytest.raises(TypeError, match=r"leads to several types: that takes one row, of types made of models"):
            SchemaShape(schema._schema)  # noqa: SLF001
