"""One operation, one statement: counted on the socket to PostgreSQL."""

import json

import pytest

from crm.db.database import Database
from crm.graph.run.engine import Engine
from crm.schema import schema
from crm.web.graphiql.page import EXAMPLES
from tests.graph.asking import answer, data
from tests.graph.data import fill, pools
from tests.graph.generate import Generator
from tests.graph.reference import World
from tests.graph.tap import Tap
from tests.support import screens, sdl
from tests.support.examples import examples

DEEP = """{
  leads { id openTaskCount lastInteractionAt owner { name } timeline { actor { name } fields { name } task { title } }
    tasks { title assignee { name } lead { interactions { creator { name } lead { tasks { lead { fullName } } } } } } }
  leadsConnection(first: 2) { totalCount pageInfo { endCursor } edges { cursor node { tasks { title } } } nodes { id } }
  tasks(filter: {lead: {owner: {name: {contains: "a"}}}}) { lead { owner { name } } }
  me { name isService openTaskCount leads(limit: 2) { id } tasks(limit: 2) { creator { name } } }
}"""
ROOTS = [
    "me { id }",
    "lead(id: 1) { id }",
    'leadBy(input: {email: "a@b.example"}) { id }',
    "leads { id }",
    "leadsConnection { nodes { id } }",
    "leadsConnection { totalCount }",
    "task(id: 1) { id }",
    "tasks { id }",
    "tasksConnection { edges { node { lead { id } } } }",
    "tasksByLeadId(leadId: 1) { id }",
    "interaction(id: 1) { id }",
    "interactions { lead { tasks { id } } }",
    "interactionsConnection { nodes { id } }",
    "users { id }",
    "changeStream { cursor }",
    'node(nodeId: "TGVhZDox") { nodeId ... on Lead { tasks { id } } ... on Task { lead { id } } }',
    'nodes(nodeIds: ["TGVhZDox", "VGFzazox"]) { nodeId ... on Lead { tasks { id } } ... on Task { lead { id } } }',
    'search(text: "ab") { score lead { id } task { id } interaction { id } }',
    "leadStats(groupBy: [STATUS]) { count }",
    "taskStats(groupBy: [ASSIGNEE, CREATED_WEEK], having: {count: {gt: 0}}) { count assignee { name } }",
    "interactionStats(groupBy: [TYPE]) { count minutes }",
    "tagCounts { tag count }",
    'aiTask(id: "0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f10") { status positionInQueue attempts { costUsd } lead { id } }',
    "aiTaskQueueStatus { queued byPriority { priority waiting } }",
    "aiTaskStatistics { total byType { key tasks } byDay { key costUsd } }",
    "aiTasks { id waitMs runMs canRetry }",
    "taskAnalytics(groupBy: [RULE]) { suggested dismissals { reason count } }",
    "aiUsage(groupBy: [MODEL]) { calls costUsd }",
]
SCREENS = {
    "Kanban": {},
    "KanbanColumn": {"status": "NEW"},
    "LeadPage": {"id": 1},
    "LeadHistory": {"id": 1},
    "MyDay": {"midnight": "2026-11-30T00:00:00+01:00"},
}
# What a process knows of itself; no read of records.
ANSWERED = {"aiStatus"}


@pytest.fixture
async def tap(database_url):
    running = await Tap(database_url).start()
    yield running
    await running.stop()


@pytest.fixture
async def tapped(tap, roomy):
    database = Database(tap.url, size=2)
    yield Engine(schema, database, roomy)
    database.close()


def test_every_root_is_counted():
    counted = {one.split("(")[0].split(" ")[0] for one in ROOTS}
    assert counted | ANSWERED == set(sdl.schema().query_type.fields)


