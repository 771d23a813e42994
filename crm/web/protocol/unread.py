"""Answers that clients do not read: how much of them a server keeps, and who is dropped when it is more."""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Iterable
from typing import Final, Protocol

_log = logging.getLogger(__name__)
DEFAULT_MOST: Final = 128 * 1024 * 1024
# What the system takes of an answer beyond what is under way to the client; of a large one it would take MBs at once.
# All of an answer stays in memory until its last byte is sent, but only what the system has not taken can be counted.
_UNSENT: Final = 128 * 1024
# Whoever would free less is dropped after the others.
_LITTLE: Final = 64 * 1024


def limit_unsent(transport: asyncio.BaseTransport) -> None:
    """Let the system take little of what the client does not."""
    connection = transport.get_extra_info("socket")
    if connection is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)


class ReadingClient(Protocol):
    """A connection whose client has not taken everything yet."""

    def unread(self) -> int:
        """Bytes that wait for the client."""

    def stands(self, now: float) -> float:
        """Seconds that the client has taken nothing."""

    def drop(self) -> None:
        """Close at once, and keep nothing."""


class Parts:
    """Large parts of messages that connections keep: each is counted once, however many keep it."""

    def __init__(self) -> None:
        self.bytes = 0
        self._keepers: Counter[int] = Counter()  # by the part's identity
        self._kept: dict[ReadingClient, list[bytes]] = {}

    def keep(self, one: ReadingClient, parts: Iterable[bytes]) -> None:
        """A connection keeps these, too."""
        for part in parts:
            self._kept.setdefault(one, []).append(part)
            if not self._keepers[id(part)]:
                self.bytes += len(part)
            self._keepers[id(part)] += 1

    def on_abort(self, one: ReadingClient, parts: Iterable[bytes]) -> None:
        """A connection keeps these no longer."""
        kept = self._kept.get(one, [])
        for part in parts:
            place = next((place for place, other in enumerate(kept) if other is part), None)
            if place is not None:
                self._release(kept.pop(place))
        if not kept:
            self._kept.pop(one, None)

    def let_all_go(self, one: ReadingClient) -> None:
        """A connection keeps nothing any more."""
        for part in self._kept.pop(one, ()):
            self._release(part)

    def of(self, one: ReadingClient) -> int:
        """Bytes that a connection keeps, alone or with others."""
        return sum(map(len, self._kept.get(one, ())))

    def alone(self, one: ReadingClient) -> int:
        """Bytes that only this connection keeps."""
        kept = self._kept.get(one, ())
        mine = Counter(map(id, kept))
        sizes = {id(part): len(part) for part in kept}
        return sum(sizes[key] for key, times in mine.items() if self._keepers[key] == times)

    def _release(self, part: bytes) -> None:
        self._keepers[id(part)] -= 1
        if not self._keepers[id(part)]:
            del self._keepers[id(part)]
            self.bytes -= len(part)


class Unread:
    """The connections of a server that have much to send. Others are not known here, and cost nothing."""

    def __init__(self, most: int = DEFAULT_MOST) -> None:
        self.parts = Parts()
        self._most = most
        # What each has besides what is counted in `parts`.
        self._readers: dict[ReadingClient, int] = {}
        # At least what they have: clients go on reading after it was counted.
        self._total = 0

    def grew(self, one: ReadingClient) -> None:
        """A connection has more to send than before, and its client does not keep up."""
        if one not in self._readers:
            one.stands(asyncio.get_running_loop().time())  # it is from now on that its client is looked at
        size = self._own(one)
        self._total += size - self._readers.get(one, 0)
        self._readers[one] = size
        if self._is_too_much():
            self._count()
            self._make_room()

    def over(self, one: ReadingClient) -> None:
        """Its client keeps up again, or is gone."""
        self._total -= self._readers.pop(one, 0)

    def _own(self, one: ReadingClient) -> int:
        return max(0, one.unread() - self.parts.of(one))

    def _is_too_much(self) -> bool:
        return self._total + self.parts.bytes > self._most

    def _count(self) -> None:
        self._readers = {one: self._own(one) for one in self._readers}
        self._total = sum(self._readers.values())

    def _make_room(self) -> None:
        """Drop who has not read for the longest time; but first those of them whose end frees something."""
        now = asyncio.get_running_loop().time()
        longest_first = sorted(self._readers, key=lambda one: one.stands(now), reverse=True)
        for least in _LITTLE, 0:
            for one in longest_first:
                if not self._is_too_much() or len(self._readers) <= 1:
                    return
                if one in self._readers and self._readers[one] + self.parts.alone(one) >= least:
                    self._drop(one, now)

    def _drop(self, one: ReadingClient, now: float) -> None:
        _log.warning(
            "answer dropped: others wait for memory, and its client has not read for the longest time",
            extra={"unread": one.unread(), "seconds": round(one.stands(now), 1)},
        )
        self.over(one)
        self.parts.let_all_go(one)
        asyncio.get_running_loop().call_soon(one.drop)  # this may be called while it writes
