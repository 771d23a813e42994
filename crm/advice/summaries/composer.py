"""Composes a summary from a lead's facts and the sentences of playbook.toml."""

import string
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from crm.advice.recommendations.plain import named, short
from crm.advice.recommendations.playbook import When, playbook
from crm.advice.recommendations.words import day, sentence, words_of
from crm.sales.interactions.model import InteractionType
from crm.sales.leads.facts import LeadFacts
from crm.sales.leads.language import Language

_LONG: Final = 120
_KINDS: Final = {
    Language.ENGLISH: {
        InteractionType.CALL: ("1 call", "calls"),
        InteractionType.EMAIL: ("1 e-mail", "e-mails"),
        InteractionType.MEETING: ("1 meeting", "meetings"),
        InteractionType.MESSAGE: ("1 message", "messages"),
    },
    Language.SWEDISH: {
        InteractionType.CALL: ("1 samtal", "samtal"),
        InteractionType.EMAIL: ("1 mejl", "mejl"),
        InteractionType.MEETING: ("1 möte", "möten"),
        InteractionType.MESSAGE: ("1 meddelande", "meddelanden"),
    },
}
_OPEN: Final = {Language.ENGLISH: "{} open tasks", Language.SWEDISH: "{} öppna uppgifter"}
_AND: Final = {Language.ENGLISH: " and ", Language.SWEDISH: " och "}


class Sentence(BaseModel):
    """A sentence; `otherwise`: only if its part has none yet; `follows`: it may come after any other."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    en: str
    sv: str
    when: When = When()
    otherwise: bool = Field(default=False, alias="else")
    follows: bool = False


class Composer(BaseModel):
    """All sentences that summaries are made of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str
    happened: list[Sentence]
    stands: list[Sentence]
    next: list[Sentence]

    def summary_of(self, facts: LeadFacts) -> str:
        """Compose a summary: what happened, where the lead stands, what is next."""
        words = _words(facts)
        parts = (_part(part, facts, words) for part in (self.happened, self.stands, self.next))
        return "\n\n".join(part for part in parts if part)


@lru_cache
def composer() -> Composer:
    """The composer of this program, read from playbook.toml once."""
    return Composer.model_validate(tomllib.loads(files(__package__).joinpath("playbook.toml").read_text("utf-8")))


def _part(sentences: Sequence[Sentence], facts: LeadFacts, words: Mapping[str, str]) -> str:
    texts: list[str] = []
    for candidate in sentences:
        text = candidate.sv if facts.language is Language.SWEDISH else candidate.en
        names = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
        if names <= words.keys() and playbook().holds(candidate.when, facts) and not (candidate.otherwise and texts):
            texts.append(sentence(text.format_map(words)))
    return " ".join(texts)


def _words(facts: LeadFacts) -> dict[str, str]:
    planned = sorted(
        (task for task in facts.open_tasks if not task.suggested), key=lambda task: (task.due is None, task.due)
    )
    # Open suggestions are left out: they may change any day, and a summary stays until something happens.
    advice = playbook().suggest(facts.model_copy(update={"open_tasks": planned, "dismissed_tasks": []}))
    values = {
        **words_of(facts, playbook().sources_in(facts.language)),
        "job": named(facts.job_title),
        "kinds": _kinds(facts),
        "task": short(planned[0].title, _LONG) if planned else None,
        "due": day(planned[0].due, facts.language) if planned and planned[0].due else None,
        "open": _OPEN[facts.language].format(len(planned)) if len(planned) > 1 else None,
        "done": short(facts.done_tasks[0].title, _LONG) if facts.done_tasks else None,
        "done_on": day(facts.done_tasks[0].at, facts.language) if facts.done_tasks else None,
        "advice": advice[0].title if advice else None,
    }
    return {name: text for name, text in values.items() if text}


def _kinds(facts: LeadFacts) -> str | None:
    """How many contacts of each type; None for leads with more contacts than the facts hold."""
    counted = Counter(contact.type for contact in facts.touches)
    if counted.total() != facts.contact_count:
        return None
    named = [
        singular if counted[kind] == 1 else f"{counted[kind]} {plural}"
        for kind, (singular, plural) in _KINDS[facts.language].items()
        if counted[kind]
    ]
    return _AND[facts.language].join(filter(None, (", ".join(named[:-1]), *named[-1:])))
