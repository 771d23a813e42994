"""Plans: an operation, compiled once.

A document is parsed, validated and measured once. A plan depends also on the flags of @skip and @include and on the
viewer's role; a statement also on the shape of the arguments. A request then coerces its variables, looks the statement
up, and runs it.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from crm.core import errors
from crm.core.identity import Role
from crm.core.language import Phrase
from crm.graph.compile.allotment import Allotments, AnswerBudget
from crm.graph.compile.caches import CacheShare
from crm.graph.compile.prices import Price
from crm.graph.compile.selection import Selected
from crm.graph.compile.shape import allowed
from crm.graph.compile.statements import StatementsByShape

_NEEDS_ROLE: Final = Phrase(
    "This needs the role {needed}; yours is {role}.", "Detta kräver rollen {needed}; din är {role}."
)


def forbidden(root: Selected, role: Role) -> errors.Forbidden | None:
    """The error of the first field below (or at) a root that a role may not use."""
    for selected in root.walk():
        if selected.shape is not None and not allowed(selected.shape, role):
            needed = selected.shape.declaration.role.value if selected.shape.declaration else "admin"
            return errors.Forbidden(_NEEDS_ROLE.of(needed=needed, role=role.value), what=selected.shape.name)
    return None


@dataclass
class Plan:
    """A query, compiled: its root fields, and the statement that answers the reads among them."""

    roots: Sequence[Selected]
    reads: Sequence[Selected] = ()
    shaped: StatementsByShape | None = None
    singles: dict[str, StatementsByShape] = field(default_factory=dict)  # by root, for when the whole fails
    rejected: Mapping[str, errors.CrmError] = field(default_factory=dict)
    large: bool = False  # the last answer was large: the next one queues for a slot
    weigh: CacheShare | None = None  # is called with the bytes by which its statements grow
    budget: AnswerBudget | None = None

    def __post_init__(self) -> None:
        self.price = Price(self.roots)

    @classmethod
    def of(
        cls,
        roots: Sequence[Selected],
        role: Role,
        weigh: CacheShare | None = None,
        budget: AnswerBudget | None = None,
    ) -> "Plan":
        """Plan a query's roots for a role."""
        rejected = {root.key: error for root in roots if (error := forbidden(root, role)) is not None}
        reads = [
            root
            for root in roots
            if root.shape is not None and root.shape.kind != "python" and root.key not in rejected
        ]
        plan = cls(roots, reads, None, {}, rejected, weigh=weigh, budget=budget)
        plan.shaped = plan.reading(reads, budget) if reads else None
        return plan

    def refuse(self, key: str) -> NoReturn:
        """Raise a copy of a root's error: the plan is cached, and a raised error keeps the frames that it passed."""
        raise copy(self.rejected[key])

    def cost(self, variables: Mapping[str, Any]) -> int:
        """The operation's price in points: about the records that it touches."""
        return self.price.of(variables)

    def single(self, root: Selected) -> StatementsByShape:
        """The statement of one root alone, within its part of the budget: it needs no further retry."""
        statements = self.singles.get(root.key)
        if statements is None:
            budget = self.budget.divided(len(self.reads)) if self.budget is not None else None
            statements = self.singles[root.key] = self.reading([root], budget, guess=False)
        return statements

    def reading(
        self, roots: Sequence[Selected], budget: AnswerBudget | None, *, guess: bool = True
    ) -> StatementsByShape:
        """The statement that reads some roots."""
        allotments = Allotments(roots, budget, guess=guess) if budget is not None else None
        return StatementsByShape(roots, lambda compiler: compiler.roots(roots), weigh=self.weigh, allotments=allotments)
