"""Questions, replies, and the protocol of providers."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

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
    """An unusable reply and its problem, quoted to the model when the question is asked once more."""

    text: str
    problem: str


@dataclass(frozen=True)
class Question(Generic[R]):
    """A question: our instructions, the CRM's facts, and the type of the reply."""

    purpose: str
    instructions: str
    prompt_version: str
    facts: Mapping[str, Any]
    reply: type[R]
    language: str = "en"
    max_output_tokens: int | None = None
    correction: Correction | None = None
    # Whoever asks: users take turns where questions wait for each other.
    requested_by: UUID | None = None

    @cached_property
    def input_hash(self) -> str:
        """A hash of all that makes the question; equal for equal questions."""
        parts = {
            "purpose": self.purpose,
            "instructions": self.instructions,
            "version": self.prompt_version,
            "language": self.language,
            "facts": self.facts,
            "reply": self.reply.model_json_schema(),
        }
        return hashlib.sha256(as_json(parts, ordered=True)).hexdigest()


@dataclass(frozen=True, slots=True)
class Reply:
    """A provider's reply, not yet parsed."""

    text: str | None = None
    value: BaseModel | None = None  # from a provider that returns objects instead of text
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
    # Whether calling again may help; and after how many seconds, if the provider said so.
    again: bool = False
    retry_after: float | None = None
    # The provider did no work, so the call costs nothing.
    free: bool = False
    # What is known of the reply: an error may come with a cost.
    reply: Reply = field(default_factory=Reply)


class Provider(Protocol):
    """A model at a server, the playbook, or the script of a test."""

    @property
    def name(self) -> str:
        """Its name: openai, openrouter, playbook or scripted."""

    @property
    def model(self) -> str:
        """The model's id."""

    async def complete(self, question: Question[Any], *, deadline: float) -> Reply:
        """Answer once before `deadline`, on the event loop's clock; or raise ProviderFailed."""

    def most(self, question: Question[Any]) -> Decimal | None:
        """The most that answering once can cost; None if unknown."""

    async def close(self) -> None:
        """Close the connections."""
