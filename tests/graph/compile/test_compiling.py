"""What compiling an operation takes: no more than grows with it, and nothing long on the event loop."""

import asyncio
import sys
import threading
from collections.abc import Callable
from functools import partial

import pytest

from crm.core import errors
from crm.core.settings import Settings
from crm.core.side_thread import SideThread
from crm.db.database import Database
from crm.graph.compile.allotment import AnswerBudget
from crm.graph.compile.arguments import MAX_CONDITIONS
from crm.graph.run.engine import Engine, Request
from crm.schema import schema
from tests.bench.operations import LIST50, ONE
from tests.graph.asking import answer, data
from tests.graph.tap import Tap
from tests.graph.test_statements import ROOTS


def some(depth: int) -> str:
    return "{}" if depth == 0 else f"{{tasks: {{some: {{lead: {some(depth - 1)}}}}}}}"


def lists(depth: int) -> str:
    return "id" if depth == 0 else f"tasks(limit: 1) {{ title lead {{ fullName openTaskCount {lists(depth - 1)} }} }}"


ACROSS = '{tasks: {some: {title: {contains: "a"}}}}'
# By size: operations that took more than their size, and in which variable the size is.
GROWING: dict[str, Callable[[int], tuple[str, dict[str, object]]]] = {
    "conditions across edges": lambda n: (
        f"{{ leads(filter: {{or: [{', '.join([ACROSS] * n)}]}}) {{ id }} }}",
        {},
    ),
    "conditions within conditions": lambda n: (f"{{ leads(filter: {some(n)}) {{ id }} }}", {}),
    "lists within lists": lambda n: (f"{{ leads {{ {lists(n)} }} }}", {}),
    "uses of a variable": lambda n: (
        f"query($w: LeadFilter) {{ {' '.join(f'a{i}: leads(filter: $w) {{ id }}' for i in range(n))} }}",
        {"w": {"or": [{"company": {"contains": "a"}}] * 2}},
    ),
    "keys of an order": lambda n: (f"{{ leads(orderBy: [{', '.join(['{field: COMPANY}'] * n)}]) {{ id }} }}", {}),
    "pages": lambda n: (
        f"{{ {' '.join(f'a{i}: leadsConnection {{ totalCount nodes {{ id fullName }} }}' for i in range(n))} }}",
        {},
    ),
}
DEEP = f"{{ leads {{ {lists(4)} a: {lists(4)} b: {lists(4)} }} }}"


@pytest.fixture
async def spacious(database_url):
    """An engine that lets operations be as deep as they like."""
    database = Database(database_url, size=1)
    limits = Settings(max_depth=200, max_fields=5000, max_aliases=5000, max_cost=10**15, max_tokens=50_000)
    yield Engine(schema, database, limits)
    database.close()


def shaped(engine, viewer, query, variables=None):
    operation = engine.operation(Request(query))
    coerced = operation.coerce(variables or {})
    return engine.plan(operation, coerced, viewer).shaped, coerced


