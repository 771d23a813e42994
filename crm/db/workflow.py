"""Workflows: several transactions with something slow between them, and none open while a model's answer is awaited.

A service writes within one transaction. A `WorkflowService` has several: it claims (a write), waits, and returns its
last write. The engine runs that one like a mutation's: projected in the caller's selection, within its transaction.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import psycopg

from crm.core import errors
from crm.core.detached import detached
from crm.core.identity import OF_PROGRAM, Origin, Viewer
from crm.db.connection import LastedTooLong, MadeRoom
from crm.db.database import Database, retried
from crm.db.service import Service, owner_of, remember_owner
from crm.db.sqlstates import is_away
from crm.db.statement import ViewerWrite
from crm.db.unit_of_work import Projection, UnitOfWork

T = TypeVar("T")
P = ParamSpec("P")
S = TypeVar("S", bound=Service)
R = TypeVar("R")
W = TypeVar("W", bound="WorkflowService")
# The work of one transaction: mostly the call of a service's method, made by `write_of`.
Write = Callable[[UnitOfWork], Awaitable[T]]
# Checks, just before a transaction is committed, whether it still may be; raises an error if not.
CommitGuard = Write[None]

_SAVING_SECONDS: Final = 2.0
_AGAIN_SECONDS: Final = 0.25
_RELEASE_SECONDS: Final = 1.0


def time_to_save(seconds: float) -> float:
    """The part of a caller's time that is reserved for saving the result: a quarter at most."""
    return min(_SAVING_SECONDS, seconds / 4)


def write_of(method: Callable[Concatenate[S, P], Awaitable[T]], *arguments: P.args, **keywords: P.kwargs) -> Write[T]:
    """The call of a service's method with these arguments, as a function of the unit of work."""
    owner: type[S] = owner_of(method)
    return lambda unit_of_work: method(owner(unit_of_work), *arguments, **keywords)


@dataclass(frozen=True, slots=True)
class Writer:
    """Runs writes as a viewer: each is one transaction, re-run as a whole on 40001, 40P01, a lock, and to make room."""

    database: Database
    viewer: Viewer
    announce: Callable[[], None]
    commit_guard: CommitGuard | None = None
    origin: Origin = OF_PROGRAM

    async def shown(self, write: Write[Any], projection: Projection) -> bytes:
        """Run a write, and return its result as JSON, projected within the transaction."""

        async def commit(unit_of_work: UnitOfWork) -> bytes:
            return await unit_of_work.commit(await self._guarded_write(unit_of_work, write), projection)

        return await self._transaction(commit)

    async def run(self, write: Write[T]) -> T:
        """Run a write, and return its result."""

        async def save(unit_of_work: UnitOfWork) -> T:
            result = await self._guarded_write(unit_of_work, write)
            await unit_of_work.save()
            return result

        return await self._transaction(save)

    async def _guarded_write(self, unit_of_work: UnitOfWork, write: Write[T]) -> T:
        """Run a write, then the commit guard: last, so that nothing runs between the guard and the commit."""
        result = await write(unit_of_work)
        if self.commit_guard is not None:
            await self.commit_guard(unit_of_work)
        return result

    async def _transaction(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        write = ViewerWrite()

        async def attempt() -> T:
            while True:
                unit_of_work = UnitOfWork(self.database, self.viewer, write, self.origin)
                try:
                    result = await work(unit_of_work)
                except MadeRoom:
                    continue
                except psycopg.errors.LockNotAvailable:
                    if write.met_a_lock:
                        raise
                    write.meet_a_lock(self.viewer.owner)
                    continue
                finally:
                    await unit_of_work.close()
                if unit_of_work.wrote:
                    self.announce()
                return result

        return await retried(attempt)


@dataclass(slots=True)
class Workflow:
    """One run over several transactions, with something slow between them."""

    writer: Writer
    ai: Any
    deadline: float
    warnings: list[errors.CrmError] = field(default_factory=list)
    # The seconds that the caller waits beyond the deadline, for the last write.
    saving: float = 0.0
    # Writes that release the workflow's claims, if it stops before its end.
    _abort_writes: list[Write[Any]] = field(default_factory=list)

    async def run(
        self,
        end: Callable[[Write[T]], Awaitable[R]],
        method: Callable[Concatenate[W, P], Awaitable[Write[T]]],
        *arguments: P.args,
        **keywords: P.kwargs,
    ) -> R:
        """Call the service's method, then run the write it returns by `end`; stopped anywhere, release its claims."""
        try:
            service: type[W] = owner_of(method)
            last = await method(service(self), *arguments, **keywords)
            return await self._saved(lambda: end(last))
        except BaseException:
            # Not awaited itself: another cancellation does not interrupt the release, and a PostgreSQL that says
            # nothing does not hold the caller, who has waited long enough.
            await asyncio.wait({detached(self._release())}, timeout=_RELEASE_SECONDS)
            raise

    async def _saved(self, save: Callable[[], Awaitable[T]]) -> T:
        """Run the last write, again while PostgreSQL is away or others lock its rows: its result may have cost money.

        After a connection broke, it is not known whether the write was committed: the last write itself has to check.
        """
        while True:
            try:
                return await save()
            except (errors.Unavailable, psycopg.Error) as error:
                may_pass = is_away(error) or isinstance(error, LastedTooLong)
                if not may_pass or asyncio.get_running_loop().time() > self.deadline + self.saving:
                    raise
            await asyncio.sleep(_AGAIN_SECONDS)

    def on_abort(self, write: Write[Any]) -> None:
        """Add a write that runs if the workflow stops before its end, so that no claim is left to expire."""
        self._abort_writes.append(write)

    async def _release(self) -> None:
        writer = replace(self.writer, commit_guard=None)  # a claim is released even when its work may not be saved
        for write in self._abort_writes:
            with suppress(errors.CrmError, psycopg.Error):  # the claim expires
                await writer.run(write)

    async def write(
        self, method: Callable[Concatenate[S, P], Awaitable[T]], *arguments: P.args, **keywords: P.kwargs
    ) -> T:
        """Run a service's method in a transaction of its own, and return its result."""
        return await self.writer.run(write_of(method, *arguments, **keywords))

    def seconds_left(self) -> float:
        """The seconds until the caller's deadline."""
        return max(0.0, self.deadline - asyncio.get_running_loop().time())

    def warn(self, error: errors.CrmError) -> None:
        """Add an error that the answer reports beside its data."""
        self.warnings.append(error)


class WorkflowService:
    """Domain verbs over several transactions; each returns the write that ends it."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        remember_owner(cls)

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow
        self.viewer = workflow.writer.viewer


async def run_workflow(
    workflow: Workflow,
    method: Callable[Concatenate[W, P], Awaitable[Write[T]]],
    *arguments: P.args,
    **keywords: P.kwargs,
) -> T:
    """Run a whole workflow outside the API, and return the result of its last write."""
    return await workflow.run(workflow.writer.run, method, *arguments, **keywords)
