"""Public answers, with or without a token: read as the program, and reduced to the fields that the viewer may see."""

import asyncio
from typing import Final

from crm.core.identity import PROGRAM, Viewer
from crm.graph.run.answers import Answer, refused
from crm.graph.run.engine import Engine
from crm.web.rest.answers import RestAnswer
from crm.web.rest.endpoint import BoundCall
from crm.web.rest.recent import Recent

# The longest read: a health check needs an answer soon, even if it is that nothing works.
_READ_SECONDS: Final = 5.0


class Public:
    """An endpoint that answers requests without a token too."""

    def __init__(self, engine: Engine, bound: BoundCall) -> None:
        assert bound.endpoint.shown is not None
        self._engine = engine
        self._checked = bound.checked
        self._shown = bound.endpoint.shown
        self._recent = Recent(self._read)

    async def shown(self, viewer: Viewer | None) -> RestAnswer:
        """The answer for this viewer, or without a token for None."""
        return self._shown(await self._recent.get(), self._visible_roots(viewer))

    async def _read(self) -> Answer:
        try:
            async with asyncio.timeout(_READ_SECONDS):
                return await self._engine.run(self._checked.named.request(), PROGRAM)
        except TimeoutError as error:
            return refused(error)

    def _visible_roots(self, viewer: Viewer | None) -> frozenset[str] | None:
        """The root fields that this viewer would get by GraphQL; None without a token."""
        if viewer is None:
            return None
        plan = self._engine.plan(self._checked.operation, {}, viewer)
        return frozenset(root.key for root in plan.roots if root.key not in plan.rejected)
