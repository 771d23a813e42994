"""When one root fails: its error has its path, and the others have their data."""

import pytest

from crm.core.side_thread import SideThread
from crm.db.database import Database
from crm.db.lanes import LaneLimits
from crm.graph.run.engine import Engine
from crm.schema import schema
from tests.graph.asking import answer
from tests.graph.tap import Tap

TOO_MANY = "tasks { assignee { id } decidedBy { disabledAt } lead { tasks(limit: 1) { assigneeId } } }"
# Sorts a thousand rows a million times over.
SLOW = (
    "tasks(limit: 1000) { lead { tasks(limit: 1000) { lead { tasks(limit: 1, orderBy: [{field: TITLE}]) { id } } } } }"
)


@pytest.fixture
def crowd(db, make_lead):
    """1,001 leads, and one of them with 1,001 tasks."""
    lead = make_lead()["id"]
    db.execute("INSERT INTO leads (first_name, last_name) SELECT 'a', 'b' FROM generate_series(1, 1000)")
    db.execute("INSERT INTO tasks (title, lead_id) SELECT 'a', %s FROM generate_series(1, 1001)", [lead])
    return lead


async def test_a_nullable_root_fails_alone(engine, viewers, crowd):
    query = "query($id: Int!) { one: lead(id: $id) { id } many: lead(id: $id) { id tasks { id } } last: me { role } }"
    found = await answer(engine, viewers["viewer"], query, {"id": crowd})
    assert found["data"] == {"one": {"id": str(crowd)}, "many": None, "last": {"role": "VIEWER"}}
    [error] = found["errors"]
    assert error["path"][0] == "many"
    assert error["locations"] == [{"line": 1, "column": 46}]
    assert error["extensions"]["code"] == "TOO_LARGE"
    assert "`tasks`" in error["message"]
    assert "`limit`" in error["message"]


async def test_a_root_that_is_never_null_leaves_no_data(engine, viewers, crowd):
    query = "query($id: Int!) { lead(id: $id) { id } leads { id } }"
    found = await answer(engine, viewers["viewer"], query, {"id": crowd})
    assert found["data"] is None
    [error] = found["errors"]
    assert error["path"] == ["leads"]
    assert error["extensions"]["code"] == "TOO_LARGE"
    assert "`limit`" in error["message"]
    assert "`leadsConnection`" in error["message"]


async def test_each_failing_root_has_its_error(engine, viewers, crowd):
    query = "query($id: Int!) { a: lead(id: $id) { tasks { id } } b: lead(id: $id) { tasks { title } } c: me { id } }"
    found = await answer(engine, viewers["viewer"], query, {"id": crowd})
    assert [one["path"][0] for one in found["errors"]] == ["a", "b"]
    assert found["data"]["c"] is not None


@pytest.mark.usefixtures("crowd")
@pytest.mark.parametrize(
    "query",
    [
        "{ leads { id } }",
        "{ leads(limit: null) { id } }",
        "{ leads(offset: 0) { id } }",
        "{ tasks { id } }",
        "query($x: Int) { leads(limit: $x) { id } }",
    ],
)
async def test_no_list_is_cut_silently(engine, viewers, query):
    [error] = (await answer(engine, viewers["viewer"], query))["errors"]
    assert error["extensions"]["code"] == "TOO_LARGE"


@pytest.mark.usefixtures("crowd")
@pytest.mark.parametrize(
    ("query", "count"),
    [("{ leads(limit: 1000) { id } }", 1000), ("{ leads(offset: 1) { id } }", 1000), ("{ leads(limit: 0) { id } }", 0)],
)
async def test_a_thousand_rows_are_fine(engine, viewers, query, count):
    assert len((await answer(engine, viewers["viewer"], query))["data"]["leads"]) == count


def roots(count, selection):
    return f"{{ {' '.join(f'r{number}: {selection}' for number in range(count))} }}"


