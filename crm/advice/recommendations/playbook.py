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

from pydantic import Field, model_validator

from crm.advice.recommendations.notes import History, NoteReading, NoteSignal, SeenSignal, StrictModel, pattern_of
from crm.advice.recommendations.words import contact_words, day, sentence, who, words_of
from crm.advice.recommendations.workdays import due_beside, due_in
from crm.sales.interactions.model import InteractionType
from crm.sales.leads.facts import LeadFacts, ToDo
from crm.sales.leads.language import Language
from crm.sales.leads.model import LeadStatus
from crm.sales.tasks.model import TaskPriority

Span = Annotated[tuple[int, int], Field(description="From and to, both included.")]
# As much of a title as lists show; longer names are cut in it, and complete in the reason.
_TITLE: Final = 90
_FURTHEST: Final = timedelta(days=360)
_SIGNAL_WORDS: Final = frozenset({"signal_on", "quote"})
_TITLE_WORDS: Final = frozenset({"who"})
_KNOWN_WORDS: Final = _SIGNAL_WORDS | {
    *("first", "name", "company", "firm", "source", "place", "budget", "owner", "score", "ways", "came_on", "quiet"),
    *("contacts", "last_on", "last_kind", "meeting_on", "planned_on", "planned_kind", "tried_on", "due_on"),
}
_NOTHING_SEEN: Final[Mapping[str, SeenSignal]] = MappingProxyType({})


class When(StrictModel):
    """Conditions on a lead."""

    status: list[LeadStatus] | None = None
    quiet: Span | None = None
    contacts: Span | None = None
    meetings: Span | None = None
    unanswered: Span | None = None
    last: list[InteractionType] | None = None
    last_is_ours: bool | None = None
    phone: bool | None = None
    email: bool | None = None
    budget: bool | None = None
    owner: bool | None = None
    company: bool | None = None
    big_budget: bool | None = None
    hot: bool | None = None
    planned: bool | None = None
    open: str | None = None
    dismissed: str | None = None
    signal: str | None = None
    names_a_day: bool | None = None
    without: list[str] = Field(default=[])


class Wording(StrictModel):
    """The texts of a rule in one language."""

    title: str
    reason: list[str] = Field(min_length=1)
    how: str

    def title_from(self, words: Mapping[str, str], language: Language, *, again: bool) -> str | None:
        """The title, with names cut to the room that it has; None if a fact that it names is unknown."""
        unnamed = _filled([self.title], {**words, "who": ""})
        if not unnamed:
            return None
        room = max(0, _TITLE - len(unnamed[0]))
        return _filled([self.title], {**words, "who": who(words, language, room, again=again)})[0]

    def reason_from(self, words: Mapping[str, str]) -> str | None:
        """The sentences whose facts are known; None if the first is not among them."""
        if not _filled(self.reason[:1], words):
            return None
        return " ".join(_filled(self.reason, words))

    def how_from(self, words: Mapping[str, str]) -> str | None:
        """The description of how to do it; None if a fact that it names is unknown."""
        return next(iter(_filled([self.how], words)), None)


class Rule(StrictModel):
    """A rule: the conditions, and the task that it suggests."""

    name: str
    topic: str
    weight: int = Field(ge=0, le=100)
    priority: TaskPriority
    due: int = Field(ge=0, le=180)
    beside_the_day: int | None = Field(default=None, ge=-5, le=5)
    when: When
    en: Wording
    sv: Wording
    contact: bool = True
    instead_of: list[str] = Field(default=[])
    alone: bool = False

    @model_validator(mode="after")
    def _names_known_facts(self) -> "Rule":
        known = _KNOWN_WORDS if self.when.signal else _KNOWN_WORDS - _SIGNAL_WORDS
        for wording in (self.en, self.sv):
            named = [(wording.title, known | _TITLE_WORDS), *((text, known) for text in (*wording.reason, wording.how))]
            for text, allowed in named:
                unknown = _names(text) - allowed
                if unknown:
                    msg = f"rule {self.name}: there is no fact called {', '.join(sorted(unknown))}: {text!r}"
                    raise ValueError(msg)
        return self

    def wording(self, language: Language) -> Wording:
        """The rule's texts in a language."""
        return self.sv if language is Language.SWEDISH else self.en


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A task that a rule suggests."""

    rule: str
    title: str
    reasoning: str
    description: str | None
    priority: TaskPriority
    due: datetime


class SourceWords(StrictModel):
    """A lead's source in words for a sentence."""

    en: str
    sv: str


