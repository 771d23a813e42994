"""Generated operations: the engine's one statement against a plain object-by-object reference, byte for byte."""

import json

import pytest

from crm.graph.run.engine import Request
from tests.graph.data import fill, pools
from tests.graph.generate import Generator, Operation
from tests.graph.reference import Reference, World, comparable
from tests.support import sdl
from tests.support.examples import examples

OPERATIONS = examples(90)
BATCHES = 6


@pytest.fixture(scope="module")
def world(database_url):
    fill(database_url)
    return World.load(database_url)


async def answered(engine, operation: Operation, viewer) -> object:
    for cursor in operation.cursors:
        answer = await ask(engine, cursor.query, operation.variables, viewer)
        [found] = answer.values()
        edges = found["edges"]
        operation.variables[cursor.variable] = edges[int(cursor.place * len(edges))]["cursor"] if edges else None
    return await ask(engine, operation.text, operation.variables, viewer)


async def ask(engine, query: str, variables: dict[str, object], viewer) -> dict[str, object]:
    answer = json.loads((await engine.run(Request(query, None, variables), viewer)).body)
    assert "errors" not in answer, answer["errors"]
    return answer["data"]


@pytest.mark.parametrize("role", ["admin", "viewer"])
@pytest.mark.parametrize("batch", range(BATCHES // 2))
async def test_the_statement_answers_like_the_reference(engine, world, viewers, role, batch):
    viewer = viewers[role]
    reference = Reference(world, viewer.id)
    spoken, known = sdl.schema(), pools(world)
    for number in range(OPERATIONS // BATCHES):
        seed = f"{role} {batch} {number}"
        operation = Generator(spoken, known, seed, deleted=role == "admin").operation()
        try:
            found = await answered(engine, operation, viewer)
            expected = reference.answer(operation.text, operation.variables)
        except Exception as error:
            error.add_note(f"seed {seed!r}\n{operation}")
            raise
        # As text, unsorted: the keys' order is part of the answer.
        assert json.dumps(comparable(found)) == json.dumps(expected), f"seed {seed!r}\n{operation}"