class Counted(SideThread):
    """Counts what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given = self.given_short = 0

    async def run(self, *arguments):
        self.given += 1
        return await super().run(*arguments)

    async def run_short(self, *arguments):
        self.given_short += 1
        return await super().run_short(*arguments)


@pytest.fixture
async def tap(database_url):
    running = await Tap(database_url).start()
    yield running
    await running.stop()


@pytest.fixture
async def tapped(tap, roomy):
    """An engine whose statements are counted, and whose reads have a second."""
    database = Database(tap.url, size=2, limits=LaneLimits(read_seconds=1))
    engine = Engine(schema, database, roomy)
    engine.side = Counted()
    yield engine
    database.close()


@pytest.mark.usefixtures("crowd")
class TestRunningRootsSingly:
    async def test_ends_where_there_will_be_no_data(self, tapped, tap, viewers):
        """One statement that does not count, one that does, and one of a root that fails."""
        found = await answer(tapped, viewers["viewer"], roots(10, TOO_MANY))
        assert found["data"] is None
        [error] = found["errors"]
        assert error["path"] == ["r0"]
        assert error["extensions"]["code"] == "TOO_LARGE"
        assert len(tap.executed) <= 3

    async def test_looks_at_lists_first(self, tapped, tap, viewers, crowd):
        one = f"lead(id: {crowd}) {{ id }}"
        found = await answer(tapped, viewers["viewer"], f"{{ a: {one} b: {one} c: {one} d: {one} many: {TOO_MANY} }}")
        assert [error["path"] for error in found["errors"]] == [["many"]]
        assert len(tap.executed) <= 3

    @pytest.mark.parametrize(("count", "alone"), [(10, True), (11, False)])
    async def test_is_for_a_few(self, tapped, tap, viewers, crowd, count, alone):
        query = roots(count - 1, f"lead(id: {crowd}) {{ id }}").removesuffix("}")
        query += f"many: lead(id: {crowd}) {{ tasks {{ id }} }} }}"
        found = await answer(tapped, viewers["viewer"], query)
        [error] = found["errors"]
        assert error["extensions"]["code"] == "TOO_LARGE"
        if alone:
            assert error["path"] == ["many"]
            assert found["data"] == {**{f"r{one}": {"id": str(crowd)} for one in range(count - 1)}, "many": None}
        else:
            assert "data" not in found
            assert len(tap.executed) <= 2

    @pytest.mark.parametrize(
        ("count", "selection"), [(4, TOO_MANY), (4, f"lead(id: 1) {{ {TOO_MANY} }}"), (20, TOO_MANY)]
    )
    async def test_compiles_what_it_needs_once(self, tapped, viewers, count, selection):
        for asked in range(3):
            before = tapped.side.given + tapped.side.given_short
            found = await answer(tapped, viewers["viewer"], roots(count, selection))
            assert found["errors"][0]["extensions"]["code"] == "TOO_LARGE"
            if asked:
                assert tapped.side.given + tapped.side.given_short == before

    async def test_compiles_in_the_side_thread(self, tapped, viewers, crowd):
        """Short as they are, one after another they are long."""
        await answer(tapped, viewers["viewer"], roots(4, f"lead(id: {crowd}) {{ tasks {{ id }} }}"))
        assert tapped.side.given == 4

    async def test_has_the_time_of_one_read(self, tapped, tap, viewers, crowd):
        slow = f"lead(id: {crowd}) {{ {SLOW} }}"
        query = f"{{ bad: lead(id: {crowd}) {{ tasks {{ id }} }} a: {slow} b: {slow} c: {slow} d: me {{ id }} }}"
        found = await answer(tapped, viewers["viewer"], query)
        codes = {error["path"][0]: error["extensions"]["code"] for error in found["errors"]}
        assert codes == {"bad": "TOO_LARGE", **dict.fromkeys("abcd", "TIMEOUT")}
        assert sum("json" in text for text in tap.executed) <= 3


async def test_what_counts_is_compiled_in_the_side_thread(tapped, viewers, crowd):  # noqa: ARG001
    """It takes twice as long as what does not: what is short without is long with it."""
    await answer(tapped, viewers["viewer"], roots(2, TOO_MANY))
    assert tapped.side.given >= 1
