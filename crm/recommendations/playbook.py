"""The rules of playbook.toml: read, checked at start, and applied to a lead's facts."""

import re
import string
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property, lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crm.interactions.model import InteractionType
from crm.leads.facts import Contact, LeadFacts
from crm.leads.language import Language
from crm.leads.model import LeadStatus
from crm.recommendations.words import day, sentence, short, words_of
from crm.recommendations.workdays import due_in
from crm.tasks.model import TaskPriority

Span = Annotated[tuple[int, int], Field(description="From and to, both included.")]
_APOSTROPHES: Final = str.maketrans("\u2019`\u00b4", "'''")  # as people type them
# A long name is cut for a title, and stands whole in the reason.
_TITLE: Final = 90
_IN_A_TITLE: Final = 40
_SIGNAL_WORDS: Final = frozenset({"signal_on"})
_KNOWN_WORDS: Final = _SIGNAL_WORDS | {
    *("first", "name", "company", "source", "place", "budget", "owner", "score", "came_on", "quiet", "contacts"),
    *("last_on", "last_kind", "meeting_on", "planned_on", "planned_kind"),
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class When(_Strict):
    """What must hold for a lead."""

    status: list[LeadStatus] | None = None
    quiet: Span | None = None
    contacts: Span | None = None
    meetings: Span | None = None
    last: list[InteractionType] | None = None
    phone: bool | None = None
    email: bool | None = None
    budget: bool | None = None
    owner: bool | None = None
    company: bool | None = None
    big_budget: bool | None = None
    hot: bool | None = None
    planned: bool | None = None
    signal: str | None = None
    without: list[str] = []


class Signal(_Strict):
    """Words in the notes that change what to do."""

    newest: int = Field(ge=1)
    days: int = Field(ge=1)
    words: list[str] = Field(min_length=1)
    holds_back: bool = False

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Any of the words, as words."""
        return re.compile(rf"\b(?:{'|'.join(re.escape(one.casefold()) for one in self.words)})")

    def seen_in(self, facts: LeadFacts) -> Contact | None:
        """The newest entry that holds one of the words."""
        oldest = facts.now - timedelta(days=self.days)
        past = [one for one in facts.contacts if one.at <= facts.now][: self.newest]
        return next((one for one in past if one.at >= oldest and self.pattern.search(_text(one))), None)


class Wording(_Strict):
    """A rule in one language."""

    title: list[str] = Field(min_length=1)
    reason: list[str] = Field(min_length=1)

    def title_from(self, words: Mapping[str, str]) -> str | None:
        """The first title whose facts are all known and that a list can show; if none is so short, the shortest."""
        titles = _filled(self.title, {name: short(text, _IN_A_TITLE) for name, text in words.items()})
        return next((one for one in titles if len(one) <= _TITLE), min(titles, key=len, default=None))

    def reason_from(self, words: Mapping[str, str]) -> str | None:
        """The sentences whose facts are known; none without the first."""
        if not _filled(self.reason[:1], words):
            return None
        return " ".join(_filled(self.reason, words))


class Rule(_Strict):
    """When to suggest what."""

    name: str
    topic: str
    weight: int = Field(ge=0, le=100)
    priority: TaskPriority
    due: int = Field(ge=0, le=60)
    when: When
    en: Wording
    sv: Wording
    contact: bool = True

    @model_validator(mode="after")
    def _names_known_facts(self) -> "Rule":
        known = _KNOWN_WORDS if self.when.signal else _KNOWN_WORDS - _SIGNAL_WORDS
        for text in (*self.en.title, *self.en.reason, *self.sv.title, *self.sv.reason):
            unknown = _names(text) - known
            if unknown:
                msg = f"rule {self.name}: there is no fact called {', '.join(sorted(unknown))}: {text!r}"
                raise ValueError(msg)
        return self

    def wording(self, language: Language) -> Wording:
        """The rule in a language."""
        return self.sv if language is Language.SWEDISH else self.en


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A task that a rule suggests."""

    rule: str
    title: str
    reasoning: str
    priority: TaskPriority
    due: datetime


class Playbook(_Strict):
    """All rules."""

    version: str
    at_most: int = Field(ge=1, le=3)
    hot_score: int
    hot_contacts: int
    holidays: list[str]
    big_budget: dict[str, Decimal]
    signals: dict[str, Signal]
    topics: dict[str, list[str]]
    rule: list[Rule]

    @model_validator(mode="after")
    def _refers_to_what_exists(self) -> "Playbook":
        for rule in self.rule:
            if rule.topic not in self.topics:
                msg = f"rule {rule.name}: there is no topic {rule.topic}"
                raise ValueError(msg)
            unknown = {*filter(None, [rule.when.signal]), *rule.when.without} - self.signals.keys()
            if unknown:
                msg = f"rule {rule.name}: there is no signal {', '.join(sorted(unknown))}"
                raise ValueError(msg)
        return self

    def suggest(self, facts: LeadFacts) -> list[Suggestion]:
        """What to do next: the heaviest rules that hold, one of each topic, none that is planned or was dismissed."""
        found: list[Suggestion] = []
        taken = self._taken_topics(facts)
        for rule, suggestion in self._applying(facts):
            if rule.topic not in taken:
                taken.add(rule.topic)
                found.append(suggestion)
        return found[: self.at_most]

    def _applying(self, facts: LeadFacts) -> Iterator[tuple[Rule, Suggestion]]:
        seen = {name: entry for name, signal in self.signals.items() if (entry := signal.seen_in(facts))}
        held_back = any(self.signals[name].holds_back for name in seen)
        words = words_of(facts)
        for rule in sorted(self.rule, key=lambda one: -one.weight):
            if (rule.contact and held_back) or not self.holds(rule.when, facts, seen):
                continue
            told = dict(words)
            if rule.when.signal is not None:
                told["signal_on"] = day(seen[rule.when.signal].at, facts.language)
            suggestion = self._worded(rule, facts, told)
            if suggestion is not None:
                yield rule, suggestion

    def _worded(self, rule: Rule, facts: LeadFacts, words: Mapping[str, str]) -> Suggestion | None:
        wording = rule.wording(facts.language)
        title, reasoning = wording.title_from(words), wording.reason_from(words)
        if title is None or reasoning is None:
            return None
        return Suggestion(rule.name, title, reasoning, rule.priority, due_in(facts.now, rule.due, self.holidays))

    def holds(self, when: When, facts: LeadFacts, seen: Mapping[str, Contact] = MappingProxyType({})) -> bool:
        """Whether all that is asked for holds for a lead, in whose notes these signals were seen."""
        last = facts.last_touch
        return (
            (when.status is None or facts.status in when.status)
            and _within(facts.quiet_days, when.quiet)
            and _within(facts.contact_count, when.contacts)
            and _within(facts.meeting_count, when.meetings)
            and (when.last is None or (last is not None and last.type in when.last))
            and (when.signal is None or when.signal in seen)
            and not any(name in seen for name in when.without)
            and all(asked is None or asked == known for asked, known in self._known(when, facts))
        )

    def _known(self, when: When, facts: LeadFacts) -> Iterator[tuple[bool | None, bool]]:
        yield when.phone, facts.has_phone
        yield when.email, facts.has_email
        yield when.budget, bool(facts.budget)
        yield when.owner, facts.owner is not None
        yield when.company, facts.company is not None
        yield when.big_budget, self.is_big(facts)
        yield when.hot, self.is_hot(facts)
        yield when.planned, facts.planned is not None

    def is_big(self, facts: LeadFacts) -> bool:
        """Whether the budget is a large one, in its currency."""
        least = self.big_budget.get(facts.currency or "")
        return facts.budget is not None and least is not None and facts.budget >= least

    def is_hot(self, facts: LeadFacts) -> bool:
        """Whether the lead is among the hot ones."""
        if facts.score is None:
            return facts.recent_contact_count >= self.hot_contacts
        return facts.score >= self.hot_score

    def _taken_topics(self, facts: LeadFacts) -> set[str]:
        """What open tasks, and those dismissed of late, are about."""
        titles = [one.title.casefold() for one in (*facts.open_tasks, *facts.dismissed_tasks)]
        return {topic for topic, pattern in self._topic_patterns.items() if any(map(pattern.search, titles))}

    @cached_property
    def _topic_patterns(self) -> dict[str, re.Pattern[str]]:
        return {
            topic: re.compile(rf"\b(?:{'|'.join(re.escape(one.casefold()) for one in words)})")
            for topic, words in self.topics.items()
        }


@lru_cache
def playbook() -> Playbook:
    """The playbook of this program."""
    return Playbook.model_validate(tomllib.loads(files(__package__).joinpath("playbook.toml").read_text("utf-8")))


def _filled(texts: Sequence[str], words: Mapping[str, str]) -> list[str]:
    """Those texts whose facts are all known, with the facts in place: put in as they are, never read as templates."""
    return [sentence(text.format_map(words)) for text in texts if _names(text) <= words.keys()]


def _names(text: str) -> set[str]:
    """The facts that a template names."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def _within(number: int, span: tuple[int, int] | None) -> bool:
    return span is None or span[0] <= number <= span[1]


def _text(entry: Contact) -> str:
    return f"{entry.subject or ''}\n{entry.notes or ''}".translate(_APOSTROPHES).casefold()


def as_rows(suggestions: Sequence[Suggestion]) -> list[dict[str, Any]]:
    """Suggestions in the shape of a model's reply."""
    return [
        {
            "rule": one.rule,
            "title": one.title,
            "reasoning": one.reasoning,
            "priority": one.priority.value,
            "due_date": one.due.date().isoformat(),
        }
        for one in suggestions
    ]
