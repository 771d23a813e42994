"""Work that would hold the event loop: in a thread, or in pieces."""

import asyncio
import threading
import time

import pytest

from crm.core.pacing import paced
from crm.core.side_thread import SideThread


class TestSideThread:
    async def test_one_piece_at_a_time_and_never_on_the_loop(self):
        side, within, most = SideThread(), 0, 0
        here = threading.get_ident()

        def work(number: int) -> int:
            nonlocal within, most
            assert threading.get_ident() != here
            within += 1
            most = max(most, within)
            time.sleep(0.005)
            within -= 1
            return number

        assert await asyncio.gather(*(side.run("me", work, number) for number in range(10))) == list(range(10))
        assert most == 1

    async def test_viewers_take_turns(self):
        side, order = SideThread(), []
        many = [side.run("flood", order.append, f"flood {number}") for number in range(20)]
        flood = [asyncio.create_task(one) for one in many]
        await asyncio.sleep(0)
        await side.run("other", order.append, "other")
        await asyncio.gather(*flood)
        assert order.index("other") <= 2
        assert len(order) == 21

    async def test_errors_are_the_callers_and_the_next_goes_on(self):
        side = SideThread()
        with pytest.raises(ZeroDivisionError):
            await side.run("me", lambda: 1 / 0)
        assert await side.run("me", lambda: 1) == 1

    async def test_whoever_is_cancelled_holds_nobody_up(self):
        side, begun = SideThread(), []
        running = asyncio.create_task(side.run("me", time.sleep, 0.05))
        waiting = [asyncio.create_task(side.run(name, begun.append, name)) for name in ("a", "b", "c", "d")]
        await asyncio.sleep(0.01)
        for one in (running, *waiting[:3]):
            one.cancel()
        await asyncio.wait_for(waiting[3], 5)
        assert begun == ["d"]
        assert await asyncio.wait_for(side.run("me", lambda: 1), 5) == 1

    async def test_a_turn_that_was_given_and_is_not_taken_is_passed_on(self):
        side = SideThread()
        first = asyncio.create_task(side.run("me", lambda: 1))
        second = asyncio.create_task(side.run("me", lambda: 2))
        third = asyncio.create_task(side.run("me", lambda: 3))
        assert await first == 1  # the second has its turn now, and has not run yet
        second.cancel()
        assert await asyncio.wait_for(third, 5) == 3


class TestShortWork:
    async def test_one_piece_each_time_the_loop_comes_round(self):
        side, at, turns = SideThread(), [], 0
        here = threading.get_ident()

        async def tick() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        def work() -> None:
            assert threading.get_ident() == here
            at.append(turns)

        ticking = asyncio.create_task(tick())
        await asyncio.gather(*(side.run_short("me", work) for _ in range(20)))
        ticking.cancel()
        assert len(at) == len(set(at)) == 20

    async def test_alone_it_waits_for_nothing(self):
        running = SideThread().run_short("me", lambda: 1)
        with pytest.raises(StopIteration) as ended:
            running.send(None)
        assert ended.value.value == 1

    async def test_viewers_take_turns_and_errors_are_passed_on(self):
        side, order = SideThread(), []
        flood = [asyncio.create_task(side.run_short("flood", order.append, f"flood {number}")) for number in range(20)]
        await asyncio.sleep(0)
        with pytest.raises(ZeroDivisionError):
            await side.run_short("other", lambda: order.append("other") or 1 / 0)
        await asyncio.gather(*flood)
        assert order.index("other") <= 3
        assert len(order) == 21


class TestPaced:
    async def test_everything_in_order_with_turns_for_others(self):
        turns = 0

        async def tick() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        seen = []
        async for item in paced(range(10)):
            seen.append(item)
            time.sleep(0.006)  # noqa: ASYNC251  (a computation, as far as the loop can tell)
        ticking.cancel()
        assert seen == list(range(10))
        assert turns >= 9

    async def test_a_few_are_not_interrupted(self):
        assert [item async for item in paced("abc")] == ["a", "b", "c"]