class TestReads:
    @pytest.mark.parametrize("root", ROOTS)
    async def test_each_root_is_one_statement(self, tapped, tap, viewers, root):
        for _ in range(3):  # plain, prepared, from the cache
            tap.reset()
            await data(tapped, viewers["admin"], f"{{ {root} }}")
            assert (len(tap.executed), tap.round_trips) == (1, 1)

    async def test_all_roots_together_are_one_statement(self, tapped, tap, viewers):
        await data(tapped, viewers["admin"], f"{{ {' '.join(f'a{n}: {one}' for n, one in enumerate(ROOTS))} }}")
        assert (len(tap.executed), tap.round_trips) == (1, 1)

    @pytest.mark.usefixtures("db")
    @pytest.mark.parametrize("leads", [0, 1, 20])
    async def test_however_many_records_there_are(self, tapped, tap, viewers, make_lead, make_task, leads):
        for _ in range(leads):
            lead = make_lead()
            make_task(lead_id=lead["id"])
            make_task(lead_id=lead["id"])
        tap.reset()
        found = await data(tapped, viewers["viewer"], DEEP)
        assert len(found["leads"]) == leads
        assert (len(tap.executed), tap.round_trips) == (1, 1)

    @pytest.mark.parametrize("role", ["admin", "viewer"])
    async def test_generated_operations(self, tapped, tap, viewers, database_url, role):
        fill(database_url, seed=4)
        known, spoken = pools(World.load(database_url)), sdl.schema()
        for number in range(examples(16)):
            operation = Generator(spoken, known, f"{role} {number}", deleted=role == "admin").operation()
            operation.variables.update({cursor.variable: None for cursor in operation.cursors})
            tap.reset()
            found = await data(tapped, viewers[role], operation.text, operation.variables)
            reads = any(value != "Query" for value in found.values())
            # Where a list was longer than its share the statement is run once more, counting; from then on, as soon as
            # the operation is kept (when it is asked for again), it counts at once.
            assert len(tap.executed) in {int(reads), 2 * reads}, operation
            await data(tapped, viewers[role], operation.text, operation.variables)
            tap.reset()
            await data(tapped, viewers[role], operation.text, operation.variables)
            # A connection that has prepared many lets go of the oldest, in the same round trip.
            asked = [text for text in tap.executed if not text.startswith("DEALLOCATE")]
            assert (len(asked), tap.round_trips) == (reads, reads), operation

    async def test_what_is_refused_asks_nothing(self, tapped, tap, viewers):
        for query in ("{ nothing }", "{ leads(limit: -1) { id } }", '{ leadsConnection(after: "x") { totalCount } }'):
            assert "errors" in await answer(tapped, viewers["viewer"], query)
        assert tap.executed == []


class TestScreens:
    """What docs/guides/screens.md shows: however much is on a screen, its request reads once."""

    @pytest.mark.parametrize(("name", "variables"), SCREENS.items())
    async def test_a_screen_is_one_statement(self, tapped, tap, viewers, name, variables):
        for _ in range(3):
            tap.reset()
            await data(tapped, viewers["member"], screens.operations()[name], variables)
            assert (len(tap.executed), tap.round_trips) == (1, 1)

    async def test_a_form_with_mistakes_writes_nothing(self, tapped, tap, viewers, events):
        variables = json.loads((EXAMPLES / "13-form.json").read_text("utf-8"))
        found = await answer(tapped, viewers["member"], screens.operations()["NewLead"], variables)
        assert len(found["errors"][0]["extensions"]["problems"]) == 5
        assert not any("INSERT" in text for text in tap.executed)
        assert events() == []

    async def test_an_answer_to_a_suggestion_is_shown_by_one_statement(self, tapped, tap, viewers, make_task):
        for _ in range(3):
            task = make_task(source="ai_suggested", generated_by="playbook")
            variables = {"taskId": task["id"], "source": "MANUAL", "version": 1}
            tap.reset()
            await data(tapped, viewers["member"], screens.operations()["Answer"], variables)
            begin, locked, change, projection, commit = written(tap)
            assert (begin, commit) == ("BEGIN", "COMMIT")
            assert "FOR" in locked
            assert "INSERT INTO events" in change
            assert projection.startswith("SELECT")