@dataclass(frozen=True, slots=True)
class _Case:
    """A lead with the signals in its notes."""

    facts: LeadFacts
    history: History
    seen: Mapping[str, SeenSignal]
    words: Mapping[str, str]


class Playbook(StrictModel):
    """All rules and their vocabulary."""

    version: str
    at_most: int = Field(ge=1, le=3)
    hot_score: int
    hot_contacts: int
    holidays: list[str]
    big_budget: dict[str, Decimal]
    sources: dict[str, SourceWords]
    reading: NoteReading
    signals: dict[str, NoteSignal]
    topics: dict[str, list[str]]
    rule: list[Rule]

    @model_validator(mode="after")
    def _refers_to_what_exists(self) -> "Playbook":
        for signal in self.signals.values():
            self._check("signals", "signal", signal.ended_by, self.signals)
        for rule in self.rule:
            when = rule.when
            topics = [rule.topic, *rule.instead_of, *filter(None, [when.open, when.dismissed])]
            self._check(f"rule {rule.name}", "topic", topics, self.topics)
            self._check(f"rule {rule.name}", "signal", [*filter(None, [when.signal]), *when.without], self.signals)
        return self

    @staticmethod
    def _check(where: str, noun: str, named: Sequence[str], known: Mapping[str, Any]) -> None:
        unknown = set(named) - known.keys()
        if unknown:
            msg = f"{where}: there is no {noun} {', '.join(sorted(unknown))}"
            raise ValueError(msg)

    def sources_in(self, language: Language) -> dict[str, str]:
        """The sources of leads in words of a language."""
        return {name: words.sv if language is Language.SWEDISH else words.en for name, words in self.sources.items()}

    def suggest(self, facts: LeadFacts) -> list[Suggestion]:
        """Suggest tasks: by the rules of most weight that apply, one per topic, none that is planned or was dismissed.

        A rule that applies also blocks the topics in its `instead_of`, even if its own task is planned already.
        """
        suggestions: list[Suggestion] = []
        planned, dismissed = (self._topics_of(tasks) for tasks in (facts.open_tasks, facts.dismissed_tasks))
        taken = planned | dismissed
        case = self._case(facts)
        for rule in self._applying(case):
            suggestion = None if rule.topic in taken else self._worded(rule, case, again=bool(suggestions))
            if suggestion is not None:
                suggestions.append(suggestion)
            elif rule.topic not in planned:
                continue
            taken |= {rule.topic, *rule.instead_of}
            if rule.alone:
                break
        return suggestions[: self.at_most]

    def _case(self, facts: LeadFacts) -> _Case:
        history = History(facts, self.reading)
        seen = {name: sight for name, signal in self.signals.items() if (sight := signal.seen_in(history))}
        over = {
            name
            for name, sight in seen.items()
            if any(other in seen and seen[other].entry.at > sight.entry.at for other in self.signals[name].ended_by)
        }
        seen = {name: sight for name, sight in seen.items() if name not in over}
        if facts.has_email and any(self.signals[name].no_calls for name in seen):
            facts = facts.model_copy(update={"has_phone": False})
        words = {
            name: text
            for name, text in (dict(words_of(facts, self.sources_in(facts.language))) | _contact_words(history)).items()
            if text
        }
        return _Case(facts, history, seen, words)

    def _applying(self, case: _Case) -> Iterator[Rule]:
        held_back = any(self.signals[name].holds_back for name in case.seen)
        for rule in sorted(self.rule, key=lambda rule: -rule.weight):
            if not (rule.contact and held_back) and self._holds(rule.when, case):
                yield rule

    def _worded(self, rule: Rule, case: _Case, *, again: bool) -> Suggestion | None:
        language, due = case.facts.language, self._due(rule, case)
        words = {**case.words, "due_on": day(due, language)}
        if rule.when.signal is not None:
            seen = case.seen[rule.when.signal]
            words["signal_on"] = day(seen.entry.at, language)
            if seen.quote:
                words["quote"] = seen.quote
        wording = rule.wording(language)
        title, reasoning = wording.title_from(words, language, again=again), wording.reason_from(words)
        if title is None or reasoning is None:
            return None
        return Suggestion(rule.name, title, reasoning, wording.how_from(words), rule.priority, due)

    def _due(self, rule: Rule, case: _Case) -> datetime:
        """When the task is due: so many working days from now, or from the day that the notes name."""
        now = case.facts.now
        seen = case.seen.get(rule.when.signal or "")
        if rule.beside_the_day is None or seen is None or seen.day is None:
            return due_in(now, rule.due, self.holidays)
        named = min(seen.day, (now + _FURTHEST).date())
        due = due_beside(named, rule.beside_the_day, self.holidays)
        return due if due > now else due_in(now, 0, self.holidays)

    def holds(self, when: When, facts: LeadFacts) -> bool:
        """Whether a lead meets the conditions, its notes aside."""
        return self._holds(when, _Case(facts, History(facts, self.reading), _NOTHING_SEEN, {}))

    def _holds(self, when: When, case: _Case) -> bool:
        facts, history, last = case.facts, case.history, case.history.last
        return (
            (when.status is None or facts.status in when.status)
            and _within(history.quiet_days, when.quiet)
            and _within(history.contacts, when.contacts)
            and _within(facts.meeting_count, when.meetings)
            and _within(len(history.attempts), when.unanswered)
            and (when.last is None or (last is not None and last.type in when.last))
            and (when.signal is None or when.signal in case.seen)
            and not any(name in case.seen for name in when.without)
            and all(asked is None or asked == known for asked, known in self._known(when, case))
        )

    def _known(self, when: When, case: _Case) -> Iterator[tuple[bool | None, bool]]:
        facts = case.facts
        yield when.phone, facts.has_phone
        yield when.email, facts.has_email
        yield when.budget, bool(facts.budget)
        yield when.owner, facts.owner is not None
        yield when.company, facts.company is not None
        yield when.big_budget, self.is_big(facts)
        yield when.hot, self.is_hot(facts)
        yield when.planned, facts.planned is not None
        yield when.last_is_ours, case.history.last_is_from_us
        seen = case.seen.get(when.signal or "")
        yield when.names_a_day, seen is not None and seen.day is not None
        if when.open is not None:
            yield True, self._is_about(when.open, [task.title for task in facts.open_tasks])
        if when.dismissed is not None:
            yield True, self._is_about(when.dismissed, [task.title for task in facts.dismissed_tasks])

    def is_big(self, facts: LeadFacts) -> bool:
        """Whether the budget is large for its currency."""
        least = self.big_budget.get(facts.currency or "")
        return facts.budget is not None and least is not None and facts.budget >= least

    def is_hot(self, facts: LeadFacts) -> bool:
        """Whether the lead is among the hot ones."""
        if facts.score is None:
            return facts.recent_contact_count >= self.hot_contacts
        return facts.score >= self.hot_score

    def _topics_of(self, tasks: Sequence[ToDo]) -> set[str]:
        """The topics of tasks, by their titles."""
        titles = [task.title for task in tasks]
        return {topic for topic in self.topics if self._is_about(topic, titles)}

    def _is_about(self, topic: str, titles: Sequence[str]) -> bool:
        return any(self._topic_patterns[topic].search(title) for title in titles)

    def compile(self) -> None:
        """Compile all patterns."""
        _ = self._topic_patterns, self.reading.nobody_answered, self.reading.orders
        for signal in self.signals.values():
            _ = signal.pattern

    @cached_property
    def _topic_patterns(self) -> dict[str, re.Pattern[str]]:
        return {topic: pattern_of(words) for topic, words in self.topics.items()}


