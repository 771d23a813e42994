"""Lanes: how many connections each viewer may have, and whose statements are stopped to free some.

Alone, a viewer may have all connections. While others wait, or did within the last seconds, a viewer has a few at most;
reads that take long have a few slots of their own, and so have writes. Statements beyond that are stopped and run
again later.
docs/decisions/0016-lanes-and-timeouts.md.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from crm.db.connection import MadeRoom, TookTooLong
from crm.db.connection_queue import FairQueue, Waiter
from crm.db.statement import NOBODY, Lane

if TYPE_CHECKING:
    from crm.db.connection import PostgresConnection
    from crm.db.statement import Work

SLOW_SECONDS: Final = 0.5
_QUICK_SECONDS: Final = 0.1  # a statement that ends sooner is no longer taken for a slow one
# To stop a read costs more than to wait for a read that is about to end.
STOP_AFTER_SECONDS: Final = 0.05
_STRICT_SECONDS: Final = 5.0
PROGRAM: Final = 0  # the owner of the program's own statements, which no viewer asked for
_SLOW_READS: Final = Lane.SLOW_READS


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """The connections that one viewer may have while others wait, and time limits; 0 is no limit."""

    each: int = 0  # connections of one viewer
    slow: int = 0  # connections with reads that take long, and as many with writes that do
    read_seconds: float = 0  # one read of a viewer's
    mutation_read_seconds: float = 0  # what a viewer's mutation shows, which is read within its transaction
    mutation_seconds: float = 0  # a viewer's transaction that writes, from its first statement until its commit
    idle_seconds: float = 60  # a connection that nobody uses


class Lanes:
    """The connections in use, the waiters, and the rules by which the next waiter is chosen."""

    def __init__(self, size: int, limits: LaneLimits) -> None:
        self.limits = limits
        self.busy: set[PostgresConnection] = set()
        self.waiting = 0
        self.strict = False  # whether the limits hold although connections may be left
        self._size = size
        self._each = min(limits.each, size - 1) or size
        self._reserve = size // 3  # left free, while strict, by owners that have reached their limit
        self._slots = min(limits.slow, size - 1) or size
        self._strict_until = 0.0
        self._granted: defaultdict[int, int] = defaultdict(int)  # not in use yet
        self._used = [0] * len(Lane)  # slots in use of each lane; the quick lane has no limit
        self._queues = [FairQueue() for _ in Lane]
        self._fast_queue = self._queues[Lane.QUICK]

    # Taking and giving back

    def allows(self, owner: int, *, lane: Lane) -> bool:
        """Whether an owner may have one more connection while the limits hold."""
        return self._may_have_more()(owner) and (not lane or self._slot_for(lane)(owner))

    def grant(self, owner: int, *, lane: Lane) -> None:
        """Count a connection as this owner's."""
        self._granted[owner] += 1
        self._used[lane] += 1

    def revoke(self, owner: int, *, lane: Lane) -> None:
        """Count a granted connection no longer: it is in use now, or could not be opened."""
        self._granted[owner] -= 1
        if not self._granted[owner]:
            del self._granted[owner]
        self._used[lane] -= 1

    def begin(
        self, connection: "PostgresConnection", owner: int, work: "Work | None", now: float, *, lane: Lane
    ) -> None:
        """Count a connection as in use. Reads may be stopped, and writes before their commit."""
        connection.owner, connection.work, connection.lane, connection.since = owner, work, lane, now
        self.busy.add(connection)
        if lane:
            self._used[lane] += 1

    def end(self, connection: "PostgresConnection", loop: asyncio.AbstractEventLoop) -> None:
        """Count a connection as no longer in use."""
        self.busy.discard(connection)
        if connection.lane:
            self._used[connection.lane] -= 1
            if (
                connection.work is not None
                and connection.stopped is None
                and loop.time() - connection.since < _QUICK_SECONDS
            ):
                connection.work.slow_for = NOBODY
        connection.stopped = None

    # Waiting

    def wait(self, waiter: Waiter, now: float) -> None:
        """Queue a waiter; reads that are known to take long are stopped for it at once."""
        self._queues[waiter.lane].add(waiter)
        self.waiting += 1
        if self._used[_SLOW_READS] > self._slots and not waiter.lane:
            self._make_room(now)

    def leave(self, waiter: Waiter) -> bool:
        """Remove a waiter from its queue; False if it has had its turn already."""
        left = self._queues[waiter.lane].remove(waiter)
        self.waiting -= left
        return left

    def expired(self, now: float) -> list[Waiter]:
        """Remove the waiters that have waited for too long, and return them."""
        expired = [waiter for queue in self._queues for waiter in queue.expired(now)]
        self.waiting -= len(expired)
        return [waiter for waiter in expired if not waiter.future.done()]

    def next(self) -> Waiter | None:
        """The next waiter for a free connection: first owners that have few connections."""
        while True:
            waiter = self._next()
            if waiter is None:
                return None
            self.waiting -= 1
            if not waiter.future.done():  # it was cancelled just now
                return waiter

    def _next(self) -> Waiter | None:
        if not self.strict and (waiter := self._fast_queue.next_of_one()) is not None:
            return waiter
        waiter = self._fast_queue.next(self._has_few())
        if waiter is None and (not self.strict or self._free() > self._reserve):
            waiter = self._fast_queue.next(_anybody)
        for lane in (Lane.SLOW_WRITES, _SLOW_READS) if waiter is None else ():
            waiter = waiter or self._queues[lane].next(self._slot_for(lane) if self.strict else _anybody)
        return waiter

    # Watching the connections in use

    def look(self, now: float) -> None:
        """Note statements that take long, stop reads whose time is up, and make room for waiters."""
        for connection in self.busy:
            work = connection.work
            if work is None:
                continue
            age, lane = now - connection.since, work.slow_lane
            if age >= SLOW_SECONDS and not connection.lane:
                connection.lane, work.slow_for = lane, connection.owner
                self._used[lane] += 1
            if lane is _SLOW_READS and self.limits.read_seconds and age >= self.limits.read_seconds:
                connection.stop(TookTooLong)
        if self._fast_queue:
            self._make_room(now)
        if self._queues[_SLOW_READS]:
            self._share_slots(now)
        if self.strict and now >= self._strict_until:
            self.strict = False

    def _make_room(self, now: float) -> None:
        """Stop statements beyond the limits, the latest first, as many as there are waiters of owners that have few.

        A write is stopped only once it takes long, since its work is lost. A commit is never stopped.
        """
        waiting = self._fast_queue.counts(self._has_few())
        total = sum(waiting.values())
        ending = sum(connection.stopped is not None for connection in self.busy)
        for connection in self._beyond(now) if total else ():
            others = total - waiting.get(connection.owner, 0)
            if others:
                self.strict, self._strict_until = True, now + _STRICT_SECONDS
            if others > ending and _may_be_stopped(connection):
                connection.stop(MadeRoom)
                ending += 1

    def _share_slots(self, now: float) -> None:
        """Free a slot for an owner who waits and has none: stop the latest slow read of the one who has most."""
        running = [connection for connection in self.busy if connection.lane is _SLOW_READS and not connection.stopped]
        held = Counter(connection.owner for connection in running)
        if not self._queues[_SLOW_READS].counts(lambda owner: not held[owner]):
            return
        self.strict, self._strict_until = True, now + _STRICT_SECONDS
        for connection in sorted(running, key=lambda connection: connection.since, reverse=True):
            has_most = held[connection.owner] == max(held.values()) > 1
            if held.total() >= self._slots and has_most and _may_be_stopped(connection):
                connection.stop(MadeRoom)
                held[connection.owner] -= 1

    def _beyond(self, now: float) -> "list[PostgresConnection]":
        """The connections beyond their owner's limit, or beyond the slots of their lane."""
        held, used, excess = self._held(), self._used.copy(), []
        for connection in sorted(self.busy, key=lambda connection: connection.since, reverse=True):
            is_ending = connection.stopped is not None
            if not is_ending and (connection.lane or now - connection.since >= STOP_AFTER_SECONDS):
                crowded = connection.lane and used[connection.lane] > self._slots
                is_ending = crowded or (connection.owner != PROGRAM and held[connection.owner] > self._each)
                if is_ending:
                    excess.append(connection)
            if is_ending:
                held[connection.owner] -= 1
                used[connection.lane] -= 1
        return excess

    def _free(self) -> int:
        """The number of connections that no owner has."""
        return self._size - len(self.busy) - sum(self._granted.values())

    def _held(self) -> defaultdict[int, int]:
        """The number of connections of each owner."""
        held = self._granted.copy()
        for connection in self.busy:
            held[connection.owner] += 1
        return held

    def _has_few(self) -> Callable[[int], bool]:
        """A test whether an owner has fewer connections than the limit of one owner."""
        held = self._held()
        return lambda owner: owner == PROGRAM or held[owner] < self._each

    def _may_have_more(self) -> Callable[[int], bool]:
        """A test whether an owner may have one more: any owner, while enough connections are left for others."""
        return _anybody if self._free() > self._reserve else self._has_few()

    def _slot_for(self, lane: Lane) -> Callable[[int], bool]:
        """A test whether a slot of a lane is free for an owner; the last one is not for an owner of all others."""
        used = self._used[lane]
        if used < self._slots - 1:
            return _anybody

        def is_free(owner: int) -> bool:
            mine = sum(connection.lane is lane and connection.owner == owner for connection in self.busy)
            return used < self._slots and (mine == 0 or mine < self._slots - 1)

        return is_free


def _may_be_stopped(connection: "PostgresConnection") -> bool:
    if connection.work is None:
        return False
    return connection.work.slow_lane is _SLOW_READS or (connection.undoable and connection.lane is Lane.SLOW_WRITES)


def _anybody(_: int) -> bool:
    return True
