"""Makes up the case of one lead: the person, the course of the sale, its times, and facts for the texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from crm.demo import stories
from crm.demo.dice import Dice, by_weight
from crm.demo.languages import LANGUAGES
from crm.demo.names import LanguageCode, Market
from crm.demo.people import Person, person_of
from crm.demo.stories import CONTACTS, OPENINGS, StoryContact, StoryStage
from crm.demo.worktime import DAY, WorkTime
from crm.sales.interactions.model import InteractionType

HALF_HOUR = 30
LAST_HOUR = 60  # room for the tasks that follow the last contact, which must end before now

_STAGES = by_weight((stage, stage.weight) for stage in stories.STAGES)
_SOURCES = by_weight(stories.SOURCES.items())
# Each story as a list of (contact, whether it may be left out).
_STORIES = {
    stage.status: by_weight(
        (tuple((name.removesuffix("?"), name.endswith("?")) for name in story.contacts.split()), story.weight)
        for story in stage.stories
    )
    for stage in stories.STAGES
}
_ROUND = {"SEK": 5_000, "GBP": 500, "EUR": 500}


class Seller(NamedTuple):
    """A user who can own leads."""

    id: str
    first_name: str


Sellers = Mapping[LanguageCode, Sequence[Seller]]


class Occasion(NamedTuple):
    """A contact that took place."""

    name: str
    contact: StoryContact
    at: int


@dataclass(slots=True)
class Case:
    """One lead with its facts and contacts. Times are working minutes."""

    id: int
    person: Person
    stage: StoryStage
    source: str
    created: int
    occasions: list[Occasion]
    owner: Seller | None
    seller: Seller  # the owner, or another user if it has none
    budget: int | None
    facts: dict[str, object]  # by the names that texts use

    @property
    def language(self) -> LanguageCode:
        """The language of its texts."""
        return self.person.market.language

    @property
    def last(self) -> int:
        """The time of the last contact, or of the lead's creation."""
        return self.occasions[-1].at if self.occasions else self.created

    @property
    def called(self) -> bool:
        """Whether the lead was called, so that its number is known."""
        return any(occasion.contact.by is InteractionType.CALL for occasion in self.occasions)


class CaseMaker:
    """Makes up cases."""

    def __init__(self, dice: Dice, time: WorkTime, sellers: Sellers) -> None:
        self.dice = dice
        self.now = time.now
        self.sellers = sellers

    def make(self, lead_id: int) -> Case:
        """Make up the case of this lead."""
        dice = self.dice
        person = person_of(lead_id)
        stage = dice.pick(_STAGES)
        source = dice.pick(_SOURCES)
        created, occasions = self._history(stage, source)
        seller = dice.pick(self.sellers[person.market.language])
        seats = dice.pick(stories.SEATS)
        budget = self._budget(person.market, seats)
        return Case(
            id=lead_id,
            person=person,
            stage=stage,
            source=source,
            created=created,
            occasions=occasions,
            owner=None if dice.random() < stage.without_owner else seller,
            seller=seller,
            budget=budget if self._budget_is_told(occasions) else None,
            facts=self._facts(lead_id, person, source, seats, budget),
        )

    def _history(self, stage: StoryStage, source: str) -> tuple[int, list[Occasion]]:
        """When the lead was created, and its contacts since: all before now."""
        steps = self._steps(stage, source)
        # Meetings begin at the next half hour, so each step may take up to half an hour longer.
        created = at = self._start(stage, sum(gap + HALF_HOUR for *_, gap in steps))
        occasions = []
        for name, contact, gap in steps:
            at += gap
            if contact.by is InteractionType.MEETING:
                at += -at % HALF_HOUR
            occasions.append(Occasion(name, contact, at))
        return created, occasions

    def _steps(self, stage: StoryStage, source: str) -> list[tuple[str, StoryContact, int]]:
        """The contacts of one of the stage's stories, each with its distance from the one before."""
        dice = self.dice
        steps: list[tuple[str, StoryContact, int]] = []
        for name, may_be_left_out in dice.pick(_STORIES[stage.status]):
            if may_be_left_out and dice.chance(50):
                continue
            contact = OPENINGS[source] if name == "opening" else CONTACTS[name]
            gap = dice.between(*contact.days) * DAY + dice.between(100, 260) if steps else dice.between(1, 20)
            steps.append((source if name == "opening" else name, contact, gap))
        return steps

    def _start(self, stage: StoryStage, length: int) -> int:
        """When a history of this length began, so that it has been quiet since as long as is usual at its stage."""
        dice = self.dice
        latest = self.now - LAST_HOUR - length
        if dice.random() < stage.forgotten:
            return dice.below(latest)
        return max(latest - dice.around(stage.quiet_days * DAY), dice.below(DAY))

    def _budget(self, market: Market, seats: int) -> int:
        step = _ROUND[market.currency]
        return max(step, round(seats * market.price_per_seat * (0.7 + 0.6 * self.dice.random()) / step) * step)

    def _budget_is_told(self, occasions: Sequence[Occasion]) -> bool:
        asked = any(occasion.name in stories.BUDGET_IS_TOLD_IN for occasion in occasions)
        return asked or self.dice.chance(stories.EARLY_BUDGETS)

    def _facts(self, lead_id: int, person: Person, source: str, seats: int, budget: int) -> dict[str, object]:
        dice, market = self.dice, person.market
        language = LANGUAGES[market.language]
        return {
            "lead": lead_id,
            "first": person.first_name,
            "last": person.last_name,
            "company": person.company,
            "city": person.place.name,
            "need": dice.pick(language.needs),
            "tool": dice.pick(language.tools),
            "seats": seats,
            "budget": _spoken(budget, market.currency),
            "boss": f"{dice.pick(market.first_names)} {dice.pick(market.last_names)}",
            "source": language.sources[source],
        }


def _spoken(amount: int, currency: str) -> str:
    """An amount as people write it."""
    if currency == "SEK":
        return f"{amount:,} kr".replace(",", " ")
    return f"{'£' if currency == 'GBP' else '€'}{amount:,}"
