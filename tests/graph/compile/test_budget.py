"""No operation returns more rows or bytes than its budget, whatever its lists hold; none is refused that does not."""

import asyncio
import json
import os
import random
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from crm.core.identity import Role, Viewer
from crm.core.settings import Settings
from crm.db.database import Database
from crm.graph.compile.allotment import AnswerBudget
from crm.graph.run.engine import Engine, Request
from crm.schema import schema
from tests.graph.data import fill, pools
from tests.graph.generate import Generator
from tests.graph.reference import World
from tests.support import sdl

MIB = 1024 * 1024
EXAMPLES = int(os.environ.get("CRM_BUDGET_EXAMPLES", "16"))
LAW = settings(
    max_examples=EXAMPLES,
    derandomize="CRM_BUDGET_EXAMPLES" not in os.environ,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
# White space between the rows of a list, and the header of each, come and go between the ways to make it.
SLACK = 1.6
ROOMY: dict[str, Any] = {
    "max_aliases": 5000,
    "max_directives": 500,
    "max_fragments": 500,
    "max_fields": 5000,
    "max_tokens": 50_000,
}
LEADS = "INSERT INTO leads (first_name, last_name) SELECT 'A', 'B' FROM generate_series(1, %s)"
TASKS = "INSERT INTO tasks (title, lead_id) SELECT 'T', %s FROM generate_series(1, %s)"
WORKING = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND pid NOT IN (pg_backend_pid(), %s)"
NOTES = "INSERT INTO interactions (type, lead_id, notes) SELECT 'note', %s, %s FROM generate_series(1, %s)"


@pytest.fixture
async def ask(database_url, viewers):
    """Ask an engine of this process with these settings; `budget` alone leaves prices as they are."""
    databases = []

    async def answer(query, variables=None, budget=None, **limits):
        databases.append(Database(database_url, size=1))
        engine = Engine(schema, databases[-1], Settings(**limits))
        engine.budget = budget or engine.budget
        found = await engine.run(Request(query, None, variables or {}), viewers["admin"])
        return json.loads(found.body)

    yield answer
    for database in databases:
        database.close()


def refusal(answer):
    assert "data" not in answer, str(answer)[:200]
    [error] = answer["errors"]
    return error["extensions"]


class TestRows:
    async def test_lists_without_a_limit_end_at_the_budget(self, graphql, db):
        db.execute(LEADS, [110])
        for lead in range(1, 111):
            db.execute(TASKS, [lead, 100])
        answer = await graphql("{ leads { tasks { id } } }", expect_errors=True)
        assert refusal(answer) == {"code": "TOO_COMPLEX", "what": "rows", "limit": 10_000}
        message = answer["errors"][0]["message"]
        assert message.startswith("The operation returns more than 10,000 rows; they ran out in `leads`.")
        db.execute("DELETE FROM leads WHERE id > 99")
        leads = (await graphql("{ leads { tasks { id } } }"))["leads"]
        assert [len(lead["tasks"]) for lead in leads] == [100] * 99

    async def test_a_bare_list_of_a_thousand_is_never_refused(self, graphql, db):
        db.execute(LEADS, [1000])
        query = "{ leads { id fullName email tags summary owner { name } openTaskCount } }"
        assert len((await graphql(query))["leads"]) == 1000

    async def test_one_long_list_among_short_ones_is_as_good_as_any(self, graphql, db):
        db.execute(LEADS, [1000])
        db.execute(TASKS, [7, 900])
        query = "{ leads { id tasks { title } } }"
        for _ in range(3):  # by a statement that does not count, and then by one that does
            leads = (await graphql(query))["leads"]
            assert {lead["id"]: len(lead["tasks"]) for lead in leads if lead["tasks"]} == {"7": 900}

    @pytest.mark.parametrize(("tasks", "refused"), [(8, False), (9, True)])
    async def test_the_budget_is_exact(self, ask, db, tasks, refused):
        db.execute(LEADS, [2])
        db.execute(TASKS, [1, tasks])
        answer = await ask("{ leads { id tasks { id } } }", budget=AnswerBudget(10, MIB))
        assert ("errors" in answer) == refused

    async def test_roots_and_lists_side_by_side_share_it(self, ask, db):
        db.execute(LEADS, [3])
        db.execute(TASKS, [1, 4])
        for query in (
            "{ a: leads { id tasks { id } } b: leads { id } c: tasks { id } }",
            "{ a: tasks { id } b: leads {id a: tasks {id} b: tasks {id} } }",
        ):
            wanted = 14 if "c:" in query else 15
            assert "errors" not in await ask(query, budget=AnswerBudget(wanted, MIB))
            assert refusal(await ask(query, budget=AnswerBudget(wanted - 1, MIB)))["what"] == "rows"

    async def test_records_beside_lists_count_too(self, ask, db):
        db.execute(LEADS, [3])
        db.execute(TASKS, [1, 2])
        for query, wanted in (
            ("{ leads { id tasks { id } } one: lead(id: 1) { id } }", 6),
            ("{ one: task(id: 1) { id lead { id } } leads { id } }", 5),
            ("{ one: task(id: 1) { lead { id } } lead(id: 99) { tasks { id } } }", 2),
        ):
            assert "errors" not in await ask(query, budget=AnswerBudget(wanted, MIB))
            assert refusal(await ask(query, budget=AnswerBudget(wanted - 1, MIB)))["what"] == "rows"

    async def test_a_list_of_more_than_a_thousand_is_told_as_before(self, graphql, db):
        db.execute(LEADS, [1])
        db.execute(TASKS, [1, 1001])
        advice = "pass `limit` or page with `tasksConnection`"
        for query in ("{ leads { tasks { id } } }", "{ lead(id: 1) { tasks { id } } }"):
            error = (await graphql(query, expect_errors=True))["errors"][0]
            assert error["extensions"]["code"] == "TOO_LARGE"
            assert error["message"] == f"`tasks` has more than 1,000 rows here: {advice}."

    async def test_a_mutation_shows_no_more_either_and_is_undone(self, graphql, db):
        db.execute(LEADS, [1])
        db.execute(TASKS, [1, 300])
        query = 'mutation { updateLead(id: 1, input: {company: "X"}) { tasks { lead { tasks { id } } } } }'
        error = (await graphql(query, expect_errors=True))["errors"][0]
        assert error["extensions"]["code"] == "TOO_COMPLEX"
        assert db.execute("SELECT company FROM leads").fetchone()["company"] is None


def long_text(characters: int) -> str:
    """Four bytes each, and nothing that would compress."""
    dice = random.Random(5)
    return "".join(chr(dice.randrange(0x10000, 0x2FFFF)) for _ in range(characters))


def resident(pid: int) -> int:
    """A process's memory of its own, in bytes."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


# The notes that these ask for are 12 MB, or more. Below lists of lists there is half the room.
TOO_LONG = {
    "{ interactions { lead { interactions { notes } } } }": 4 * MIB,
    "{ leads { interactions { notes } } }": 4 * MIB,
    "{ interactions(limit: 1000) { notes } }": 8 * MIB,
    "{ interactionsConnection(first: 1000) { nodes { notes } } }": 8 * MIB,
    "{ lead(id: 1) { a: interactions { notes } b: interactions { notes } } }": 8 * MIB,
    "{ lead(id: 1) { interactions(limit: 10) { lead { interactions(limit: 50) { notes } } } } }": 8 * MIB,
    "{ interactions(limit: 100) { a: notes b: notes c: notes d: notes } }": 8 * MIB,
}


class TestBytes:
    async def test_what_is_too_long_is_not_gathered(self, ask, db, subtests):
        db.execute(LEADS, [1])
        db.execute(NOTES, [1, long_text(20_000), 150])
        for query, most in TOO_LONG.items():
            with subtests.test(query):
                assert refusal(await ask(query)) == {"code": "TOO_LARGE", "what": "bytes", "limit": most}

    @pytest.mark.parametrize("page", ["first: 1", "first: 0", "last: 0"])
    async def test_the_row_that_tells_whether_more_follow_is_not_of_the_answer(self, ask, db, page):
        db.execute(LEADS, [1])
        db.execute(NOTES, [1, long_text(20_000), 1])
        db.execute(NOTES, [1, "short", int(page[-1])])
        answer = await ask(
            f"{{ interactionsConnection({page}) {{ nodes {{ notes }} }} }}", budget=AnswerBudget(100, 5000)
        )
        assert [one["notes"] for one in answer["data"]["interactionsConnection"]["nodes"]] == ["short"][: int(page[-1])]

    async def test_long_notes_that_fit_are_shown(self, graphql, db):
        db.execute(LEADS, [1])
        text = long_text(20_000)
        db.execute(NOTES, [1, text, 45])
        for _ in range(2):
            found = (await graphql("{ leads { id interactions { notes } } }"))["leads"][0]["interactions"]
            assert found == [{"notes": text}] * 45

    async def test_neither_postgresql_nor_the_program_takes_much_memory(self, database_url, server, client, db):
        db.execute(LEADS, [1])
        db.execute(NOTES, [1, long_text(20_000), 250])
        query = {"query": "{ interactions { lead { interactions { notes } } } }"}
        watch = Watch(server.pid)
        with psycopg.connect(database_url, autocommit=True) as other:
            while watch.looks < 10:
                task = asyncio.create_task(client.post("/graphql", json=query))
                while not task.done():
                    watch.look(pid for (pid,) in other.execute(WORKING, [db.info.backend_pid]))
                    await asyncio.sleep(0.001)
                assert refusal((await task).json())["code"] == "TOO_LARGE"
        assert watch.most < 80 * MIB


class Watch:
    """How much memory of their own processes take at most: the server's beyond what it had, PostgreSQL's all."""

    def __init__(self, server: int) -> None:
        self.most = self.looks = 0
        self._server, self._before = server, resident(server)

    def look(self, backends) -> None:
        sizes = [resident(pid) for pid in backends]
        self.looks += len(sizes)
        self.most = max(self.most, resident(self._server) - self._before, *sizes)


@pytest.fixture(scope="module")
def law(database_url):
    """Run generated operations under a budget; returns what became of them, and the truth."""
    fill(database_url)
    world, spoken = World.load(database_url), sdl.schema()
    known = pools(world)
    with psycopg.connect(database_url) as connection:
        key = connection.execute("SELECT id FROM users WHERE email = 'service-admin@crm.invalid'").fetchone()
    viewer = Viewer(key[0], Role.ADMIN)

    async def make():
        database = Database(database_url, size=2)
        return database, Engine(schema, database, Settings(max_cost=10**9, **ROOMY))

    with asyncio.Runner() as runner:
        database, truth = runner.run(make())

        async def ask(seed, budget):
            operation = Generator(spoken, known, seed, deleted=True).operation()
            for cursor in operation.cursors:
                operation.variables[cursor.variable] = None
            request = Request(operation.text, None, operation.variables)
            engine = Engine(schema, database, Settings(max_cost=10**9, **ROOMY))
            engine.budget = budget
            answers = [await one.run(request, viewer) for one in (truth, engine, engine)]
            node = truth.operation(request)
            roots = truth.roots(node, node.coerce(operation.variables))
            whole, *limited = [json.loads(one.body) for one in answers]
            return operation, roots, whole, limited, len(answers[0].body)

        yield lambda seed, budget: runner.run(ask(seed, budget))
        database.close()


def counted(field, value, *, most: bool) -> int:
    """How many rows stand in a field's JSON; with `most` a record that is not there counts like one that is."""
    if field.shape is None or field.kind is None or (value is None and not most):
        return 0
    if field.shape.kind == "connection" and value is not None:
        parts = [one for one in field.children if one.shape and one.kind and one.kind.part != "page_info"]
        rows = max((len(value[part.key]) for part in parts), default=1000 if most else 0)
        return rows + sum(below(part, one, most=most) for part in parts for one in value[part.key])
    if field.shape.kind in ("many", "connection"):
        return sum(1 + below(field, one, most=most) for one in value or [])
    if field.shape.kind == "one":
        return 1 + below(field, value, most=most)
    return below(field, value, most=most) if field.kind.part is None and isinstance(value, dict) else 0


def below(field, value, *, most: bool) -> int:
    return sum(counted(child, (value or {}).get(child.key), most=most) for child in field.children)


@pytest.mark.timeout(600 + 2 * EXAMPLES)
class TestLaw:
    def test_rows(self, law):
        outcomes = {False: 0, True: 0}

        @LAW
        @given(st.integers(0, 10**9), st.one_of(st.integers(1, 60), st.integers(1, 2000)))
        def check(seed: int, rows: int) -> None:
            operation, roots, whole, limited, _ = law(str(seed), AnswerBudget(rows, 64 * MIB))
            assert "errors" not in whole, operation
            least, most = (
                sum(counted(root, whole["data"][root.key], most=most) for root in roots) for most in (False, True)
            )
            for answer in limited:
                if "errors" in answer:
                    assert refusal(answer) == {"code": "TOO_COMPLEX", "what": "rows", "limit": rows}
                    assert most > rows, operation
                else:
                    assert answer == whole, operation
                    assert least <= rows, operation
            outcomes["errors" in limited[0]] += 1

        check()
        assert min(outcomes.values()) > 0, outcomes

    def test_bytes(self, law):
        outcomes = {False: 0, True: 0}

        @LAW
        @given(st.integers(0, 10**9), st.integers(100, 20_000))
        def check(seed: int, most: int) -> None:
            operation, _, whole, limited, size = law(str(seed), AnswerBudget(10**8, most))
            for answer in limited:
                if "errors" in answer:
                    error = refusal(answer)
                    assert (error["code"], error["what"]) == ("TOO_LARGE", "bytes")
                    assert error["limit"] in [most // level for level in range(1, 7)]
                    assert size * SLACK > error["limit"], operation
                else:
                    assert answer == whole, operation
                    assert size <= most * SLACK, operation
            outcomes["errors" in limited[0]] += 1

        check()
        assert min(outcomes.values()) > 0, outcomes
