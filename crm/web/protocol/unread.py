"""Memory for answers that clients do not read: a limit for the server, and the clients dropped beyond it."""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Iterable
from typing import Final, Protocol

_log = logging.getLogger(__name__)
DEFAULT_MOST: Final = 64 * 1024 * 1024
# The unsent bytes that the system buffers; of a large answer it would take MBs at once. All of an answer stays in
# memory until its last byte is sent; how much of it the system has taken is not told, but it is so much at most.
UNSENT: Final = 128 * 1024
# A client that would free less is dropped after the others.
_LITTLE: Final = 64 * 1024


def limit_unsent(listener: socket.socket) -> None:
    """Limit what the system buffers of the answers on the connections that will be accepted."""
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)


class ReadingClient(Protocol):
    """A connection whose client has not read everything yet."""

    def unread(self) -> int:
        """The number of bytes that wait for the client."""

    def stands(self, now: float) -> float:
        """The seconds for which the client has read nothing."""

    def drop(self) -> None:
        """Close the connection at once, and free its memory."""


class Parts:
    """Large parts of messages that connections keep: each is counted once, however many keep it."""

    def __init__(self) -> None:
        self.bytes = 0
        self._keepers: Counter[int] = Counter()  # by the part's identity
        self._kept: dict[ReadingClient, list[bytes]] = {}

    def keep(self, client: ReadingClient, parts: Iterable[bytes]) -> None:
        """Count parts that a connection keeps."""
        for part in parts:
            self._kept.setdefault(client, []).append(part)
            if not self._keepers[id(part)]:
                self.bytes += len(part)
            self._keepers[id(part)] += 1

    def release(self, client: ReadingClient, parts: Iterable[bytes]) -> None:
        """Count parts no longer for a connection."""
        kept = self._kept.get(client, [])
        for part in parts:
            index = next((index for index, other in enumerate(kept) if other is part), None)
            if index is not None:
                self._release_part(kept.pop(index))
        if not kept:
            self._kept.pop(client, None)

    def release_all(self, client: ReadingClient) -> None:
        """Count no part any longer for a connection."""
        for part in self._kept.pop(client, ()):
            self._release_part(part)

    def of(self, client: ReadingClient) -> int:
        """The bytes that a connection keeps, alone or with others."""
        return sum(map(len, self._kept.get(client, ())))

    def alone(self, client: ReadingClient) -> int:
        """The bytes that only this connection keeps."""
        kept = self._kept.get(client, ())
        mine = Counter(map(id, kept))
        sizes = {id(part): len(part) for part in kept}
        return sum(sizes[key] for key, times in mine.items() if self._keepers[key] == times)

    def _release_part(self, part: bytes) -> None:
        self._keepers[id(part)] -= 1
        if not self._keepers[id(part)]:
            del self._keepers[id(part)]
            self.bytes -= len(part)


class Unread:
    """The connections of a server that have much to send. Others are not registered, and cost nothing."""

    def __init__(self, most: int = DEFAULT_MOST) -> None:
        self.parts = Parts()
        self._most = most
        # The unread bytes of each client, without those counted in `parts`.
        self._readers: dict[ReadingClient, int] = {}
        # At least the sum of them: clients go on reading after they were counted.
        self._total = 0

    def grew(self, client: ReadingClient) -> None:
        """Count a connection that has more to send than before, since its client does not keep up."""
        if client not in self._readers:
            client.stands(asyncio.get_running_loop().time())  # starts the measurement of its client's stall
        size = self._own(client)
        self._total += size - self._readers.get(client, 0)
        self._readers[client] = size
        if self._is_too_much():
            self._count()
            self._make_room()

    def over(self, client: ReadingClient) -> None:
        """Count a connection no longer: its client keeps up again, or is gone."""
        self._total -= self._readers.pop(client, 0)

    def _own(self, client: ReadingClient) -> int:
        return max(0, client.unread() - self.parts.of(client))

    def _is_too_much(self) -> bool:
        return self._total + self.parts.bytes > self._most

    def _count(self) -> None:
        self._readers = {client: self._own(client) for client in self._readers}
        self._total = sum(self._readers.values())

    def _make_room(self) -> None:
        """Drop the clients that have not read for the longest time; first those whose end frees much memory."""
        now = asyncio.get_running_loop().time()
        longest_first = sorted(self._readers, key=lambda client: client.stands(now), reverse=True)
        for least in _LITTLE, 0:
            for client in longest_first:
                if not self._is_too_much() or len(self._readers) <= 1:
                    return
                if client in self._readers and self._readers[client] + self.parts.alone(client) >= least:
                    self._drop(client, now)

    def _drop(self, client: ReadingClient, now: float) -> None:
        _log.warning(
            "answer dropped: others wait for memory, and its client has not read for the longest time",
            extra={"unread": client.unread(), "seconds": round(client.stands(now), 1)},
        )
        self.over(client)
        self.parts.release_all(client)
        asyncio.get_running_loop().call_soon(client.drop)  # this may be called while it writes
