"""A summary composed from a lead's facts, by the sentences of playbook.toml."""

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
    """One sentence: `otherwise` only if no other of its part stands yet, `follows` whatever stands before it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    en: str
    sv: str
    when: When = When()
    otherwise: bool = Field(default=False, alias="else")
    follows: bool = False


class Composer(BaseModel):
    """The sentences of a summary."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str
    happened: list[Sentence]
    stands: list[Sentence]
    next: list[Sentence]

    def summary_of(self, facts: LeadFacts) -> str:
        """What happened, where it stands, what is next."""
        words = _words(facts)
        parts = (_part(part, facts, words) for part in (self.happened, self.stands, self.next))
        return "\n\n".join(part for part in parts if part)


@lru_cache
def composer() -> Composer:
    """The summaries' sentences."""
    return Composer.model_validate(tomllib.loads(files(__package__).joinpath("playbook.toml").read_text("utf-8")))


def _part(sentences: Sequence[Sentence], facts: LeadFacts, words: Mapping[str, str]) -> str:
    said: list[str] = []
    for one in sentences:
        text = one.sv if facts.language is Language.SWEDISH else one.en
        names = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
        if names <= words.keys() and playbook().holds(one.when, facts) and not (one.otherwise and said):
            said.append(sentence(text.format_map(words)))
    return " ".join(said)


def _words(facts: LeadFacts) -> dict[str, str]:
    planned = sorted((one for one in facts.open_tasks if not one.suggested), key=lambda one: (one.due is None, one.due))
    # What is suggested and not yet decided may change any day; a summary stays until something happens.
    advice = playbook().suggest(facts.model_copy(update={"open_tasks": planned, "dismissed_tasks": []}))
    found = {
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
    return {name: text for name, text in found.items() if text}


def _kinds(facts: LeadFacts) -> str | None:
    """How often by which way; not known of leads with more contacts than the facts hold."""
    counted = Counter(one.type for one in facts.touches)
    if counted.total() != facts.contact_count:
        return None
    named = [
        one if counted[kind] == 1 else f"{counted[kind]} {many}"
        for kind, (one, many) in _KINDS[facts.language].items()
        if counted[kind]
    ]
    return _AND[facts.language].join(filter(None, (", ".join(named[:-1]), *named[-1:])))
