"""A cache that admits a key on its second use, and the shares of bytes of its entries."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# The share of the bytes that newcomers may take, as a divisor.
_NEWCOMERS: Final = 16


class SecondUseCache(Generic[K, V]):
    """An LRU bounded in bytes, which admits a key on its second use: a flood of one-off keys evicts nothing.

    The newcomers of late wait for their second use in a small share of the bytes, so that it finds them; of those that
    came before, only the key's hash is remembered.
    """

    def __init__(self, max_bytes: int, remembered: int = 10_000) -> None:
        self._max_bytes = max_bytes
        self._remembered = remembered
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._newcomers: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._newcomers_bytes = 0
        self._seen: OrderedDict[int, None] = OrderedDict()
        self.bytes = 0  # of both

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The value kept for this key; a newcomer is admitted by it."""
        entry = self._entries.get(key)
        if entry is None:
            return self._admitted(key)
        self._entries.move_to_end(key)
        return entry[0]

    def _admitted(self, key: K) -> V | None:
        entry = self._newcomers.pop(key, None)
        if entry is None:
            return None
        self._newcomers_bytes -= entry[1]
        self._entries[key] = entry
        return entry[0]

    def offer(self, key: K, value: V, size: int, *, at_once: bool = False) -> None:
        """Keep this value: as a newcomer, unless the key has been seen before (or `at_once`)."""
        mark = hash(key)
        if size > self._max_bytes:
            return
        self._remove(key)
        if at_once or mark in self._seen:
            self._entries[key] = (value, size)
        else:
            self._remember(mark)
            if size * _NEWCOMERS > self._max_bytes:  # it would push out all others
                return
            self._newcomers[key] = (value, size)
            self._newcomers_bytes += size
        self.bytes += size
        self._evict()

    def _remember(self, mark: int) -> None:
        self._seen[mark] = None
        if len(self._seen) > self._remembered:
            self._seen.popitem(last=False)

    def _remove(self, key: K) -> None:
        newcomer = self._newcomers.pop(key, None)
        if newcomer is not None:
            self._newcomers_bytes -= newcomer[1]
        entry = newcomer or self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= entry[1]

    def grow(self, key: K, size: int) -> None:
        """Count so many more bytes (fewer if negative) for the entry of this key."""
        for entries in (self._entries, self._newcomers):
            entry = entries.get(key)
            if entry is not None:
                entries[key] = (entry[0], entry[1] + size)
                self.bytes += size
                self._newcomers_bytes += size if entries is self._newcomers else 0
                self._evict()
                return

    def _evict(self) -> None:
        while self._newcomers_bytes * _NEWCOMERS > self._max_bytes:
            _, (_, freed) = self._newcomers.popitem(last=False)
            self._newcomers_bytes -= freed
            self.bytes -= freed
        while self.bytes > self._max_bytes:
            _, (_, freed) = self._entries.popitem(last=False)
            self.bytes -= freed


class CacheShare:
    """The bytes of one of several objects behind a cache's key: counted with the key's entry, until it is dropped."""

    def __init__(self, grow: Callable[[int], None]) -> None:
        self._grow = grow
        self._bytes = 0
        self._dropped = False

    def __call__(self, size: int) -> None:
        """Count so many more bytes (fewer if negative)."""
        if not self._dropped:
            self._bytes += size
            self._grow(size)

    def drop(self) -> None:
        """Stop counting its bytes; a request that still uses the object may let it grow."""
        self._grow(-self._bytes)
        self._dropped = True
