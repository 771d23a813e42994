"""The provider of tests: says what it was told to say, through the same gateway and ladder as any other."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from crm.ai.provider import CostSource, Outcome, ProviderFailed, Question, Reply

Line = str | Reply | ProviderFailed | Callable[[Question[Any]], "str | Reply"]


class ScriptedProvider:
    """Says its lines one after another, and the last one from then on; keeps what it was asked."""

    name = "scripted"

    def __init__(self, *lines: Line, model: str = "scripted-1", takes_seconds: float = 0) -> None:
        self.model = model
        self.asked: list[Question[Any]] = []
        self.cost = Decimal("0.001")
        self._lines = list(lines)
        self._takes = takes_seconds

    def say(self, lines: Iterable[Line]) -> None:
        """What to say from now on."""
        self._lines = list(lines)

    async def complete(self, question: Question[Any], *, deadline: float) -> Reply:  # noqa: ARG002
        """The next line."""
        self.asked.append(question)
        line = self._lines.pop(0) if len(self._lines) > 1 else self._lines[0]
        await asyncio.sleep(self._takes)
        if isinstance(line, ProviderFailed):
            raise replace(line)
        found = line(question) if callable(line) else line
        if isinstance(found, Reply):
            return replace(found, model=found.model or self.model)
        return Reply(found, None, self.model, "stop", None, 100, 20, self.cost, CostSource.PROVIDER)

    def most(self, question: Question[Any]) -> Decimal | None:  # noqa: ARG002
        """What each line costs."""
        return self.cost

    async def close(self) -> None:
        """There is nothing to let go of."""


FAILS = ProviderFailed(Outcome.FAILED, "as the script says")
