"""Deleted records: no way leads to them, unless an admin asks."""

import psycopg
import pytest

from crm.graph.run.engine import Request
from tests.graph.asking import answer, data
from tests.graph.data import fill, pools
from tests.graph.generate import Generator
from tests.graph.reference import World
from tests.support import sdl
from tests.support.examples import examples

OPERATIONS = examples(16)


class TestGenerated:
    async def test_answers_are_the_same_as_if_the_hidden_rows_had_never_been(self, engine, viewers, database_url):
        """Through fields, edges, filters across edges, counts and pages alike."""
        fill(database_url, seed=5)
        known, spoken = pools(World.load(database_url)), sdl.schema()
        asked = [
            (Request(one.text, None, {**one.variables, **{cursor.variable: None for cursor in one.cursors}}), role)
            for number in range(OPERATIONS)
            for role in ("admin", "viewer")
            for one in [Generator(spoken, known, f"{number}", deleted=False).operation()]
        ]
        before = [await engine.run(request, viewers[role]) for request, role in asked]
        with psycopg.connect(database_url, autocommit=True) as connection:
            removed = connection.execute("DELETE FROM tasks WHERE deleted_at IS NOT NULL").rowcount
            removed += connection.execute("DELETE FROM leads WHERE deleted_at IS NOT NULL").rowcount
        assert removed >= 10
        for (request, role), expected in zip(asked, before, strict=True):
            assert (await engine.run(request, viewers[role])).body == expected.body, request


@pytest.fixture
def hidden(make_lead, make_task, make_interaction, make_user):
    """A living lead with a deleted task, and a deleted lead with living children; all findable by "hidden"."""
    user = make_user()["id"]
    living = make_lead(first_name="shown", owner_id=user)["id"]
    deleted = make_lead(first_name="hidden", email="hidden@example.com", deleted=True, owner_id=user)["id"]
    return {
        "living": living,
        "deleted": deleted,
        "task": make_task(lead_id=living, title="hidden", deleted=True)["id"],
        "orphan": make_task(lead_id=deleted, title="hidden")["id"],
        "interaction": make_interaction(lead_id=deleted, subject="hidden", occurred_at="2026-03-01T00:00:00Z")["id"],
    }


QUERIES = [
    "lead(id: {deleted}) {{ id }}",
    'leadBy(input: {{email: "hidden@example.com"}}) {{ id }}',
    "leadBy(input: {{id: {deleted}}}) {{ id }}",
    "task(id: {task}) {{ id }}",
    "task(id: {orphan}) {{ id }}",
    "interaction(id: {interaction}) {{ id }}",
    'leads(filter: {{firstName: {{eq: "hidden"}}}}) {{ id }}',
    "leads(filter: {{deletedAt: {{isNull: false}}}}) {{ id }}",
    "leads(filter: {{tasks: {{some: {{}}}}}}) {{ id }}",
    "leads(filter: {{tasks: {{some: {{deletedAt: {{isNull: false}}}}}}}}) {{ id }}",
    "leads(filter: {{interactions: {{some: {{}}}}}}) {{ id }}",
    "leads(filter: {{not: {{tasks: {{none: {{}}}}}}}}) {{ id }}",
    "tasks {{ id }}",
    "tasksByLeadId(leadId: {deleted}) {{ id }}",
    "tasksByLeadId(leadId: {living}) {{ id }}",
    "tasks(filter: {{lead: {{}}}}) {{ id }}",
    "tasks(filter: {{lead: {{tasks: {{some: {{}}}}}}}}) {{ id }}",
    "interactions {{ id }}",
    "interactions(filter: {{lead: {{}}}}) {{ id }}",
    'search(text: "hidden") {{ snippet lead {{ id }} }}',
]


