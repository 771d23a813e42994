"""The provider for tests: gives the replies of a script, through the same gateway as any other provider."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from crm.ai.provider import CostSource, Outcome, ProviderFailed, Question, Reply

Line = str | Reply | ProviderFailed | Callable[[Question[Any]], "str | Reply"]


class ScriptedProvider:
    """Replies with its lines one after another, then always with the last; keeps the questions."""

    name = "scripted"

    def __init__(self, *lines: Line, model: str = "scripted-1", takes_seconds: float = 0) -> None:
        self.model = model
        self.asked: list[Question[Any]] = []
        self.cost = Decimal("0.001")
        self._lines = list(lines)
        self._takes = takes_seconds

    def say(self, lines: Iterable[Line]) -> None:
        """Replace the lines."""
        self._lines = list(lines)

    async def complete(self, question: Question[Any], *, deadline: float) -> Reply:  # noqa: ARG002
        """Reply with the next line."""
        self.asked.append(question)
        line = self._lines.pop(0) if len(self._lines) > 1 else self._lines[0]
        await asyncio.sleep(self._takes)
        if isinstance(line, ProviderFailed):
            raise replace(line)
        reply = line(question) if callable(line) else line
        if isinstance(reply, Reply):
            return replace(reply, model=reply.model or self.model)
        return Reply(reply, None, self.model, "stop", None, 100, 20, self.cost, CostSource.PROVIDER)

    def most(self, question: Question[Any]) -> Decimal | None:  # noqa: ARG002
        """The cost of each reply."""
        return self.cost

    async def close(self) -> None:
        """Nothing to close."""


FAILS = ProviderFailed(Outcome.FAILED, "as the script says")
