"""What a mutation shows is what a query of the same selection shows."""

import pytest

from tests.graph.asking import data
from tests.graph.data import fill, pools
from tests.graph.generate import Generator
from tests.graph.reference import World
from tests.support import sdl
from tests.support.examples import examples

OPERATIONS = examples(15)


@pytest.mark.parametrize("kind", ["Lead", "Task", "Interaction"])
async def test_a_write_shows_what_a_read_would(engine, viewers, database_url, kind):
    fill(database_url, seed=6)
    world = World.load(database_url)
    known, spoken = pools(world), sdl.schema()
    living = [one["id"] for one in world.shown(kind)]
    for number in range(OPERATIONS):
        maker = Generator(spoken, known, f"{kind} {number}", deleted=False)
        write, read = maker.write_and_read(f"update{kind}", kind.lower())
        variables = {**write.variables, "id": living[number % len(living)]}
        written = await data(engine, viewers["member"], write.text, variables)
        found = await data(engine, viewers["member"], read.text, variables)
        assert written == found, f"{write}"
        assert str(written) == str(found), f"{write}"