class TestByHand:
    @pytest.mark.parametrize("role", ["admin", "member", "viewer"])
    @pytest.mark.parametrize("query", QUERIES)
    async def test_finds_nothing(self, graphql, hidden, query, role):
        found = await graphql(f"{{ found: {query.format(**hidden)} }}", role=role)
        assert not found["found"]

    async def test_counts_nothing(self, graphql, hidden):
        found = await graphql(
            f"""{{ lead(id: {hidden["living"]}) {{ openTaskCount suggestedTaskCount lastInteractionAt tasks {{ id }} }}
            leadsConnection {{ totalCount }} tasksConnection {{ totalCount }} interactionsConnection {{ totalCount }}
            leadStats(groupBy: [SOURCE]) {{ count }} }}"""
        )
        assert found == {
            "lead": {"openTaskCount": 0, "suggestedTaskCount": 0, "lastInteractionAt": None, "tasks": []},
            "leadsConnection": {"totalCount": 1},
            "tasksConnection": {"totalCount": 0},
            "interactionsConnection": {"totalCount": 0},
            "leadStats": [{"count": 1}],
        }

    async def test_the_timeline_points_at_nothing(self, graphql, hidden, insert):
        for entity, key in (
            ("task", hidden["task"]),
            ("task", hidden["orphan"]),
            ("interaction", hidden["interaction"]),
        ):
            insert("events", type=f"{entity}.created", entity=entity, entity_id=str(key), lead_id=hidden["living"])
        query = f"{{ lead(id: {hidden['living']}) {{ timeline {{ task {{ id }} interaction {{ id }} }} }} }}"
        assert (await graphql(query))["lead"]["timeline"] == [{"task": None, "interaction": None}] * 3

    async def test_a_deleted_lead_shows_its_living_children_to_an_admin_who_asks(self, graphql, hidden):
        query = """query($id: Int!) { lead(id: $id, includeDeleted: true) {
            firstName deletedAt openTaskCount tasks { title lead { id } } interactions { subject } } }"""
        assert await graphql(query, id=hidden["deleted"]) == {
            "lead": {
                "firstName": "hidden",
                "deletedAt": "2026-01-01T00:00:00.000000Z",
                "openTaskCount": 1,
                "tasks": [{"title": "hidden", "lead": None}],
                "interactions": [{"subject": "hidden"}],
            }
        }


class TestIncludeDeleted:
    ROOTS = (
        "lead(id: 1, includeDeleted: %s) { id }",
        "leads(includeDeleted: %s) { id }",
        "leadsConnection(includeDeleted: %s) { totalCount }",
        "task(id: 1, includeDeleted: %s) { id }",
        "tasks(includeDeleted: %s) { id }",
        "tasksConnection(includeDeleted: %s) { totalCount }",
    )

    def test_each_root_that_takes_it_is_here(self):
        roots = sdl.schema().query_type.fields
        assert {root.partition("(")[0] for root in self.ROOTS} == {
            name for name, field in roots.items() if "includeDeleted" in field.args
        }

    @pytest.mark.parametrize("role", ["viewer", "member"])
    @pytest.mark.parametrize("root", ROOTS)
    async def test_is_for_admins(self, engine, viewers, root, role):
        for query, variables in (
            (f"{{ {root % 'true'} }}", {}),
            (f"query($d: Boolean!) {{ {root % '$d'} }}", {"d": True}),
            (f"query($d: Boolean! = true) {{ ...F }} fragment F on Query {{ {root % '$d'} }}", {}),
        ):
            found = await answer(engine, viewers[role], query, variables)
            assert [one["extensions"]["code"] for one in found["errors"]] == ["FORBIDDEN"]
            await data(engine, viewers["admin"], query, variables)

    @pytest.mark.parametrize("root", ROOTS)
    async def test_false_is_for_everybody(self, engine, viewers, root):
        await data(engine, viewers["viewer"], f"query($d: Boolean!) {{ {root % '$d'} }}", {"d": False})

    async def test_an_admins_plan_is_not_a_viewers(self, engine, viewers):
        query = "query($d: Boolean!) { leads(includeDeleted: $d) { id } }"
        for _ in range(3):
            await data(engine, viewers["admin"], query, {"d": True})
            found = await answer(engine, viewers["viewer"], query, {"d": True})
            assert found["errors"][0]["extensions"]["code"] == "FORBIDDEN"

    async def test_shows_both(self, graphql, hidden):
        found = await graphql("{ leads(includeDeleted: true) { id } tasks(includeDeleted: true) { id } }")
        assert found == {
            "leads": [{"id": str(hidden["deleted"])}, {"id": str(hidden["living"])}],
            "tasks": [{"id": str(hidden["orphan"])}, {"id": str(hidden["task"])}],
        }
