"""What no variable decides of an operation's arguments is looked at once, not in each request."""

import sys

import pytest

from crm.core import errors
from crm.graph.compile.statements import StatementsByShape
from crm.graph.run.engine import Engine, Request

ONE = "query One($id: Int!) { lead(id: $id) { id tasks { id title } interactions { id } } }"
# As many calls of Python functions as it takes to find the statement of `ONE`: 12, and 88 if each list's arguments
# are looked at.
_MOST_CALLS = 25


def shaped(engine: Engine, text: str, variables, viewer) -> StatementsByShape:
    found = engine.plan(engine.operation(Request(text)), variables, viewer).shaped
    assert found is not None
    return found


def calls(work, *arguments) -> int:
    """How many Python functions some work calls."""
    found = 0

    def count(_frame, what, _argument):
        nonlocal found
        found += what == "call"

    sys.setprofile(count)
    try:
        work(*arguments)
    finally:
        sys.setprofile(None)
    return found


async def test_arguments_that_nobody_gave_cost_a_request_nothing(engine, viewers):
    viewer, variables = viewers["member"], {"id": 1}
    one = shaped(engine, ONE, variables, viewer)
    await one.bound(variables, viewer, engine.side)
    assert one.ready(variables, viewer) is not None
    assert calls(one.ready, variables, viewer) < _MOST_CALLS


async def test_fixed_values_are_bound_in_their_places(engine, viewers):
    """Before, between and after what comes in variables."""
    text = """query($n: Int!, $m: Int!) {
      a: leads(filter: {company: {eq: "x"}}, limit: $n) { tasks(limit: 7) { id } interactions(limit: $m) { id } }
      b: leads(filter: {company: {eq: "y"}}) { id }
    }"""
    viewer = viewers["member"]
    one = shaped(engine, text, {"n": 1, "m": 2}, viewer)
    for n, m in ((3, 4), (5, 6)):
        bound = await one.bound({"n": n, "m": m}, viewer, engine.side)
        assert [value for value in bound.values if value not in (True, False, viewer.id)] == ["x", n, 7, m, "y"]


@pytest.mark.parametrize("text", ["{ leads(includeDeleted: true) { id } }", "{ leads(limit: 5000) { id } }"])
async def test_what_is_refused_is_refused_each_time(engine, viewers, text):
    """Whoever asked first, and whether it was refused before."""
    viewer = viewers["member"]
    one = shaped(engine, text, {}, viewer)
    for _ in range(3):
        with pytest.raises((errors.Forbidden, errors.BadUserInput)):
            one.ready({}, viewer)


async def test_an_admin_opens_what_is_deleted_to_nobody_else(engine, viewers):
    one = shaped(engine, "{ leads(includeDeleted: true) { id } }", {}, viewers["admin"])
    await one.bound({}, viewers["admin"], engine.side)
    with pytest.raises(errors.Forbidden):
        one.ready({}, viewers["member"])
