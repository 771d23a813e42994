"""The provider that needs no key: rules written by people, which other folders register by purpose."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from crm.ai.provider import CostSource, Outcome, ProviderFailed, Question, Reply
from crm.core.side_thread import SideThread

R = TypeVar("R", bound=BaseModel)
Rules = Callable[[Question[R]], R]

_RULES: Final[dict[str, Rules[Any]]] = {}


def answers(purpose: str) -> Callable[[Rules[R]], Rules[R]]:
    """Register a function as the playbook's answer to questions of this purpose."""

    def register(rules: Rules[R]) -> Rules[R]:
        if purpose in _RULES and _RULES[purpose] is not rules:
            msg = f"the playbook answers {purpose} already"
            raise ValueError(msg)
        _RULES[purpose] = rules
        return rules

    return register


class PlaybookProvider:
    """Answers by the rules: within moments, at no cost, and the same each time."""

    name = "playbook"
    model = "playbook"

    def __init__(self) -> None:
        # Twelve long notes take the rules 0.2 s.
        self._side = SideThread()

    async def complete(self, question: Question[Any], *, deadline: float) -> Reply:  # noqa: ARG002
        """Ask the rules."""
        rules = _RULES.get(question.purpose)
        if rules is None:
            raise ProviderFailed(Outcome.REJECTED, f"the playbook has no rules for {question.purpose}", free=True)
        return Reply(
            value=await self._side.run(question.requested_by, rules, question),
            model=self.model,
            finish_reason="stop",
            cost=Decimal(0),
            cost_source=CostSource.PROVIDER,
        )

    def most(self, question: Question[Any]) -> Decimal | None:  # noqa: ARG002
        """Zero: the rules cost nothing."""
        return Decimal(0)

    async def close(self) -> None:
        """Nothing to close."""
