"""What a worker does, as the domains declare it in their `jobs.py`; `crm/background.py` puts it together."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Concatenate, Final, ParamSpec, TypeVar

from crm.ai.gateway import Ai
from crm.core.identity import PROGRAM, Viewer
from crm.core.settings import Settings
from crm.db.database import Database
from crm.db.event_feed import EventFeed
from crm.db.service import Service
from crm.db.unit_of_work import UnitOfWork
from crm.db.workflow import CommitGuard, Writer, write_of
from crm.jobs.queue import DEFAULT_QUEUE

T = TypeVar("T")
P = ParamSpec("P")
S = TypeVar("S", bound=Service)
MOST_RETRIES: Final = 10


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What background work works with. Each `write` is one transaction."""

    database: Database
    feed: EventFeed
    settings: Settings
    ai: Ai
    # Of work that may lose the right to write: each transaction asks before it commits.
    commit_guard: CommitGuard | None = None

    async def write(
        self, method: Callable[Concatenate[S, P], Awaitable[T]], *arguments: P.args, **keywords: P.kwargs
    ) -> T:
        """Call a service's method in a transaction of the program's own; what it returned."""
        return await self.writer().run(write_of(method, *arguments, **keywords))

    def writer(self, viewer: Viewer = PROGRAM) -> Writer:
        """Runs writes as somebody; as the program itself unless said otherwise."""
        return Writer(self.database, viewer, self.feed.announce, self.commit_guard)


class RunLater(Exception):
    """Not now: run this job again after so many seconds. It counts as one of its retries."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"again in {seconds} s")


@dataclass(frozen=True, slots=True)
class Handler:
    """Runs the jobs of a name. Called with the shop and the job's arguments; called twice if its worker dies."""

    name: str
    run: Callable[..., Awaitable[None]]
    queue: str = DEFAULT_QUEUE
    retries: int = 3
    # Six fields, the last is seconds, in UTC: "0 3 * * * 0" is at three o'clock. `run` then takes no arguments.
    cron: str | None = None
    # What runs goes on when PostgreSQL was away and the queue is taken up again, and its job is handed out once more:
    # for those who keep a lease, so that the second one finds the first at work.
    survives_requeue: bool = False


@dataclass(frozen=True, slots=True)
class ConsumedBatch:
    """One event, as a follower sees it."""

    xid: int
    id: int
    type: str
    entity: str
    entity_id: str
    lead_id: int | None
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class EventConsumer:
    """Does something about every event of some types, once, in the stream's order.

    `work` gets a batch of events and the transaction in which the follower's place in the stream advances: either both
    are saved or neither is. It is short and calls nobody outside the database, as every transaction.
    """

    name: str
    types: Sequence[str]
    work: Callable[[UnitOfWork, Sequence[ConsumedBatch]], Awaitable[None]]
    batch: int = 200
    # A new follower begins with the oldest event that is kept; or with what happens from now on.
    from_now: bool = False
    # What a failing batch waits before it is tried again: this, twice this, ... at most `longest_pause`.
    pause: float = 1.0
    longest_pause: float = 30.0


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """Something every worker does again and again, so it must be safe in many at once: leases, sweeping, ageing."""

    name: str
    seconds: float
    run: Callable[[WorkerContext], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """Everything that a worker does."""

    handlers: Sequence[Handler] = ()
    followers: Sequence[EventConsumer] = ()
    chores: Sequence[PeriodicTask] = ()

    def __add__(self, other: "WorkerPlan") -> "WorkerPlan":
        """What either does."""
        return WorkerPlan(
            [*self.handlers, *other.handlers],
            [*self.followers, *other.followers],
            [*self.chores, *other.chores],
        )
