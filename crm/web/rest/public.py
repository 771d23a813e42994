"""Answers for everybody, with or without a token: read as the program, and cut to what each may see."""

import asyncio
from typing import Final

from crm.core.identity import PROGRAM, Viewer
from crm.graph.run.answers import Answer, refused
from crm.graph.run.engine import Engine
from crm.web.rest.answers import RestAnswer
from crm.web.rest.endpoint import BoundCall
from crm.web.rest.recent import Recent

# Whoever asks whether things work waits no longer than this for the answer that they do not.
_PATIENCE_SECONDS: Final = 5.0


class Public:
    """One endpoint whose answer is for everybody."""

    def __init__(self, engine: Engine, bound: BoundCall) -> None:
        assert bound.endpoint.shown is not None
        self._engine = engine
        self._checked = bound.checked
        self._shown = bound.endpoint.shown
        self._recent = Recent(self._read)

    async def shown(self, viewer: Viewer | None) -> RestAnswer:
        """The answer for this viewer; None has no token."""
        return self._shown(await self._recent.get(), self._seen_by(viewer))

    async def _read(self) -> Answer:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await self._engine.run(self._checked.named.request(), PROGRAM)
        except TimeoutError as error:
            return refused(error)

    def _seen_by(self, viewer: Viewer | None) -> frozenset[str] | None:
        """What of it this viewer would get by GraphQL."""
        if viewer is None:
            return None
        plan = self._engine.plan(self._checked.operation, {}, viewer)
        return frozenset(root.key for root in plan.roots if root.key not in plan.rejected)
