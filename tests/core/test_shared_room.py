"""Room that owners share: never more than there is, never more than half for one, and in order."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from crm.core.shared_room import SharedRoom

SIZE = 100
WISHES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 150), st.integers(0, 5)), max_size=40)


@given(WISHES)
def test_nobody_takes_more_than_half_and_all_get_their_turn(wishes):
    asyncio.run(_takes(wishes))


async def _takes(wishes):
    room, held = SharedRoom(SIZE), []

    async def one(owner, size, turns):
        place = await room.take(owner, size)
        held.append(place)
        assert sum(one.size for one in held) <= SIZE
        assert sum(one.size for one in held if one.owner == owner) <= SIZE // 2
        for _ in range(turns):
            await asyncio.sleep(0)
        held.remove(place)
        place.free()
        place.free()  # twice is once

    await asyncio.wait_for(asyncio.gather(*(one(*wish) for wish in wishes)), 10)
    whole = [await room.take(owner, SIZE) for owner in "ab"]  # nothing was lost
    assert [place.size for place in whole] == [SIZE // 2] * 2


async def test_who_comes_first_is_first():
    room, order = SharedRoom(SIZE), []
    first = [await room.take(owner, 50) for owner in "ab"]

    async def one(owner, size):
        await room.take(owner, size)
        order.append((owner, size))

    tasks = [asyncio.create_task(one(*wish)) for wish in (("c", 50), ("d", 1), ("a", 10), ("e", 40))]
    await asyncio.sleep(0)
    assert not order  # not even the small one: it would hold up the large one for ever
    for place in first:
        place.free()
    await asyncio.gather(*tasks[:3])
    assert order == [("c", 50), ("d", 1), ("a", 10)]
    tasks[3].cancel()


async def test_who_has_half_is_passed_by():
    room = SharedRoom(SIZE)
    half = await room.take("a", 50)
    more = asyncio.create_task(room.take("a", 1))
    await asyncio.wait_for(room.take("b", 50), 1)
    assert not more.done()
    half.free()
    assert (await more).size == 1


async def test_who_gives_up_takes_nothing():
    room = SharedRoom(SIZE)
    first = await room.take("a", 50)
    late = asyncio.create_task(room.take("a", 50))
    await asyncio.sleep(0)
    first.free()  # gives the place, and then
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    assert (await asyncio.wait_for(room.take("a", 50), 1)).size == 50
