"""A dictionary that does not grow beyond its bound."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedDict(OrderedDict[K, V]):
    """A dictionary of `most` entries: beyond them the oldest entry is dropped. Reading costs as much as in any dict."""

    __slots__ = ("_most", "_on_drop")

    def __init__(self, most: int, on_drop: Callable[[V], Any] | None = None) -> None:
        super().__init__()
        self._most = most
        self._on_drop = on_drop

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        if len(self) > self._most:
            _, dropped = self.popitem(last=False)
            if self._on_drop is not None:
                self._on_drop(dropped)
