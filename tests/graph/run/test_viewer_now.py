"""A mutation may take long: each of its fields asks whether its user may still do it."""

from dataclasses import replace

import orjson
import pytest

from crm.core import errors
from crm.core.identity import Role
from crm.graph.run.engine import Request

TWO = """mutation {
  one: createLead(input: {firstName: "One", lastName: "A"}) { id }
  two: createLead(input: {firstName: "Two", lastName: "B"}) { id }
}"""


@pytest.fixture
def loses(engine, viewers, db):  # noqa: ARG001
    """Run two fields as a member who, from the second look on, is somebody else."""

    async def run(then):
        looks = 0

        async def look():
            nonlocal looks
            looks += 1
            if looks == 1:
                return viewer
            if isinstance(then, Exception):
                raise then
            return replace(viewer, role=then)

        viewer = replace(viewers[Role.MEMBER], look=look)
        return orjson.loads((await engine.run(Request(TWO, None, {}), viewer)).body)

    return run


@pytest.mark.parametrize(
    ("then", "code"),
    [(errors.Unauthenticated(), "UNAUTHENTICATED"), (Role.VIEWER, "FORBIDDEN")],
    ids=["revoked", "demoted"],
)
async def test_what_comes_after_is_not_done(loses, db, then, code):
    answer = await loses(then)
    assert answer["errors"][0]["path"] == ["two"]
    assert answer["errors"][0]["extensions"]["code"] == code
    assert [row["first_name"] for row in db.execute("SELECT first_name FROM leads").fetchall()] == ["One"]


async def test_who_may_more_than_before_goes_on(loses):
    answer = await loses(Role.ADMIN)
    assert answer["data"]["two"]["id"]
