"""Who may have a connection, and who has to give one back.

Alone, a viewer may have all connections. While others wait, or did within the last seconds, a viewer has a few at most,
and reads that take long have a few slots of their own, and so have writes: what runs beyond that is stopped and runs
again later.
docs/decisions/0016-lanes-and-timeouts.md.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from crm.db.connection import NOBODY, Lane, MadeRoom, TookTooLong
from crm.db.connection_queue import FairQueue, Waiter

if TYPE_CHECKING:
    from crm.db.connection import Connection, Work

SLOW_SECONDS: Final = 0.5
_QUICK_SECONDS: Final = 0.1  # a statement that took long before did not this time
# To stop a read costs more than to wait for one that is about to end.
STOP_AFTER_SECONDS: Final = 0.05
_STRICT_SECONDS: Final = 5.0
PROGRAM: Final = 0  # the owner of what no viewer asked for
_SLOW_READS: Final = Lane.SLOW_READS


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """What one viewer may have while others wait, and how long things may take; 0 is no limit."""

    each: int = 0  # connections of one viewer
    slow: int = 0  # connections with reads that take long, and as many with writes that do
    read_seconds: float = 0  # one read of a viewer's
    mutation_read_seconds: float = 0  # what a viewer's mutation shows, which is read within its transaction
    mutation_seconds: float = 0  # a viewer's transaction that writes, from its first statement until its commit
    idle_seconds: float = 60  # a connection that nobody uses


class Lanes:
    """The connections in use, those who wait, and whose turn it is."""

    def __init__(self, size: int, limits: LaneLimits) -> None:
        self.limits = limits
        self.busy: set[Connection] = set()
        self.waiting = 0
        self.strict = False  # whether the limits hold though there may be connections left
        self._size = size
        self._each = min(limits.each, size - 1) or size
        self._reserve = size // 3  # left free, while strict, by those who have what they may have
        self._slots = min(limits.slow, size - 1) or size
        self._strict_until = 0.0
        self._granted: defaultdict[int, int] = defaultdict(int)  # not in use yet
        self._used = [0] * len(Lane)  # of the slots of each lane; the quick have no such limit
        self._queues = [FairQueue() for _ in Lane]
        self._fast_queue = self._queues[Lane.QUICK]

    # Taking and giving back

    def allows(self, owner: int, *, lane: Lane) -> bool:
        """Whether an owner may have one more, though others may come."""
        return self._may_have_more()(owner) and (not lane or self._slot_for(lane)(owner))

    def grant(self, owner: int, *, lane: Lane) -> None:
        """Count a connection as this owner's."""
        self._granted[owner] += 1
        self._used[lane] += 1

    def revoke(self, owner: int, *, lane: Lane) -> None:
        """The connection is in use now, or is not to be had after all."""
        self._granted[owner] -= 1
        if not self._granted[owner]:
            del self._granted[owner]
        self._used[lane] -= 1

    def begin(self, wire: "Connection", owner: int, work: "Work | None", now: float, *, lane: Lane) -> None:
        """A connection is put to use; what reads may be stopped, and what writes, before its commit."""
        wire.owner, wire.work, wire.lane, wire.since = owner, work, lane, now
        self.busy.add(wire)
        if lane:
            self._used[lane] += 1

    def end(self, wire: "Connection", loop: asyncio.AbstractEventLoop) -> None:
        """It is not in use any more."""
        self.busy.discard(wire)
        if wire.lane:
            self._used[wire.lane] -= 1
            if wire.work is not None and wire.stopped is None and loop.time() - wire.since < _QUICK_SECONDS:
                wire.work.slow_for = NOBODY
        wire.stopped = None

    # Waiting

    def wait(self, waiter: Waiter, now: float) -> None:
        """Get in line; reads that are known to take long make room at once."""
        self._queues[waiter.lane].add(waiter)
        self.waiting += 1
        if self._used[_SLOW_READS] > self._slots and not waiter.lane:
            self._make_room(now)

    def leave(self, waiter: Waiter) -> bool:
        """Wait no more; false if the waiter has had its turn already."""
        left = self._queues[waiter.lane].remove(waiter)
        self.waiting -= left
        return left

    def expired(self, now: float) -> list[Waiter]:
        """Those who have waited for too long, and wait no more."""
        found = [waiter for queue in self._queues for waiter in queue.expired(now)]
        self.waiting -= len(found)
        return [waiter for waiter in found if not waiter.future.done()]

    def next(self) -> Waiter | None:
        """Whose turn it is to get a connection that is free: first those who have few."""
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

    # Looking after what runs

    def look(self, now: float) -> None:
        """Note what takes long, stop reads whose time is up, and make room for those who wait."""
        for wire in self.busy:
            work = wire.work
            if work is None:
                continue
            age, lane = now - wire.since, work.slow_lane
            if age >= SLOW_SECONDS and not wire.lane:
                wire.lane, work.slow_for = lane, wire.owner
                self._used[lane] += 1
            if lane is _SLOW_READS and self.limits.read_seconds and age >= self.limits.read_seconds:
                wire.stop(TookTooLong)
        if self._fast_queue:
            self._make_room(now)
        if self.strict and now >= self._strict_until:
            self.strict = False

    def _make_room(self, now: float) -> None:
        """Stop what is beyond the limits, as many as others wait who have few; what came last goes first.

        A write is stopped once it takes long, for its work is lost; a commit is not, but nobody gets more of them now.
        """
        waiting = self._fast_queue.counts(self._has_few())
        total = sum(waiting.values())
        going = sum(wire.stopped is not None for wire in self.busy)
        for wire in self._beyond(now) if total else ():
            others = total - waiting.get(wire.owner, 0)
            if others:
                self.strict, self._strict_until = True, now + _STRICT_SECONDS
            if others > going and _may_be_stopped(wire):
                wire.stop(MadeRoom)
                going += 1

    def _beyond(self, now: float) -> "list[Connection]":
        """What is more than its owner may have, or more than there are slots for slow reads."""
        held, used, found = self._held(), self._used.copy(), []
        for wire in sorted(self.busy, key=lambda one: one.since, reverse=True):
            going = wire.stopped is not None
            if not going and (wire.lane or now - wire.since >= STOP_AFTER_SECONDS):
                crowded = wire.lane and used[wire.lane] > self._slots
                going = crowded or (wire.owner != PROGRAM and held[wire.owner] > self._each)
                if going:
                    found.append(wire)
            if going:
                held[wire.owner] -= 1
                used[wire.lane] -= 1
        return found

    def _free(self) -> int:
        """How many connections nobody has."""
        return self._size - len(self.busy) - sum(self._granted.values())

    def _held(self) -> defaultdict[int, int]:
        """How many connections each owner has."""
        held = self._granted.copy()
        for wire in self.busy:
            held[wire.owner] += 1
        return held

    def _has_few(self) -> Callable[[int], bool]:
        """Tells of an owner whether it has fewer than anybody may have."""
        held = self._held()
        return lambda owner: owner == PROGRAM or held[owner] < self._each

    def _may_have_more(self) -> Callable[[int], bool]:
        """The same, while some connections are left for others."""
        return _anybody if self._free() > self._reserve else self._has_few()

    def _slot_for(self, lane: Lane) -> Callable[[int], bool]:
        """Tells of an owner whether a slow slot is free, and not the last one for somebody who has all others."""
        used = self._used[lane]
        if used < self._slots - 1:
            return _anybody

        def is_free(owner: int) -> bool:
            mine = sum(wire.lane is lane and wire.owner == owner for wire in self.busy)
            return used < self._slots and (mine == 0 or mine < self._slots - 1)

        return is_free


def _may_be_stopped(wire: "Connection") -> bool:
    if wire.work is None:
        return False
    return wire.work.slow_lane is _SLOW_READS or (wire.undoable and wire.lane is Lane.SLOW_WRITES)


def _anybody(_: int) -> bool:
    return True
