"""A cache that admits a key on its second use, and the shares of bytes of its entries."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SecondUseCache(Generic[K, V]):
    """An LRU bounded in bytes, which admits a key on its second use: a flood of one-off keys evicts nothing."""

    def __init__(self, max_bytes: int, remembered: int = 10_000) -> None:
        self._max_bytes = max_bytes
        self._remembered = remembered
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._seen: OrderedDict[int, None] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The value kept for this key."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def offer(self, key: K, value: V, size: int, *, at_once: bool = False) -> None:
        """Keep this value, if the key has been seen before (or `at_once`)."""
        mark = hash(key)
        if not at_once and mark not in self._seen:
            self._seen[mark] = None
            if len(self._seen) > self._remembered:
                self._seen.popitem(last=False)
            return
        if size > self._max_bytes:
            return
        _, replaced = self._entries.pop(key, (None, 0))
        self._entries[key] = (value, size)
        self.bytes += size - replaced
        self._evict()

    def grow(self, key: K, size: int) -> None:
        """Count so many more bytes (fewer if negative) for the entry of this key."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries[key] = (entry[0], entry[1] + size)
            self.bytes += size
            self._evict()

    def _evict(self) -> None:
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