@lru_cache
def playbook() -> Playbook:
    """The playbook of this program, with its patterns compiled: that takes 50 ms, and no request should wait for it."""
    book = Playbook.model_validate(tomllib.loads(files(__package__).joinpath("playbook.toml").read_text("utf-8")))
    book.compile()
    return book


def _filled(texts: Sequence[str], words: Mapping[str, str]) -> list[str]:
    """The texts whose facts are all known, filled in; a fact is never itself read as a template."""
    return [sentence(text.format_map(words)) for text in texts if _names(text) <= words.keys()]


def _names(text: str) -> set[str]:
    """The facts that a template names."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def _within(number: int, span: tuple[int, int] | None) -> bool:
    return span is None or span[0] <= number <= span[1]


def _contact_words(history: History) -> dict[str, str | None]:
    """The words about contacts, without unanswered calls."""
    facts = history.facts
    counted = history.contacts if history.contacts == facts.contact_count else None
    attempt = next(iter(history.attempts), None)
    return {
        **contact_words(facts.language, history.last, history.quiet_days, counted),
        "tried_on": day(attempt.at, facts.language) if attempt else None,
    }


def as_rows(suggestions: Sequence[Suggestion]) -> list[dict[str, Any]]:
    """Suggestions in the shape of a model's reply."""
    return [
        {
            "rule": suggestion.rule,
            "title": suggestion.title,
            "reasoning": suggestion.reasoning,
            "description": suggestion.description,
            "priority": suggestion.priority.value,
            "due_date": suggestion.due.date().isoformat(),
        }
        for suggestion in suggestions
    ]
