"""When one root fails: its error has its path, and the others have their data."""

import pytest
from asking import answer


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
