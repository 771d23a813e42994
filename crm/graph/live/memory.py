"""The memory of a process's subscriptions, with a limit for all of them and for each user."""

from collections import Counter
from typing import Final

from crm.core import errors
from crm.core.identity import Viewer

# The memory of a subscription that shares nothing (syntax tree, plan, statement): measured with documents of 110 and
# of 14,400 characters, and rounded up.
_BASE: Final = 15_000
_PER_CHARACTER: Final = 200
_PER_CHARACTER_OF_VARIABLES: Final = 15


def estimate(text: str, variables: bytes) -> int:
    """About the bytes that a subscription takes, by its document and its variables as JSON."""
    return _BASE + _PER_CHARACTER * len(text) + _PER_CHARACTER_OF_VARIABLES * len(variables)


class SubscriptionMemory:
    """Counts the bytes of subscriptions, by user. One user may have half of all bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_user: Counter[object] = Counter()

    def take(self, viewer: Viewer, size: int) -> None:
        """Count a subscription's bytes; an error if they are too many."""
        if self._by_user[viewer.id] + size > self._most // 2:
            message = (
                "Your subscriptions take as much memory as one user may have. Follow fewer different ones, or shorten "
                "their documents; those with the same document and variables count once."
            )
            raise errors.TooComplex(message, what="subscriptions", limit=self._most // 2)
        if self._by_user.total() + size > self._most:
            message = "The subscriptions of all users take as much memory as this server gives them; try again later."
            raise errors.Unavailable(message)
        self._by_user[viewer.id] += size

    def give_back(self, viewer: Viewer, size: int) -> None:
        """Count a subscription's bytes no longer."""
        self._by_user[viewer.id] -= size
        if not self._by_user[viewer.id]:
            del self._by_user[viewer.id]
