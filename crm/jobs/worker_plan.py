"""Declarations of background work for the nouns' `jobs.py`; `crm/background.py` puts them together."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Concatenate, Final

from crm.ai.gateway import Ai
from crm.core.identity import PROGRAM, Viewer
from crm.core.settings import Settings
from crm.db.database import Database
from crm.db.event_feed import EventFeed
from crm.db.unit_of_work import UnitOfWork
from crm.db.workflow import CommitGuard, P, S, T, Writer, write_of
from crm.jobs.queue import DEFAULT_QUEUE

MOST_RETRIES: Final = 10


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """Dependencies passed to job handlers. Each `write` is one transaction."""

    database: Database
    feed: EventFeed
    settings: Settings
    ai: Ai
    # For work that may lose its lease: each transaction calls this before it commits.
    commit_guard: CommitGuard | None = None

    async def write(
        self, method: Callable[Concatenate[S, P], Awaitable[T]], *arguments: P.args, **keywords: P.kwargs
    ) -> T:
        """Call a service's method in a transaction as the program itself; returns what the method returned."""
        return await self.writer().run(write_of(method, *arguments, **keywords))

    def writer(self, viewer: Viewer = PROGRAM) -> Writer:
        """A writer for this user; for the program itself if none is given."""
        return Writer(self.database, viewer, self.feed.announce, self.commit_guard)


class RunLater(Exception):
    """Raised by a handler to run its job again after so many seconds; counts as one of its retries."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"again in {seconds} s")


@dataclass(frozen=True, slots=True)
class Handler:
    """Runs the jobs of one name. Called with the context and the job's arguments; again if its worker dies."""

    name: str
    run: Callable[..., Awaitable[None]]
    queue: str = DEFAULT_QUEUE
    retries: int = 3
    # Six fields, the last is seconds, in UTC: "0 3 * * * 0" is at three o'clock. `run` then takes no arguments.
    cron: str | None = None
    # If PostgreSQL was away, procrastinate hands the job out once more: then the first run goes on. For handlers that
    # keep a lease, so that the second run finds it taken.
    survives_requeue: bool = False


@dataclass(frozen=True, slots=True)
class ConsumedEvent:
    """One event, as a consumer gets it."""

    xid: int
    id: int
    type: str
    entity: str
    entity_id: str
    lead_id: int | None
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class EventConsumer:
    """Handles every event of some types once, in the stream's order.

    `work` gets a batch of events and the transaction in which the consumer's position advances: both are saved, or
    neither. Like every transaction it is short and makes no network calls.
    """

    name: str
    types: Sequence[str]
    work: Callable[[UnitOfWork, Sequence[ConsumedEvent]], Awaitable[None]]
    batch: int = 200
    # Whether a new consumer begins with the next event, instead of the oldest that is kept.
    from_now: bool = False
    # Seconds before a failing batch is tried again: this, twice this, ... at most `longest_pause`.
    pause: float = 1.0
    longest_pause: float = 30.0


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """A function that every worker calls again and again; must be safe in many workers at once.

    One that is not `steady` pauses for longer when it took long: that limits its share of PostgreSQL's time.
    `longest_pause` is for one that somebody waits for: on a busy machine every statement takes long.
    """

    name: str
    seconds: float
    run: Callable[[WorkerContext], Awaitable[None]]
    steady: bool = False
    longest_pause: float = 30.0


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """The handlers, event consumers and periodic tasks of a worker."""

    handlers: Sequence[Handler] = ()
    consumers: Sequence[EventConsumer] = ()
    periodic_tasks: Sequence[PeriodicTask] = ()

    def __add__(self, other: "WorkerPlan") -> "WorkerPlan":
        """Both plans in one."""
        return WorkerPlan(
            [*self.handlers, *other.handlers],
            [*self.consumers, *other.consumers],
            [*self.periodic_tasks, *other.periodic_tasks],
        )