def calls(work: Callable[[], object]) -> int:
    """How many functions Python calls for it: the same on any machine."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


# Of lists, where both statements count their rows; within each other as deep as lists may be.
_SIZES = {"lists within lists": (4, 11), "pages": (16, 64)}


class TestGrowth:
    @pytest.mark.parametrize("name", GROWING)
    async def test_is_the_operations_own(self, spacious, viewers, name):
        def compiling(size: int) -> int:
            part, variables = shaped(spacious, viewers["admin"], *GROWING[name](size))
            return calls(lambda: part.step(variables, viewers["admin"]))

        compiling(2)  # what is made once for all operations
        few, many = map(compiling, _SIZES.get(name, (6, 24)))
        assert many < 5 * few

    async def test_usual_operations_take_few_calls(self, spacious, viewers):
        for query, variables, most in ((ONE, {"id": 1}, 7000), (LIST50, {"n": 1}, 10_000)):
            compiling = shaped(spacious, viewers["admin"], query, variables)
            compiling[0].step(compiling[1], viewers["admin"])
            again, coerced = shaped(spacious, viewers["viewer"], query, variables)
            assert calls(partial(again.step, coerced, viewers["viewer"])) < most


def within(depth: int) -> str:
    """All lists of a lead, within each other."""
    if not depth:
        return "id fullName openTaskCount"
    return " ".join(f"{name} {{ id lead {{ {within(depth - 1)} }} }}" for name in ("tasks", "interactions"))


def updated(lead: int, selection: str) -> str:
    return f'mutation {{ updateLead(id: {lead}, input: {{company: "X"}}) {{ {selection} }} }}'


class TestDepth:
    """Python has a limit to how deep functions may be within each other; SQLAlchemy needs many for each level."""

    @pytest.fixture
    async def counting(self, database_url):
        """An engine whose statements count, and whose operations may be as deep as usual, or deeper."""
        databases = []

        def make(**limits):
            databases.append(Database(database_url, size=1))
            engine = Engine(schema, databases[-1], Settings(max_cost=10**15, **limits))
            engine.budget = AnswerBudget(1000, 1024 * 1024)
            engine.side = Counted()
            return engine

        yield make
        for database in databases:
            database.close()

    async def test_the_deepest_and_widest_that_may_be_asked_for_is_compiled(
        self, counting, viewers, make_lead, make_task
    ):
        engine, lead = counting(), make_lead()["id"]
        make_task(lead_id=lead)
        for number, query in enumerate((f"{{ leads {{ {within(5)} }} }}", updated(lead, within(5))), 1):
            found = await data(engine, viewers["admin"], query)
            assert "tasks" in str(found)
            assert engine.side.given >= number
        shape, variables = shaped(engine, viewers["admin"], f"{{ leads {{ {within(5)} }} }}")
        assert b"crm_count_rows" in shape.step(variables, viewers["admin"])[0].text
        refused = await answer(engine, viewers["admin"], f"{{ leads {{ {within(6)} }} }}")
        assert refused["errors"][0]["extensions"]["what"] == "levels"

    async def test_twice_as_deep_is_compiled_too(self, counting, viewers, make_lead):
        engine, lead = counting(max_depth=24), make_lead()["id"]
        for query in (f"{{ leads {{ {lists_of(11)} }} }}", updated(lead, lists_of(11))):
            await data(engine, viewers["admin"], query)

    @pytest.mark.parametrize("depth", [80, 400])
    async def test_what_is_too_deep_for_python_is_refused_and_changes_nothing(
        self, counting, viewers, make_lead, db, depth
    ):
        engine, lead = counting(max_depth=1000, max_fields=5000), make_lead()["id"]
        for query in (f"{{ leads {{ {lists_of(depth)} }} }}", updated(lead, lists_of(depth))):
            error = (await answer(engine, viewers["admin"], query))["errors"][0]
            assert error["extensions"]["code"] == "TOO_COMPLEX"
            assert "nests too deeply" in error["message"]
        assert db.execute("SELECT company FROM leads").fetchone() == {"company": None}
        assert await data(engine, viewers["admin"], "{ leads { id } }") == {"leads": [{"id": str(lead)}]}


def lists_of(depth: int) -> str:
    return "tasks(limit: 1) { lead { " * depth + "id" + " } }" * depth


class Counted(SideThread):
    """Counts what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given = 0

    async def run(self, *arguments):
        self.given += 1
        return await super().run(*arguments)


class TestSideThread:
    @pytest.fixture
    def side(self, engine, db):  # noqa: ARG002  (over empty tables)
        engine.side = Counted()
        return engine.side

    # `nodes` is as many statements as there are types of records: 25 ms.
    @pytest.mark.parametrize(
        "query", [ONE, LIST50, *(f"{{ {root} }}" for root in ROOTS if not root.startswith("nodes("))]
    )
    async def test_is_not_needed_for_usual_operations(self, engine, viewers, side, query):
        await data(engine, viewers["admin"], query, {"id": 1, "n": 1} if "$" in query else {})
        assert side.given == 0

    async def test_compiles_what_is_long(self, engine, viewers, side):
        assert await data(engine, viewers["viewer"], DEEP) == {"leads": []}
        assert side.given == 1

    async def test_compiles_it_once(self, engine, viewers, side):
        for _ in range(5):
            await data(engine, viewers["viewer"], DEEP)
        assert side.given == 1

    async def test_holds_nobody_up(self, engine, viewers, side):
        """One long statement waits for another; what is short is answered meanwhile."""
        held = threading.Event()
        first = asyncio.create_task(side.run("somebody", held.wait))
        long = asyncio.create_task(data(engine, viewers["viewer"], DEEP))
        for _ in range(3):
            assert await data(engine, viewers["viewer"], "{ leads { id } }") == {"leads": []}
        assert not long.done()
        held.set()
        assert await first
        assert await long == {"leads": []}

    async def test_lets_the_loop_go_on(self, engine, viewers, side):
        part, variables = shaped(engine, viewers["viewer"], DEEP)
        compiling = asyncio.create_task(part.bound(variables, viewers["viewer"], side))
        turns = 0
        while not compiling.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 20  # on the loop itself: one

    async def test_is_for_what_writes_show_as_well(self, engine, viewers, side, make_lead):
        lead = make_lead()["id"]
        query = f'mutation {{ createTask(input: {{leadId: {lead}, title: "Call"}}) {{ lead {{ {lists(4)} {lists(3)} '
        await data(engine, viewers["member"], f"{query} a: {lists(4)} b: {lists(4)} }} }} }}")
        assert side.given == 1


