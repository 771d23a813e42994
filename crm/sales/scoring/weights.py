"""The weights of the score: read from `weights.toml`, and checked."""

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from crm.sales.interactions.model import InteractionType
from crm.sales.leads.model import LeadStatus

FILE: Final = Path(__file__).with_name("weights.toml")
MAX_SCORE: Final = 100
# The types of interactions that count as contacts.
CONTACTS: Final = tuple(kind for kind in InteractionType if kind is not InteractionType.NOTE)
CLOSED: Final = (LeadStatus.WON, LeadStatus.LOST)


class SignalWeight(BaseModel):
    """The base of every signal's weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_points: int = Field(ge=1, le=MAX_SCORE)


class Recency(SignalWeight):
    """Weights for how long ago the last contact was."""

    half_life_days: PositiveInt


class Counted(SignalWeight):
    """Weights for how often something happened lately."""

    days: PositiveInt
    points_each: PositiveInt


class Depth(SignalWeight):
    """Weights for the types of the contacts."""

    days: PositiveInt
    points_each: dict[InteractionType, PositiveInt]

    @model_validator(mode="after")
    def _names_every_kind(self) -> Self:
        if set(self.points_each) != set(CONTACTS):
            message = f"points_each needs exactly {', '.join(CONTACTS)}"
            raise ValueError(message)
        return self


class Responsiveness(Counted):
    """Weights for how many contacts came soon after the one before."""

    within_days: PositiveInt


class StageWeight(SignalWeight):
    """Weights for the lead's status."""

    points: dict[LeadStatus, int]

    @model_validator(mode="after")
    def _names_every_stage(self) -> Self:
        if set(self.points) != set(LeadStatus) or not all(
            0 <= points <= self.max_points for points in self.points.values()
        ):
            message = "points needs every stage, each from 0 to max_points"
            raise ValueError(message)
        return self


class Step(BaseModel):
    """The points for a budget from an amount on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_least: Decimal = Field(alias="from", gt=0)
    points: int = Field(ge=0)


class BudgetWeight(SignalWeight):
    """Weights for the lead's budget."""

    currency: str = Field(pattern="^[A-Z]{3}$")
    steps: tuple[Step, ...] = Field(min_length=1)
    rates: dict[str, Decimal]

    @model_validator(mode="after")
    def _falls(self) -> Self:
        amounts, points = ([getattr(step, name) for step in self.steps] for name in ("at_least", "points"))
        fall = amounts == sorted(amounts, reverse=True) and points == sorted(points, reverse=True)
        if not fall or points[0] > self.max_points:
            message = "steps go from the largest amount and the most points down; no more than max_points"
            raise ValueError(message)
        if not all(len(code) == len(self.currency) and code.isalpha() and code.isupper() for code in self.rates):
            message = "rates are by three-letter currencies"
            raise ValueError(message)
        return self


class OpenTasks(SignalWeight):
    """Weights for open tasks: planned, undated or overdue."""

    planned: int
    undated: int
    overdue: int

    @model_validator(mode="after")
    def _falls(self) -> Self:
        if not self.max_points >= self.planned >= self.undated >= self.overdue >= 0:
            message = "max_points >= planned >= undated >= overdue >= 0"
            raise ValueError(message)
        return self


class Weights(BaseModel):
    """The weights of all signals."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = Field(pattern="^[a-z0-9-]{1,40}$")
    recency: Recency
    frequency: Counted
    depth: Depth
    responsiveness: Responsiveness
    stage: StageWeight
    budget: BudgetWeight
    open_tasks: OpenTasks
    completed_tasks: Counted

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        total = sum(value.max_points for _, value in self if isinstance(value, SignalWeight))
        if total != MAX_SCORE:
            message = f"the most points add up to {total}, not {MAX_SCORE}"
            raise ValueError(message)
        return self


def read(text: str) -> Weights:
    """Weights from TOML."""
    return Weights.model_validate(tomllib.loads(text))


WEIGHTS: Final = read(FILE.read_text(encoding="utf-8"))
