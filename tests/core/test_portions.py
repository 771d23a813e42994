"""What goes to many at once is handed out bit by bit, in order, and nobody is forgotten."""

import asyncio

import pytest

from crm.core.portions import News, Portions

KIB = 1024
MANY = 5000
# In one turn; a small message counts as 2 KiB.
MOST_MESSAGES = 300
MOST_BYTES = 1024 * KIB


class Handed:
    """What was handed out, and the most of it in one turn of the loop."""

    def __init__(self):
        self.order = []
        self.most = 0
        self._task = asyncio.create_task(self._watch())

    async def _watch(self):
        before = 0
        while True:
            await asyncio.sleep(0)
            self.most = max(self.most, len(self.order) - before)
            before = len(self.order)

    def end(self):
        self._task.cancel()
        return self.most


async def followers(portions, news, handed, count, size):
    async def follow(number):
        its_round = await news.wait()
        if its_round != portions.round:
            await portions.turn(size)
        handed.order.append(number)

    tasks = [asyncio.create_task(follow(number)) for number in range(count)]
    await asyncio.sleep(0)
    return tasks


@pytest.mark.parametrize(("size", "most"), [(10, MOST_MESSAGES), (100 * KIB, MOST_BYTES // (100 * KIB)), (10**7, 2)])
async def test_news_reach_some_followers_in_each_turn(size, most):
    portions = Portions()
    news, handed = News(portions), Handed()
    tasks = await followers(portions, news, handed, MANY, size)
    news.tell(size)
    await asyncio.wait_for(asyncio.gather(*tasks), 20)
    assert handed.order == list(range(MANY))
    assert 0 < handed.end() <= most


async def test_messages_of_one_follower_come_bit_by_bit_too():
    portions, handed = Portions(), Handed()
    for number in range(MANY):
        await portions.turn(10)
        handed.order.append(number)
    assert 0 < handed.end() <= MOST_MESSAGES


async def test_who_has_left_costs_nobody_a_turn():
    portions = Portions()
    news, handed = News(portions), Handed()
    tasks = await followers(portions, news, handed, 100, 10**7)
    news.tell(10**7)
    for task in tasks[:99]:
        task.cancel()
    turns = 0
    while not tasks[99].done():
        await asyncio.sleep(0)
        turns += 1
    assert handed.order == [99]
    assert turns < 20


async def test_what_is_to_be_done_then_is_done_after_all_of_them():
    portions = Portions()
    news, handed = News(portions), Handed()
    await followers(portions, news, handed, 1000, 10)
    news.tell(10)
    portions.then(lambda: handed.order.append("then"))
    await followers(portions, news, handed, 5, 10)
    news.tell(10)
    await asyncio.wait_for(portions.quiet(), 20)
    await asyncio.sleep(0.05)
    assert handed.order == [*range(1000), "then", *range(5)]