class TestThreads:
    async def test_do_not_disturb_each_other(self, spacious, viewers):
        """The loop compiles what is short while the side thread compiles what is long."""
        asked = [case(size) for case in GROWING.values() for size in range(2, 5)]

        def compile_all() -> list[bytes]:
            parts = [shaped(spacious, viewers["viewer"], *one) for one in asked]
            return [part.step(variables, viewers["viewer"])[0].text for part, variables in parts]

        alone = compile_all()
        together = await asyncio.gather(*(asyncio.to_thread(compile_all) for _ in range(4)))
        assert together == [alone] * 4


class TestBounds:
    @pytest.mark.parametrize(
        ("query", "where"),
        [
            (f"query($w: LeadFilter!) {{ leads(filter: {{or: [{', '.join(['$w'] * 400)}]}}) {{ id }} }}", [{}] * 400),
            (
                f"query($w: LeadFilter!) {{ leads(filter: {{or: [{', '.join(['$w'] * 400)}]}}) {{ id }} }}",
                [{"tasks": {"some": {}}}] * 100,
            ),
        ],
    )
    async def test_a_variable_counts_as_often_as_it_is_used(self, engine, viewers, query, where):
        asked = answer(engine, viewers["viewer"], query, {"w": {"and": where}})
        [error] = (await asked)["errors"]
        assert (error["extensions"]["code"], error["extensions"]["what"]) == ("TOO_COMPLEX", "conditions")

    async def test_counting_ends_where_there_are_too_many(self, spacious, viewers):
        """For a statement, whatever an operation's price makes of it."""
        uses = ", ".join(["$w"] * 2000)
        query = f"query($w: LeadFilter!) {{ leads(filter: {{or: [{uses}]}}) {{ id }} }}"
        part, variables = shaped(spacious, viewers["viewer"], query, {"w": {"and": [{"id": {"eq": 1}}] * 1000}})
        error: list[errors.TooComplex] = []

        def look() -> None:
            try:
                part.step(variables, viewers["viewer"])
            except errors.TooComplex as found:
                error.append(found)

        assert calls(look) < 100 * MAX_CONDITIONS
        assert error[0].details["what"] == "conditions"

    async def test_a_field_orders_once(self, spacious, viewers):
        query = "{ leads(orderBy: [{field: COMPANY}, {field: EMAIL}, {field: COMPANY, direction: DESC}]) { id } }"
        part, variables = shaped(spacious, viewers["viewer"], query)
        text = part.step(variables, viewers["viewer"])[0].text.decode()
        assert "ORDER BY leads.company_key ASC NULLS LAST, leads.email ASC NULLS LAST, leads.id DESC" in text

    async def test_what_a_write_shows_is_checked_before_anything_is_written(
        self, database_url, roomy, viewers, make_lead
    ):
        tap = await Tap(database_url).start()
        database = Database(tap.url, size=1)
        query = (
            f'mutation {{ createTask(input: {{leadId: {make_lead()["id"]}, title: "x"}}) {{ lead {{ tasks(limit: -1)'
        )
        found = await answer(Engine(schema, database, roomy), viewers["member"], f"{query} {{ id }} }} }} }}")
        assert found["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
        assert tap.executed == []
        database.close()
        await tap.stop()
