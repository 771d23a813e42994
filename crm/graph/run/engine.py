"""The engine: runs operations. GraphQL over HTTP and WebSockets and REST are thin layers over it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final

import psycopg
import strawberry
from graphql import OperationType

from crm.core import errors
from crm.core.identity import Viewer
from crm.core.settings import Settings
from crm.core.shared_room import SharedRoom
from crm.core.side_thread import SideThread
from crm.db.connection import TookTooLong
from crm.db.database import Database, ReadTime
from crm.db.event_feed import EventFeed
from crm.db.outcome import mark_as_perhaps_saved
from crm.db.sqlstates import BEYOND_ALLOTMENT, BEYOND_BUDGET, translated
from crm.db.stream_position import Position
from crm.db.workflow import time_to_save
from crm.graph.compile.allotment import AnswerBudget
from crm.graph.compile.caches import CacheShare, SecondUseCache
from crm.graph.compile.documents import Document, Operation, aware_of_one_of
from crm.graph.compile.plan import Plan
from crm.graph.compile.selection import Collector, Selected
from crm.graph.compile.shape import SchemaShape
from crm.graph.compile.statements import StatementsByShape
from crm.graph.live.channel import Room
from crm.graph.live.event_filter import Parts
from crm.graph.live.subscriptions import Subscriptions
from crm.graph.run import answers as answer
from crm.graph.run.answers import Answer
from crm.graph.run.introspection import Introspection
from crm.graph.run.resolving import OperationRun, resolve

if TYPE_CHECKING:
    from psycopg import pq

    from crm.ai.gateway import Ai  # a type alone: what the App gave is passed on to resolvers

# About the memory of a document with its plans and statements: measured, and rounded up.
_DOCUMENT_WEIGHT: Final = 60_000
_CHARACTER_WEIGHT: Final = 40
# The bytes of large requests that are parsed and run at the same time: parsed they take up to 15 times as much memory.
_LARGE_REQUESTS: Final = 4 * 1024 * 1024
# Work that may block the event loop: a new document of so many characters is read in 25 ms at most; coercion of so much
# work (`Counter.work`) takes 5 ms. The rest runs in the side thread.
_LONG_DOCUMENT: Final = 1000
_LITTLE_WORK: Final = 200
_MUCH_WORK: Final = 3000
# An operation of more reads fails as a whole, rather than being compiled and run once more, root by root.
_MOST_RUN_SINGLY: Final = 10


@dataclass(frozen=True, slots=True)
class Request:
    """One GraphQL request."""

    query: str
    operation_name: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    # A root field that fails is null, whatever its type, and leaves the others their data (`onError: NULL`).
    null_on_error: bool = False


class Engine:
    """Plans and runs operations against one schema and one database."""

    def __init__(
        self, schema: strawberry.Schema, database: Database, settings: Settings, ai: "Ai | None" = None
    ) -> None:
        self.schema = aware_of_one_of(schema._schema)  # noqa: SLF001  (Strawberry's way to the graphql-core schema)
        self.shape = SchemaShape(self.schema)
        self.database = database
        self.settings = settings
        self.documents: SecondUseCache[str, Document] = SecondUseCache(settings.plan_cache_bytes)
        self.feed = EventFeed(database, settings.database_listen_url or database.url, settings.event_retention_days)
        self.side = SideThread()
        self._introspection = Introspection(self.schema, self.side)
        self.budget = AnswerBudget(settings.max_cost, settings.max_answer_bytes)
        self.subscriptions = Subscriptions(self.feed, self.side, self.budget, settings.max_subscription_bytes)
        self.ai = ai
        self.large_requests = SharedRoom(_LARGE_REQUESTS)
        self._large = asyncio.Semaphore(settings.large_answers)

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()  # on Python 3.11 that is a system call (getpid)

    # From text to an operation

    def operation(self, request: Request) -> Operation:
        """The operation of a request, parsed and validated."""
        document = self.documents.get(request.query)
        if document is None:
            document = self._kept(self._document(request.query))
        return document.operation(request.operation_name)

    def known(self, request: Request) -> Operation | None:
        """The operation of a request, if its document has been read before."""
        document = self.documents.get(request.query)
        return document.operation(request.operation_name) if document is not None else None

    async def opened(self, request: Request, viewer: Viewer) -> Operation:
        """The operation of a request; a new, long document is read in the side thread, not on the event loop."""
        document = self.documents.get(request.query)
        if document is None:
            run = self.side.run if len(request.query) > _LONG_DOCUMENT else self.side.run_short
            document = self._kept(await run(viewer.id, self._document, request.query))
        return document.operation(request.operation_name)

    def _document(self, text: str) -> Document:
        return Document.read(text, self.schema, self.settings, introspection=self.settings.introspection)

    def _kept(self, document: Document) -> Document:
        text = document.text
        self.documents.offer(text, document, _DOCUMENT_WEIGHT + _CHARACTER_WEIGHT * len(text))
        return document

    async def coerced(self, operation: Operation, raw: Mapping[str, Any], viewer: Viewer) -> Mapping[str, Any]:
        """The variables coerced by the schema; many values are coerced in the side thread."""
        variables = operation.coerce_simply(raw)
        return variables if variables is not None else await self._coerced_in_full(operation, raw, viewer)

    async def _coerced_in_full(self, operation: Operation, raw: Mapping[str, Any], viewer: Viewer) -> Mapping[str, Any]:
        work = operation.count(raw)
        if work <= _LITTLE_WORK:
            return operation.coerce_counted(raw)
        run = self.side.run if work > _MUCH_WORK else self.side.run_short
        return await run(viewer.id, operation.coerce_counted, raw)

    def roots(self, operation: Operation, variables: Mapping[str, Any]) -> list[Selected]:
        """The root fields that the operation selects."""
        collector = Collector(self.shape, operation.document.fragments, operation.flags(variables))
        return collector.collect([operation.node.selection_set], self.shape.root(operation.kind.value))

    # Running

    async def run(
        self,
        request: Request,
        viewer: Viewer,
        *,
        operation: Operation | None = None,
        stale: bool = False,
        no_mutation: type[errors.MethodNotAllowed] | None = None,
    ) -> Answer:
        """Answer a query, or a mutation unless it is refused by `no_mutation`; an opened `operation` stays open."""
        try:
            # Steps that most requests take have no coroutine of their own: each would cost a microsecond.
            operation = operation or self.known(request) or await self.opened(request, viewer)
            variables = operation.coerce_simply(request.variables)
            if variables is None:
                variables = await self._coerced_in_full(operation, request.variables, viewer)
            if operation.kind is OperationType.QUERY:
                return await self._query(operation, variables, viewer, stale=stale, null_on_error=request.null_on_error)
            if operation.kind is OperationType.SUBSCRIPTION:
                message = "Subscriptions run over WebSockets (graphql-transport-ws), or `Accept: text/event-stream`."
                return answer.refused(errors.BadUserInput(message))
            if no_mutation is not None:
                return answer.turned_away(no_mutation())
            return await self._mutation(operation, variables, viewer, null_on_error=request.null_on_error)
        except Exception as error:  # noqa: BLE001  (whatever it is, the client gets a clear error)
            return answer.refused(error)

    def plan(self, operation: Operation, variables: Mapping[str, Any], viewer: Viewer) -> Plan:
        """The operation's plan for the values of its flags and for the viewer's role."""
        names = operation.flag_names
        key = (viewer.role, *[bool(variables.get(name)) for name in names]) if names else (viewer.role,)
        plan: Plan | None = operation.plans.get(key)
        if plan is None:
            weigh = CacheShare(partial(self.documents.grow, operation.document.text))
            plan = operation.plans[key] = Plan.of(self.roots(operation, variables), viewer.role, weigh, self.budget)
        return plan

    async def _query(
        self,
        operation: Operation,
        variables: Mapping[str, Any],
        viewer: Viewer,
        *,
        stale: bool,
        null_on_error: bool,
    ) -> Answer:
        plan = self.plan(operation, variables, viewer)
        plan.price.check(variables, self.settings.max_cost)
        statements = plan.shaped
        if statements is None:
            return await self._mixed(operation, plan, {}, [], variables, viewer, null_on_error=null_on_error)
        time = ReadTime()
        try:
            cells = await self._cells(plan, statements, variables, viewer, time, stale=stale)
        except TookTooLong as error:
            message = (
                f"A read takes {self.settings.read_timeout_seconds:g} s at most, and this one was cancelled. "
                "Ask for fewer rows, or filter and order by other fields."
            )
            raise errors.Timeout(message) from error
        except psycopg.Error as error:
            if error.sqlstate in BEYOND_BUDGET:
                raise translated(error) from error
            return await self._one_by_one(operation, plan, variables, viewer, error, time, null_on_error=null_on_error)
        if len(plan.reads) == len(plan.roots):
            return answer.succeeded([(root.key, cell) for root, cell in zip(plan.roots, cells, strict=True)])
        cells_by_key = {root.key: cell for root, cell in zip(plan.reads, cells, strict=True)}
        return await self._mixed(operation, plan, cells_by_key, [], variables, viewer, null_on_error=null_on_error)

    async def _cells(  # noqa: PLR0913
        self,
        plan: Plan,
        statements: StatementsByShape,
        variables: Mapping[str, Any],
        viewer: Viewer,
        time: ReadTime,
        *,
        stale: bool = False,
        aside: bool = False,
    ) -> list[bytes]:
        """The JSON of each root that a statement reads."""
        while True:
            bound = statements.ready(variables, viewer) or await statements.bound(
                variables, viewer, self.side, aside=aside
            )
            statement, params = bound.step()
            try:
                if plan.large:
                    async with self._large:
                        result = await self.database.read(statement, params, owner=viewer.owner, stale=stale, time=time)
                else:
                    result = await self.database.read(statement, params, owner=viewer.owner, stale=stale, time=time)
            except psycopg.Error as error:
                if error.sqlstate != BEYOND_ALLOTMENT:
                    raise
                statements.count(bound)
            else:
                return self._checked(plan, result)

    def _checked(self, plan: Plan, result: "pq.abc.PGresult") -> list[bytes]:
        cells = [result.get_value(0, index) or b"null" for index in range(result.nfields)]
        size = sum(map(len, cells))
        plan.large = size > self.settings.large_answer_bytes
        if size > self.budget.bytes:
            message = (
                f"The answer is {size:,} bytes; at most {self.budget.bytes:,} are allowed. "
                "Ask for fewer rows or fields."
            )
            raise errors.TooLarge(message, what="bytes", limit=self.budget.bytes)
        return cells

    async def _one_by_one(  # noqa: PLR0913, PLR0917
        self,
        operation: Operation,
        plan: Plan,
        variables: Mapping[str, Any],
        viewer: Viewer,
        error: psycopg.Error,
        time: ReadTime,
        *,
        null_on_error: bool,
    ) -> Answer:
        """Run each root by itself after their statement failed, so that the error has a path and the others have data.

        Lists come first: if one of them fails there is no data at all.
        """
        if len(plan.reads) > _MOST_RUN_SINGLY:
            raise error
        cells: dict[str, bytes] = {}
        problems: list[tuple[Selected, Exception]] = []
        for root in sorted(plan.reads, key=_may_be_null):
            failure: Exception = error
            if len(plan.reads) > 1:
                try:
                    single = plan.single(root)
                    cells[root.key] = (await self._cells(plan, single, variables, viewer, time, aside=True))[0]
                    continue
                except (psycopg.Error, errors.CrmError) as root_error:
                    failure = root_error
            problems.append((root, failure))
            if not (null_on_error or _may_be_null(root)):
                return answer.nothing([_problem(root, failure)])
        return await self._mixed(operation, plan, cells, problems, variables, viewer, null_on_error=null_on_error)

    async def _mixed(  # noqa: PLR0913, PLR0917
        self,
        operation: Operation,
        plan: Plan,
        cells: dict[str, bytes],
        failures: Sequence[tuple[Selected, Exception]],
        variables: Mapping[str, Any],
        viewer: Viewer,
        *,
        null_on_error: bool,
    ) -> Answer:
        """Put the answer together: SQL's results, introspection, `__typename`, results of resolvers, and errors."""
        run = OperationRun(variables, viewer, self._deadline(), self.budget.bytes - sum(map(len, cells.values())))
        problems = [_problem(root, error, run) for root, error in failures]
        introspected: Mapping[str, bytes] = {}
        if operation.introspects:
            nodes = [node for root in plan.roots if root.shape is None for node in root.nodes]
            introspected = await self._introspection.answers(operation, nodes, variables, viewer)
        for root in plan.roots:
            if root.key in cells:
                continue
            if root.shape is None:
                name = root.node.name.value
                cells[root.key] = b'"Query"' if name == "__typename" else introspected.get(root.key, b"null")
                continue
            rejected = plan.rejected.get(root.key)
            if rejected is not None:
                problems.append(answer.rendered(rejected, [root.key], root.node))
            elif root.shape.kind == "python":
                try:
                    cells[root.key] = await resolve(self, root, plan, run)
                except Exception as error:  # noqa: BLE001
                    problems.append(_problem(root, error, run))
            if root.key not in cells and root.shape.never_null and not null_on_error:
                return answer.nothing(problems, run.warnings)
            cells.setdefault(root.key, b"null")
        return answer.succeeded([(root.key, cells[root.key]) for root in plan.roots], problems, run.warnings)

    # Subscriptions

    async def subscribe(
        self, request: Request, viewer: Viewer, *, since: Position | None = None, room: Room | None = None
    ) -> AsyncGenerator[Parts, None]:
        """The answers of a subscription, for ever, from now or from `since`; a refusal is raised before the first.

        Each answer is produced within the context `room`, which waits until the client can take it.
        """
        operation = await self.opened(request, viewer)
        if operation.kind is not OperationType.SUBSCRIPTION:
            message = "This operation is not a subscription."
            raise errors.BadUserInput(message)
        variables = await self.coerced(operation, request.variables, viewer)
        plan = self.plan(operation, variables, viewer)
        self.check_cost(plan, variables)
        root = plan.roots[0]
        if root.shape is None or len(plan.roots) != 1:
            message = "A subscription selects exactly one field."
            raise errors.BadUserInput(message)
        for key in plan.rejected:
            plan.refuse(key)
        answers = self.subscriptions.follow(request.query, operation.name, root, variables, viewer, since, room)
        del operation, plan, root  # the subscription may have others' by now
        async with aclosing(answers):
            async for parts in answers:
                yield parts
                del parts

    # Mutations

    async def _mutation(
        self, operation: Operation, variables: Mapping[str, Any], viewer: Viewer, *, null_on_error: bool
    ) -> Answer:
        """Run root fields one after another, each in its own transaction; earlier ones stay if a later one fails."""
        plan = self.plan(operation, variables, viewer)
        self.check_cost(plan, variables)
        run = OperationRun(variables, viewer, self._deadline(), self.budget.bytes)
        parts: list[tuple[str, bytes]] = []
        problems = []
        for root in plan.roots:
            if root.shape is None:
                parts.append((root.key, b'"Mutation"'))
                continue
            try:
                parts.append((root.key, await resolve(self, root, plan, run)))
            except asyncio.CancelledError as error:
                if run.changed:
                    mark_as_perhaps_saved(error)
                raise
            except Exception as error:  # noqa: BLE001
                problems.append(_problem(root, error, run))
                if root.shape.never_null and not null_on_error:
                    return answer.nothing(problems, run.warnings)
                parts.append((root.key, b"null"))
        return answer.succeeded(parts, problems, run.warnings, changed=run.changed)

    def _deadline(self) -> float:
        """The time until which a resolver may wait, for a model say: some time is left to save the result."""
        seconds = self.settings.request_timeout_seconds
        return self._loop.time() + seconds - time_to_save(seconds)

    def check_cost(self, plan: Plan, variables: Mapping[str, Any]) -> None:
        """Refuse an operation that may touch too many records."""
        plan.price.check(variables, self.settings.max_cost)


def _may_be_null(root: Selected) -> bool:
    return root.shape is None or not root.shape.never_null


def _problem(root: Selected, error: Exception, run: OperationRun | None = None) -> dict[str, Any]:
    """An error of a root field, rendered for the response."""
    known = answer.known_error(error, None if run is None else run.request_id)
    return answer.rendered(known, [root.key], root.node)
