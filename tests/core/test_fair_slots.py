import asyncio

import pytest

from crm.core.fair_slots import FairSlots, Taker


async def enter(turns, entered, seconds=60.0, taker=None):
    async with turns.turn(taker or Taker("a user")):
        entered.append(seconds)
        await asyncio.sleep(seconds)


class TestTurns:
    async def test_let_in_so_many_at_once(self):
        turns, entered = FairSlots(2), []
        tasks = [asyncio.create_task(enter(turns, entered, 0.1)) for _ in range(4)]
        await asyncio.sleep(0.05)
        assert len(entered) == 2
        await asyncio.gather(*tasks)
        assert len(entered) == 4

    async def test_let_others_pass_who_take_long(self):
        turns, entered = FairSlots(2), []
        tasks = [asyncio.create_task(enter(turns, entered)) for _ in range(2)]
        await asyncio.wait_for(enter(turns, entered, 0), 5)
        for task in tasks:
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]

    async def test_give_a_place_back_once(self):
        turns, entered = FairSlots(1), []
        await enter(turns, entered, 0.7)
        tasks = [asyncio.create_task(enter(turns, entered, 0.3)) for _ in range(2)]
        await asyncio.sleep(0.1)
        assert len(entered) == 2
        await asyncio.gather(*tasks)

    async def test_keep_those_who_took_long_among_themselves(self):
        turns, entered, slow = FairSlots(1), [], [Taker("a user") for _ in range(3)]
        await asyncio.gather(*(enter(turns, entered, 0.6, taker) for taker in slow))
        assert [taker.is_long for taker in slow] == [True] * 3
        entered.clear()
        tasks = [asyncio.create_task(enter(turns, entered, taker=taker)) for taker in slow]
        await asyncio.sleep(1.2)  # longer than others keep a place
        assert len(entered) == 1
        await asyncio.wait_for(enter(turns, entered, 0), 5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def test_come_to_each_user_in_turn(self):
        """Whoever has one taker waits for one turn, not for all of somebody with ninety."""
        turns, entered = FairSlots(1), []
        many = [asyncio.create_task(enter(turns, entered, 0.05, Taker("many"))) for _ in range(20)]
        await asyncio.sleep(0)
        await asyncio.wait_for(enter(turns, entered, 0.0, Taker("one")), 5)
        assert entered.index(0.0) <= 2
        await asyncio.gather(*many)
