"""The state that the connections of one server share."""

from collections.abc import Callable

from uvicorn.server import ServerState

from crm.core.portions import Portions
from crm.web.protocol.bodies import Bodies
from crm.web.protocol.config import ClientLimits
from crm.web.protocol.intake import IntakeTurns
from crm.web.protocol.unread import Unread


class State(ServerState):
    """uvicorn's state, the queues and memory that connections share, and whether the server is about to stop."""

    def __init__(self, limits: ClientLimits | None = None) -> None:
        super().__init__()
        limits = limits or ClientLimits()
        self.turns = IntakeTurns()
        self.next_requests = IntakeTurns()
        self.bodies = Bodies(limits.body_bytes)
        self.unread = Unread(limits.unread_bytes)
        # Called for each new connection: others may wait to be accepted.
        self.on_connection: Callable[[], None] = lambda: None
        self.draining = False  # whether the server is about to stop
        self.portions = Portions()
        self._drained_at: float | None = None

    def drain(self, until: float) -> None:
        """Make each answer its connection's last; idle connections are closed at `until`, by the loop's clock."""
        self.draining = True
        self._drained_at = until

    def drained(self, now: float) -> bool:
        """Whether the time has passed in which idle connections may send another request."""
        return self._drained_at is not None and now >= self._drained_at
