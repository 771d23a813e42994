"""Who may have a connection, and who has to give one back.

Alone, a viewer may have all connections. While others wait, or did within the last seconds, a viewer has a few at most,
and reads that take long have a few slots of their own: what runs beyond that is stopped and runs again later.
docs/decisions/0016-lanes-and-timeouts.md.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from crm.core.queue import FairQueue, Waiter
from crm.core.wire import MadeRoom, TookTooLong

if TYPE_CHECKING:
    from crm.core.wire import Statement, Wire

SLOW_SECONDS: Final = 0.5
_QUICK_SECONDS: Final = 0.1  # a statement that took long before did not this time
# To stop a read costs more than to wait for one that is about to end.
STOP_AFTER_SECONDS: Final = 0.05
_STRICT_SECONDS: Final = 5.0
PROGRAM: Final = 0  # the owner of what no viewer asked for
_NEVER: Final = -1


@dataclass(frozen=True, slots=True)
class Limits:
    """What one viewer may have while others wait, and how long things may take; 0 is no limit."""

    each: int = 0  # connections of one viewer
    slow: int = 0  # connections with reads that take long
    read_seconds: float = 0  # one read of a viewer's
    mutation_read_seconds: float = 0  # what a viewer's mutation shows, which is read within its transaction
    idle_seconds: float = 60  # a connection that nobody uses


class Lanes:
    """The connections in use, those who wait, and whose turn it is."""

    def __init__(self, size: int, limits: Limits) -> None:
        self.limits = limits
        self.busy: set[Wire] = set()
        self.waiting = 0
        self.strict = False  # whether the limits hold though there may be connections left
        self._size = size
        self._each = min(limits.each, size - 1) or size
        self._reserve = size // 3  # left free, while strict, by those who have what they may have
        self._slots = min(limits.slow, size - 1) or size
        self._strict_until = 0.0
        self._granted: defaultdict[int, int] = defaultdict(int)  # not in use yet
        self._slow = 0
        self._fast_queue = FairQueue()
        self._slow_queue = FairQueue()

    # Taking and giving back

    def allows(self, owner: int, *, slow: bool) -> bool:
        """Whether an owner may have one more, though others may come."""
        return self._may_have_more()(owner) and (not slow or self._slot_for(owner))

    def grant(self, owner: int, *, slow: bool) -> None:
        """Count a connection as this owner's."""
        self._granted[owner] += 1
        self._slow += slow

    def revoke(self, owner: int, *, slow: bool) -> None:
        """The connection is in use now, or is not to be had after all."""
        self._granted[owner] -= 1
        if not self._granted[owner]:
            del self._granted[owner]
        self._slow -= slow

    def begin(self, wire: "Wire", owner: int, read: "Statement | None", now: float, *, slow: bool) -> None:
        """A connection is put to use; what reads may be stopped."""
        wire.owner, wire.read, wire.slow, wire.since = owner, read, slow, now
        self.busy.add(wire)
        if slow:
            self._slow += 1

    def end(self, wire: "Wire", loop: asyncio.AbstractEventLoop) -> None:
        """It is not in use any more."""
        self.busy.discard(wire)
        if wire.slow:
            self._slow -= 1
            if wire.read is not None and wire.stopped is None and loop.time() - wire.since < _QUICK_SECONDS:
                wire.read.slow_for = _NEVER
        wire.stopped = None

    # Waiting

    def wait(self, waiter: Waiter, now: float) -> None:
        """Get in line; reads that are known to take long make room at once."""
        (self._slow_queue if waiter.slow else self._fast_queue).add(waiter)
        self.waiting += 1
        if self._slow > self._slots and not waiter.slow:
            self._make_room(now)

    def leave(self, waiter: Waiter) -> bool:
        """Wait no more; false if the waiter has had its turn already."""
        left = (self._slow_queue if waiter.slow else self._fast_queue).remove(waiter)
        self.waiting -= left
        return left

    def expired(self, now: float) -> list[Waiter]:
        """Those who have waited for too long, and wait no more."""
        found = self._fast_queue.expired(now) + self._slow_queue.expired(now)
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
        if waiter is None:
            waiter = self._slow_queue.next(self._slot_for if self.strict else _anybody)
        return waiter

    # Looking after what runs

    def look(self, now: float) -> None:
        """Note which reads take long, stop those whose time is up, and make room for those who wait."""
        for wire in self.busy:
            if wire.read is None:
                continue
            age = now - wire.since
            if age >= SLOW_SECONDS and not wire.slow:
                wire.slow = True
                wire.read.slow_for = wire.owner
                self._slow += 1
            if self.limits.read_seconds and age >= self.limits.read_seconds:
                wire.stop(TookTooLong)
        if self._fast_queue:
            self._make_room(now)
        if self.strict and now >= self._strict_until:
            self.strict = False

    def _make_room(self, now: float) -> None:
        """Stop reads beyond the limits, as many as others wait who have few; what came last goes first.

        Writes are not stopped, but nobody gets more of them now.
        """
        waiting = self._fast_queue.counts(self._has_few())
        total = sum(waiting.values())
        going = sum(wire.stopped is not None for wire in self.busy)
        for wire in self._beyond(now) if total else ():
            others = total - waiting.get(wire.owner, 0)
            if others:
                self.strict, self._strict_until = True, now + _STRICT_SECONDS
            if wire.read is not None and others > going:
                wire.stop(MadeRoom)
                going += 1

    def _beyond(self, now: float) -> "list[Wire]":
        """What is more than its owner may have, or more than there are slots for slow reads."""
        held, slow, found = self._held(), self._slow, []
        for wire in sorted(self.busy, key=lambda one: one.since, reverse=True):
            going = wire.stopped is not None
            if not going and (wire.slow or now - wire.since >= STOP_AFTER_SECONDS):
                going = (wire.owner != PROGRAM and held[wire.owner] > self._each) or (wire.slow and slow > self._slots)
                if going:
                    found.append(wire)
            if going:
                held[wire.owner] -= 1
                slow -= wire.slow
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

    def _slot_for(self, owner: int) -> bool:
        """A slow slot is free, and not the last one for somebody who has all others."""
        if self._slow < self._slots - 1:
            return True
        mine = sum(wire.slow and wire.owner == owner for wire in self.busy)
        return self._slow < self._slots and (mine == 0 or mine < self._slots - 1)


def _anybody(_: int) -> bool:
    return True
