import asyncio

import pytest

from crm.core.turns import Turns


async def enter(turns, entered, seconds=60.0):
    async with turns.turn():
        entered.append(seconds)
        await asyncio.sleep(seconds)


class TestTurns:
    async def test_let_in_so_many_at_once(self):
        turns, entered = Turns(2), []
        tasks = [asyncio.create_task(enter(turns, entered, 0.1)) for _ in range(4)]
        await asyncio.sleep(0.05)
        assert len(entered) == 2
        await asyncio.gather(*tasks)
        assert len(entered) == 4

    async def test_let_others_pass_who_take_long(self):
        turns, entered = Turns(2), []
        tasks = [asyncio.create_task(enter(turns, entered)) for _ in range(2)]
        await asyncio.wait_for(enter(turns, entered, 0), 5)
        for task in tasks:
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]

    async def test_give_a_place_back_once(self):
        turns, entered = Turns(1), []
        await enter(turns, entered, 0.7)
        tasks = [asyncio.create_task(enter(turns, entered, 0.3)) for _ in range(2)]
        await asyncio.sleep(0.1)
        assert len(entered) == 2
        await asyncio.gather(*tasks)
