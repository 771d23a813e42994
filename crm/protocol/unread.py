"""Answers that clients do not read: how much of them a server keeps, and who is dropped when it is more."""

import asyncio
import logging
from typing import Final, Protocol

_log = logging.getLogger(__name__)
DEFAULT_MOST: Final = 128 * 1024 * 1024


class Reader(Protocol):
    """A connection whose client has not taken everything yet."""

    def unread(self) -> int:
        """Bytes that wait for the client."""

    def stands(self, now: float) -> float:
        """Seconds that the client has taken nothing."""

    def drop(self) -> None:
        """Close at once, and keep nothing."""


class Unread:
    """The connections of a server that have much to send. Others are not known here, and cost nothing."""

    def __init__(self, most: int = DEFAULT_MOST) -> None:
        self._most = most
        self._readers: dict[Reader, int] = {}
        # At least what they have: clients go on reading after it was counted.
        self._total = 0

    def grew(self, one: Reader) -> None:
        """A connection has more to send than before, and its client does not keep up."""
        if one not in self._readers:
            one.stands(asyncio.get_running_loop().time())  # it is from now on that its client is looked at
        size = one.unread()
        self._total += size - self._readers.get(one, 0)
        self._readers[one] = size
        if self._total > self._most:
            self._count()
            self._make_room()

    def over(self, one: Reader) -> None:
        """Its client keeps up again, or is gone."""
        self._total -= self._readers.pop(one, 0)

    def _count(self) -> None:
        self._readers = {one: one.unread() for one in self._readers}
        self._total = sum(self._readers.values())

    def _make_room(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._total > self._most and len(self._readers) > 1:
            longest = max(self._readers, key=lambda one: one.stands(now))  # of equals the first
            _log.warning(
                "answer dropped: others wait for memory, and its client has not read for the longest time",
                extra={"unread": self._readers[longest], "seconds": round(longest.stands(now), 1)},
            )
            self.over(longest)
            loop.call_soon(longest.drop)  # this may be called while it writes
