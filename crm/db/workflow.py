"""Work with something slow in it: several transactions, and none of them open while a model thinks.

A service writes within one transaction. A `WorkflowService` has none: it claims (a write), waits, and says which write
ends it. The edge runs that last one as it runs any other: shown in the caller's selection, within its transaction.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import psycopg

from crm.core import errors
from crm.core.identity import Viewer
from crm.db.connection import LastedTooLong, MadeRoom, ViewerWrite
from crm.db.database import Database, retried
from crm.db.service import Service, owner_of, remember_owner
from crm.db.sqlstates import is_away
from crm.db.unit_of_work import Projection, UnitOfWork

T = TypeVar("T")
P = ParamSpec("P")
S = TypeVar("S", bound=Service)
R = TypeVar("R")
W = TypeVar("W", bound="WorkflowService")
# What happens within one transaction: mostly the call of a service's method, made by `write_of`.
Write = Callable[[UnitOfWork], Awaitable[T]]
# Looks, in a transaction that is about to be committed, whether it still may be; raises if not.
CommitGuard = Write[None]

_SAVING_SECONDS: Final = 2.0
_AGAIN_SECONDS: Final = 0.25


def time_to_save(seconds: float) -> float:
    """How much of a caller's time is kept for saving what came of it: a quarter at most."""
    return min(_SAVING_SECONDS, seconds / 4)


def write_of(method: Callable[Concatenate[S, P], Awaitable[T]], *arguments: P.args, **keywords: P.kwargs) -> Write[T]:
    """The call of a service's method with these arguments, over whichever unit of work it is given."""
    owner: type[S] = owner_of(method)
    return lambda unit: method(owner(unit), *arguments, **keywords)


@dataclass(frozen=True, slots=True)
class Writer:
    """Runs writes as somebody: each is one transaction, re-run as a whole on 40001, 40P01 and when it made room."""

    database: Database
    viewer: Viewer
    announce: Callable[[], None]
    commit_guard: CommitGuard | None = None

    async def shown(self, write: Write[Any], projection: Projection) -> bytes:
        """Run a write; what it returns, as the projection shows it from within the transaction."""

        async def commit(unit: UnitOfWork) -> bytes:
            return await unit.commit(await self._guarded_write(unit, write), projection)

        return await self._transaction(commit)

    async def run(self, write: Write[T]) -> T:
        """Run a write; what it returns."""

        async def save(unit: UnitOfWork) -> T:
            result = await self._guarded_write(unit, write)
            await unit.save()
            return result

        return await self._transaction(save)

    async def _guarded_write(self, unit: UnitOfWork, write: Write[T]) -> T:
        """What the call returns, unless the fence says no: last, so that nothing can come between it and the commit."""
        result = await write(unit)
        if self.commit_guard is not None:
            await self.commit_guard(unit)
        return result

    async def _transaction(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        write = ViewerWrite()

        async def attempt() -> T:
            while True:
                unit = UnitOfWork(self.database, self.viewer, write)
                try:
                    result = await work(unit)
                except MadeRoom:
                    continue
                finally:
                    await unit.close()
                if unit.wrote:
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
    # What the caller waits beyond the deadline, for the last write.
    saving: float = 0.0
    # Writes that release what the workflow has claimed, in case it does not come to its end.
    _let_go: list[Write[Any]] = field(default_factory=list)

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
            # Another cancellation does not keep it from being done.
            await asyncio.shield(asyncio.ensure_future(self._release()))
            raise

    async def _saved(self, save: Callable[[], Awaitable[T]]) -> T:
        """Run the last write; while PostgreSQL is away, or others lock its rows, again: its result may have cost money.

        When a connection broke, nobody knows whether it was committed: whoever writes last finds that out by itself.
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
        """What to write if this stops before its end: nobody should have to wait for a claim to expire."""
        self._let_go.append(write)

    async def _release(self) -> None:
        writer = replace(self.writer, commit_guard=None)  # to let go needs nobody's leave
        for write in self._let_go:
            with suppress(errors.CrmError, psycopg.Error):  # it expires
                await writer.run(write)

    async def write(
        self, method: Callable[Concatenate[S, P], Awaitable[T]], *arguments: P.args, **keywords: P.kwargs
    ) -> T:
        """One transaction of its own: call the service's method, commit, return what it returned."""
        return await self.writer.run(write_of(method, *arguments, **keywords))

    def seconds_left(self) -> float:
        """How long the caller still waits."""
        return max(0.0, self.deadline - asyncio.get_running_loop().time())

    def warn(self, error: errors.CrmError) -> None:
        """Something did not work, and the answer says so; it is an answer all the same."""
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
    """Run a whole workflow outside the API; what its last write returned."""
    return await workflow.run(workflow.writer.run, method, *arguments, **keywords)
