"""What is asked, what comes back, and who can answer."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel

from crm.ai.prompt import as_json
from crm.core.choice import Choice

R = TypeVar("R", bound=BaseModel)


class CostSource(Choice):
    """How a cost is known."""

    PROVIDER = "provider", "The provider said it, or made nothing that could cost."
    ESTIMATED = "estimated", "Worked out from the tokens, by the list of prices."
    UNKNOWN = "unknown", "Nobody knows."


class Outcome(StrEnum):
    """How a call ended."""

    UNDERWAY = "underway"
    OK = "ok"
    REFUSED = "refused"
    TRUNCATED = "truncated"
    INVALID = "invalid"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    RATE_LIMITED = "rate_limited"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Correction:
    """A reply that could not be used, and what was wrong with it: quoted when the question is asked once more."""

    text: str
    problem: str


@dataclass(frozen=True)
class Question(Generic[R]):
    """What is asked: instructions of ours, facts of the CRM's, and the shape of the reply."""

    purpose: str
    instructions: str
    prompt_version: str
    facts: Mapping[str, Any]
    reply: type[R]
    language: str = "en"
    max_output_tokens: int | None = None
    correction: Correction | None = None

    @cached_property
    def input_hash(self) -> str:
        """The same for the same question: nothing has changed since, if it is equal."""
        whole = {
            "purpose": self.purpose,
            "instructions": self.instructions,
            "version": self.prompt_version,
            "language": self.language,
            "facts": self.facts,
            "reply": self.reply.model_json_schema(),
        }
        return hashlib.sha256(as_json(whole, ordered=True)).hexdigest()


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, before anybody has made sense of it."""

    text: str | None = None
    value: BaseModel | None = None  # of a provider that makes objects, not text
    model: str = ""
    finish_reason: str | None = None
    refusal: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost: Decimal | None = None
    cost_source: CostSource = CostSource.UNKNOWN


@dataclass(eq=False)
class ProviderFailed(Exception):
    """The provider did not answer."""

    outcome: Outcome
    detail: str = ""
    # Asking again may help; not before so many seconds, if it said so.
    again: bool = False
    retry_after: float | None = None
    # Nothing was made, so nothing is owed.
    free: bool = False
    # What is known all the same: an error may come with a bill.
    reply: Reply = field(default_factory=Reply)


class Provider(Protocol):
    """Somebody who answers."""

    @property
    def name(self) -> str:
        """openai, openrouter, playbook, scripted."""

    @property
    def model(self) -> str:
        """The model's id."""

    async def complete(self, question: Question[Any], *, deadline: float) -> Reply:
        """Answer once, before the event loop's clock is at `deadline`; or raise ProviderFailed."""

    def most(self, question: Question[Any]) -> Decimal | None:
        """The most that answering once can cost; None if that cannot be told."""

    async def close(self) -> None:
        """Let go of connections."""
