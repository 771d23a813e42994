"""Memory for bodies of requests that are not answered yet: a limit, and the requests refused beyond it."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Final

DEFAULT_MOST: Final = 64 * 1024 * 1024
# A body of this size costs no more than its connection, and is not counted.
SMALL: Final = 16 * 1024
# The key in the `state` of a request's scope under which the application sets the request's user.
OWNER: Final = "owner"


@dataclass(eq=False, slots=True)
class Body:
    """The received bytes of a request's body."""

    scope: Any
    # Answers the request with a refusal, and closes its connection.
    refuse: Callable[[], None]
    owner: Hashable = None
    size: int = 0


@dataclass(slots=True)
class _Share:
    """The bytes of one user's bodies."""

    size: int = 0
    # The bodies that are still being received, the oldest first.
    coming: dict[Body, None] = field(default_factory=dict)

    def oldest(self) -> Body:
        """The body that has been received for the longest time."""
        return next(iter(self.coming))


class Bodies:
    """The larger bodies of a server, by user. One user has at most half of the room."""

    def __init__(self, most: int = DEFAULT_MOST) -> None:
        self._most = most
        self._total = 0
        self._shares: dict[Hashable, _Share] = {}

    def grew(self, body: Body, size: int) -> bool:
        """Count a growing body, and refuse others beyond the limit; False if this body itself is too much."""
        share = self._share_of(body)
        share.coming[body] = None
        self._add(share, body, size - body.size)
        while share.size > self._most // 2 and share.size > share.oldest().size and body in share.coming:
            self._refuse(share, body)
        while self._total > self._most and self._total > body.size and body in share.coming:
            self._refuse(self._greediest(), body)
        return body in share.coming

    def whole(self, body: Body, size: int) -> None:
        """Count a complete body, which is not refused any more."""
        share = self._share_of(body)
        share.coming.pop(body, None)
        self._add(share, body, size - body.size)

    def over(self, body: Body) -> None:
        """Count a body no longer: its request was answered or refused."""
        share = self._shares.get(body.owner)
        if share is not None:
            share.coming.pop(body, None)
            self._add(share, body, -body.size)
            if not share.size and not share.coming:
                del self._shares[body.owner]

    def _share_of(self, body: Body) -> _Share:
        """The share of the request's user, whom the application sets after the first bytes came."""
        owner = body.scope["state"].get(OWNER)
        if owner != body.owner:
            size = body.size
            self.over(body)
            body.owner = owner
            self._add(self._shares.setdefault(owner, _Share()), body, size)
        return self._shares.setdefault(owner, _Share())

    def _add(self, share: _Share, body: Body, size: int) -> None:
        body.size += size
        share.size += size
        self._total += size

    def _greediest(self) -> _Share:
        """The largest share of a user with bodies that are still being received."""
        return max((share for share in self._shares.values() if share.coming), key=lambda share: share.size)

    def _refuse(self, share: _Share, growing: Body) -> None:
        """Refuse the oldest body: a well-behaved client would have sent it by now."""
        oldest = share.oldest()
        self.over(oldest)
        if oldest is not growing:
            oldest.refuse()
