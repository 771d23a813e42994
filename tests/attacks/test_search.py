"""The short form of `make attacks`: some searching finds no request that costs far too much."""

import pytest

from tests.attacks.search import BOUNDS, SIZES, Search
from tests.attacks.target import Target
from tests.support.examples import examples

# Of each size.
_REQUESTS = examples(18)
# The machine that runs the tests does other things meanwhile; what the bounds are for is beyond them by far.
_LENIENCE = 4


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    with Target(tmp_path_factory.mktemp("attacks")) as target:
        search = Search(target, "suite")
        search.sow()
        for _ in range(_REQUESTS):
            for size in SIZES:
                search.step(size)
        yield search


def test_it_searches(searched):
    assert searched.tried > 50
    assert searched.worst("1 KB", "loop") is not None


@pytest.mark.parametrize("name", BOUNDS)
@pytest.mark.parametrize("size", SIZES)
def test_no_request_costs_more_than_it_may(searched, size, name):
    worst = searched.worst(size, name)
    cost = BOUNDS[name].of(worst.cost) if worst else 0
    assert cost <= BOUNDS[name].most * _LENIENCE, f"{worst.cost}: {worst.genome.text[:500]!r}"


def test_no_answer_is_a_fault_of_the_server(searched):
    assert [(str(find.cost), find.genome.text[:500]) for find in searched.wrong] == []
