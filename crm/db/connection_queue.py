"""The queue for connections: owners take turns, and each owner's waiters are served in order."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crm.db.connection import PostgresConnection
    from crm.db.statement import Lane, Work


class Waiter:
    """A request that waits for a connection: its future gets one, or None for the right to open one."""

    __slots__ = ("future", "lane", "owner", "until", "work")

    def __init__(
        self,
        future: "asyncio.Future[PostgresConnection | None]",
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
    """A queue in which owners take turns, so that no owner waits behind another's thousand requests."""

    def __init__(self) -> None:
        self._owners: OrderedDict[int, deque[Waiter]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._owners)

    def counts(self, is_allowed: Callable[[int], bool]) -> dict[int, int]:
        """The number of waiters of each owner that is allowed."""
        return {owner: len(waiters) for owner, waiters in self._owners.items() if is_allowed(owner)}

    def add(self, waiter: Waiter) -> None:
        """Add a waiter behind its owner's others; a new owner comes after the others' turns."""
        waiters = self._owners.get(waiter.owner)
        if waiters is None:
            self._owners[waiter.owner] = deque((waiter,))
        else:
            waiters.append(waiter)

    def remove(self, waiter: Waiter) -> bool:
        """Remove a waiter; False if it has had its turn already."""
        waiters = self._owners.get(waiter.owner)
        if waiters is None or waiter not in waiters:
            return False
        waiters.remove(waiter)
        if not waiters:
            del self._owners[waiter.owner]
        return True

    def expired(self, now: float) -> list[Waiter]:
        """Remove the waiters whose time is up, and return them."""
        return [
            waiter
            for waiters in list(self._owners.values())
            for waiter in list(takewhile(lambda waiter: waiter.until <= now, waiters))
            if self.remove(waiter)
        ]

    def next_of_one(self) -> Waiter | None:
        """The first waiter, if all are the same owner's, so that no turn has to be determined."""
        if len(self._owners) != 1:
            return None
        (waiters,) = self._owners.values()
        waiter = waiters.popleft()
        if not waiters:
            self._owners.clear()
        return waiter

    def next(self, is_allowed: Callable[[int], bool]) -> Waiter | None:
        """The first waiter of the next owner that is allowed; the owner's other waiters wait for its next turn."""
        for owner, waiters in self._owners.items():
            if is_allowed(owner):
                waiter = waiters.popleft()
                if waiters:
                    self._owners.move_to_end(owner)
                else:
                    del self._owners[owner]
                return waiter
        return None