class TestSharedStatements:
    async def test_values_do_not_make_another_statement(self, tapped, tap, viewers):
        query = "query($n: Int, $t: String) { leads(limit: $n, filter: {company: {contains: $t}}) { id } }"
        for number in range(10):
            await data(tapped, viewers["viewer"], query, {"n": number, "t": f"text {number}"})
        assert len(tap.executed) == 10
        assert len(set(tap.parsed)) == 1
        assert len(tap.parsed) <= 3  # twice as it comes, then prepared

    async def test_literals_are_bound_too(self, tapped, tap, viewers):
        for text in ("Gazoo", "Zyx"):
            query = f'{{ leads(limit: 1, filter: {{company: {{eq: "{text}"}}}}) {{ id }} }}'
            await data(tapped, viewers["viewer"], query)
        assert len(set(tap.parsed)) == 1
        assert not any("Gazoo" in text or "Zyx" in text for text in tap.parsed)

    async def test_another_shape_is_another_statement(self, tapped, tap, viewers):
        query = "query($w: LeadFilter) { leads(filter: $w) { id } }"
        for where in ({"id": {"eq": 1}}, {"id": {"gt": 1}}, {"id": {"eq": 2}}, None):
            await data(tapped, viewers["viewer"], query, {"w": where})
        assert len(set(tap.parsed)) == 3


def written(tap: Tap) -> list[str]:
    """What a mutation itself said; readers are woken up later, by the process."""
    return [text for text in tap.executed if "pg_notify" not in text and "lock_timeout" not in text]


class TestWrites:
    CREATE = 'mutation {{ createTask(input: {{leadId: {}, title: "Call"}}) {{ {} }} }}'

    async def test_a_task_with_plain_fields_is_one_statement(self, tapped, tap, viewers, make_lead, events):
        query = self.CREATE.format(make_lead()["id"], "id nodeId title completed createdAt")
        for _ in range(2):
            tap.reset()
            await data(tapped, viewers["member"], query)
            assert len(written(tap)) == 1
        assert [one["type"] for one in events()] == ["task.created"] * 2

    async def test_what_is_shown_of_it_is_one_more(self, tapped, tap, viewers, make_lead):
        lead = make_lead()["id"]
        shown = "id lead { fullName tasks { title assignee { name } } interactions { id } }"
        await data(tapped, viewers["member"], self.CREATE.format(lead, shown))
        for _ in range(5):
            await data(tapped, viewers["member"], self.CREATE.format(lead, "id"))
        tap.reset()
        found = await data(tapped, viewers["member"], self.CREATE.format(lead, shown))
        assert len(found["createTask"]["lead"]["tasks"]) == 7
        begin, change, projection, commit = written(tap)
        assert (begin, commit) == ("BEGIN", "COMMIT")
        assert "INSERT INTO tasks" in change
        assert "INSERT INTO events" in change
        assert projection.startswith("SELECT")

    async def test_a_key_to_send_a_create_again_by_is_one_more(self, tapped, tap, viewers, make_lead):
        query = """mutation($lead: ID!, $key: String) {
          createTask(input: {leadId: $lead, title: "Call"}, idempotencyKey: $key) { id }
        }"""
        lead, said = make_lead()["id"], []
        for key in (None, "one", "one"):
            tap.reset()
            await data(tapped, viewers["member"], query, {"lead": lead, "key": key})
            said.append([text.split()[0] for text in written(tap)])
        assert said == [
            ["WITH"],
            ["BEGIN", "INSERT", "WITH", "COMMIT"],
            ["BEGIN", "INSERT", "SELECT", "SELECT", "COMMIT"],
        ]

    @pytest.mark.usefixtures("db")
    async def test_of_many_stale_records_look_once_for_what_changed(self, tapped, tap, viewers, make_task):
        ids = [make_task()["id"] for _ in range(20)]
        retitle = 'mutation($ids: [ID!]!) { updateTasks(ids: $ids, input: {title: "A"}) { saved } }'
        complete = """mutation($ids: [ID!]!, $versions: [Int!]) {
          completeTasks(ids: $ids, expectedVersions: $versions) { saved error { changed { field } } }
        }"""
        await data(tapped, viewers["admin"], retitle, {"ids": ids})
        await data(tapped, viewers["admin"], complete, {"ids": ids[:1]})
        tap.reset()
        variables = {"ids": ids, "versions": [1] * 19 + [3]}  # the last: a version that was never there
        results = (await data(tapped, viewers["admin"], complete, variables))["completeTasks"]
        assert [one["saved"] for one in results] == [True] * 19 + [False]
        assert len([text for text in tap.executed if "FROM events" in text]) == 1
