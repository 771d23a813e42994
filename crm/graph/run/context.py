"""The context of root resolvers: the viewer, and the ways to write."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, Final

import strawberry

from crm.core import errors
from crm.core.identity import Origin, Via, Viewer
from crm.core.language import Phrase
from crm.db.connection import TookTooLong
from crm.db.workflow import P, S, W, Workflow, Write, Writer, time_to_save, write_of
from crm.graph.run.projection import MutationProjection

if TYPE_CHECKING:
    from crm.ai.gateway import Ai  # a type alone: what the App gave is passed on to resolvers
    from crm.graph.run.engine import Engine


_ROLE_CHANGED: Final = Phrase(
    "Your role has changed since the request came: nothing more was done.",
    "Din roll har ändrats sedan begäran kom: inget mer har gjorts.",
)


@dataclass(slots=True)
class Context:
    """Passed to root resolvers: the viewer, and the ways to write."""

    engine: "Engine"
    viewer: Viewer
    projection: MutationProjection
    variables: Mapping[str, Any]
    deadline: float
    request_id: str
    most_bytes: int  # of the field's JSON
    warnings: list[errors.CrmError] = field(default_factory=list)
    changed: bool = False  # whether something was written

    @property
    def ai(self) -> "Ai":
        """The model or the playbook. Call it before or after a write, never within."""
        assert self.engine.ai is not None
        return self.engine.ai

    async def write(
        self, method: Callable[Concatenate[S, P], Awaitable[object]], *arguments: P.args, **keywords: P.kwargs
    ) -> Any:
        """One transaction: call the service's method, project what it returns, commit. Re-run on 40001 and 40P01."""
        return await self._projected(self._writer(), write_of(method, *arguments, **keywords))

    async def run_workflow(
        self, method: Callable[Concatenate[W, P], Awaitable[Write[object]]], *arguments: P.args, **keywords: P.kwargs
    ) -> Any:
        """Run several transactions with something slow between them; the last one is projected as by `write`."""
        writer = self._writer()
        saving = time_to_save(self.engine.settings.request_timeout_seconds)
        workflow = Workflow(writer, self.engine.ai, self.deadline, self.warnings, saving)
        return await workflow.run(partial(self._projected, writer), method, *arguments, **keywords)

    def _writer(self) -> Writer:
        return Writer(self.engine.database, self.viewer, self._announce, origin=Origin(Via.API, self.request_id))

    def _announce(self) -> None:
        self.changed = True
        self.engine.feed.announce()

    async def _check_viewer(self) -> None:
        """Refuse a viewer who may do less than when the request came: a model, or the fields before, may take long."""
        now = await self.viewer.now()
        if not now.role.includes(self.viewer.role):
            raise errors.Forbidden(_ROLE_CHANGED)

    async def _projected(self, writer: Writer, write: Write[object]) -> "Projected":
        await self._check_viewer()
        projection = await self.projection.bound(self.variables, self.viewer, self.engine.side, self.most_bytes)
        try:
            return Projected(await writer.shown(write, projection))
        except TookTooLong as error:
            message = (
                f"What this mutation shows takes more than {self.engine.settings.mutation_read_timeout_seconds:g} s to "
                "read, so nothing was changed. Select less of it (`id` will do), and read the rest by a query after it."
            )
            raise errors.Timeout(message) from error


@dataclass(frozen=True, slots=True)
class Projected:
    """Finished JSON that passes through untouched."""

    json: bytes


class Info(strawberry.Info[Context, None]):
    """The `info` of a root resolver, with its `context`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def context(self) -> Context:
        """The viewer, and the one way to write."""
        return self._context
