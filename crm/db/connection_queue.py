"""Those who wait for a connection: one owner after another, and each owner's in their order."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crm.db.connection import Connection, Lane, Work


class Waiter:
    """Somebody who waits: gets a connection handed over, or None: the right to open one."""

    __slots__ = ("future", "lane", "owner", "until", "work")

    def __init__(
        self,
        future: "asyncio.Future[Connection | None]",
        owner: int,
        work: "Work | None",
        until: float,
        *,
        lane: "Lane",
    ) -> None:
        self.future = future
        self.owner = owner
        self.work = work
        self.until = until
        self.lane = lane


class FairQueue:
    """A queue in which nobody waits behind the thousand requests of another."""

    def __init__(self) -> None:
        self._owners: OrderedDict[int, deque[Waiter]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._owners)

    def counts(self, may: Callable[[int], bool]) -> dict[int, int]:
        """How many wait, for each owner that may."""
        return {owner: len(mine) for owner, mine in self._owners.items() if may(owner)}

    def add(self, waiter: Waiter) -> None:
        """Wait behind one's own, and after the others' turn."""
        mine = self._owners.get(waiter.owner)
        if mine is None:
            self._owners[waiter.owner] = deque((waiter,))
        else:
            mine.append(waiter)

    def remove(self, waiter: Waiter) -> bool:
        """Wait no more; false if the waiter has had its turn already."""
        mine = self._owners.get(waiter.owner)
        if mine is None or waiter not in mine:
            return False
        mine.remove(waiter)
        if not mine:
            del self._owners[waiter.owner]
        return True

    def expired(self, now: float) -> list[Waiter]:
        """Those whose time is up; they wait no more."""
        return [
            waiter
            for mine in list(self._owners.values())
            for waiter in list(takewhile(lambda one: one.until <= now, mine))
            if self.remove(waiter)
        ]

    def next_of_one(self) -> Waiter | None:
        """The first, if all are the same owner's: nobody else's turn has to be found."""
        if len(self._owners) != 1:
            return None
        (mine,) = self._owners.values()
        waiter = mine.popleft()
        if not mine:
            self._owners.clear()
        return waiter

    def next(self, may: Callable[[int], bool]) -> Waiter | None:
        """The first of the owner whose turn it is, of those that may; its other requests wait for the next turn."""
        for owner, mine in self._owners.items():
            if may(owner):
                waiter = mine.popleft()
                if mine:
                    self._owners.move_to_end(owner)
                else:
                    del self._owners[owner]
                return waiter
        return None
