"""Reads notes for the playbook: finds signals, their authors, and unanswered calls."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from crm.advice.recommendations.days import DAY_PATTERN, day_named
from crm.advice.recommendations.plain import plain
from crm.sales.interactions.model import InteractionType
from crm.sales.leads.facts import Contact, LeadFacts

_APOSTROPHES: Final = str.maketrans("\u2019`\u00b4", "'''")  # as people type them
_SENTENCES: Final = re.compile(r"(?<=[.!?])[\s\"”“]+|[\r\n]+")
_QUOTES: Final = str.maketrans('“”„»«"', "''''''")
_LONGEST_QUOTE: Final = 120
_LONGEST_SENTENCE: Final = 1500
_WRITTEN: Final = (InteractionType.EMAIL, InteractionType.MESSAGE)
_HUNG_UP: Final = 1  # minutes
_PICKED_UP: Final = 2


def pattern_of(words: Sequence[str], names: Mapping[str, str] | None = None) -> re.Pattern[str]:
    """A pattern for any of these words; `{day}` in a word matches a day in any notation."""
    alternatives = []
    for word in words:
        text = re.escape(word).replace(r"\{day\}", DAY_PATTERN)
        for name, value in (names or {}).items():
            text = text.replace(rf"\{{{name}\}}", re.escape(value))
        alternatives.append(rf"\b{text}" if word[0].isalnum() else text)
    return re.compile("|".join(alternatives), re.IGNORECASE)


class StrictModel(BaseModel):
    """Part of the playbook's file; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class NoteReading(StrictModel):
    """Rules for reading entries: unanswered calls, letters of ours, orders to a program."""

    unanswered: list[str] = Field(min_length=1)
    from_us: list[str] = Field(min_length=1)
    orders_to_a_machine: list[str] = Field(min_length=1)

    @cached_property
    def nobody_answered(self) -> re.Pattern[str]:
        """Matches notes of a call that was not answered."""
        return pattern_of(self.unanswered)

    @cached_property
    def orders(self) -> re.Pattern[str]:
        """Matches orders to a program instead of a person."""
        return pattern_of(self.orders_to_a_machine)

    def is_attempt(self, entry: Contact) -> bool:
        """Whether an entry is a call that was not answered."""
        if entry.type is not InteractionType.CALL:
            return False
        brief = entry.minutes is not None and entry.minutes <= _HUNG_UP
        says_so = self.nobody_answered.search(_text(entry)) is not None
        return brief or (says_so and (entry.minutes or 0) <= _PICKED_UP)

    def is_from_us(self, entry: Contact, first_name: str) -> bool:
        """Whether an entry is a letter from us to the lead, as its beginning shows."""
        begins = pattern_of(self.from_us, {"first": first_name.strip() or "\x00"})
        texts = (entry.notes or "", "" if entry.notes else entry.subject or "")
        return entry.type in _WRITTEN and any(begins.match(text.translate(_APOSTROPHES).lstrip()) for text in texts)

    def speaks_to_a_machine(self, entry: Contact) -> bool:
        """Whether an entry gives orders to a program, and so cannot be the lead's own words."""
        return self.orders.search(_text(entry)) is not None


@dataclass(frozen=True)
class History:
    """A lead's entries, newest first, as the playbook reads them."""

    facts: LeadFacts
    reading: NoteReading

    @cached_property
    def entries(self) -> list[Contact]:
        """Past entries, without those that give orders to a program."""
        past = [entry for entry in self.facts.contacts if entry.at <= self.facts.now]
        return [entry for entry in past if not self.reading.speaks_to_a_machine(entry)]

    @cached_property
    def reached(self) -> list[Contact]:
        """Contacts with the lead itself, without unanswered calls."""
        return [entry for entry in self.facts.touches if not self.reading.is_attempt(entry)]

    @cached_property
    def attempts(self) -> list[Contact]:
        """Unanswered calls since the last contact."""
        since = self.last.at if self.last else None
        attempts = [entry for entry in self.facts.touches if self.reading.is_attempt(entry)]
        return [entry for entry in attempts if since is None or entry.at > since]

    @property
    def last(self) -> Contact | None:
        """The last contact."""
        return next(iter(self.reached), None)

    @cached_property
    def contacts(self) -> int:
        """How many contacts there have been, without unanswered calls."""
        return self.facts.contact_count - (len(self.facts.touches) - len(self.reached))

    @cached_property
    def quiet_days(self) -> int:
        """Whole days since the last contact; if there is none, since the lead was created."""
        since = self.last.at if self.last else self.facts.created_at
        return max(0, (self.facts.now - since) // timedelta(days=1))

    @cached_property
    def last_is_from_us(self) -> bool:
        """Whether the last contact is a letter of ours."""
        return self.last is not None and self.reading.is_from_us(self.last, self.facts.first_name)

    @cached_property
    def theirs(self) -> list[Contact]:
        """Contacts since our last letter to the lead."""
        ours = (entry for entry in self.reached if self.reading.is_from_us(entry, self.facts.first_name))
        since = next((entry.at for entry in ours), None)
        later = [entry for entry in self.reached if since is None or entry.at > since]
        return [entry for entry in later if entry in self.entries]

    @cached_property
    def dismissals(self) -> list[Contact]:
        """The reasons why tasks were dismissed, as notes."""
        return [
            Contact(type=InteractionType.NOTE, subject=None, notes=task.reason, at=task.at, minutes=None)
            for task in self.facts.dismissed_tasks
            if task.reason
        ]


@dataclass(frozen=True, slots=True)
class SeenSignal:
    """A signal in an entry, with the sentence and the day that it names."""

    entry: Contact
    quote: str
    day: date | None


class NoteSignal(StrictModel):
    """A signal: words in the notes that change what to do."""

    newest: int = Field(ge=1)
    days: int = Field(ge=1)
    words: list[str] = Field(min_length=1)
    holds_back: bool = False
    no_calls: bool = False
    theirs: bool = False
    until_the_day: bool = False
    ended_by: list[str] = Field(default=[])

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches any of the words."""
        return pattern_of(self.words)

    def seen_in(self, history: History) -> SeenSignal | None:
        """The signal in the newest entry with one of the words, unless the day it names is over."""
        now = history.facts.now
        entries = (history.theirs if self.theirs else history.entries)[: self.newest]
        if self.no_calls:
            entries = [*entries, *history.dismissals]
        for entry in entries:
            if entry.at < now - timedelta(days=self.days):
                continue
            seen = self._found(entry)
            if seen is not None:
                is_over = self.until_the_day and seen.day is not None and seen.day < now.date()
                return None if is_over else seen
        return None

    def _found(self, entry: Contact) -> SeenSignal | None:
        for text in (entry.subject or "", entry.notes or ""):
            for sentence in _SENTENCES.split(text[:_LONGEST_SENTENCE].translate(_APOSTROPHES)):
                if self.pattern.search(sentence):
                    return SeenSignal(entry, _quoted(sentence), day_named(sentence, entry.at.date()))
        return None


def _quoted(text: str) -> str:
    """A sentence shortened for a quotation, in its own words."""
    whole = plain(text, _LONGEST_SENTENCE).translate(_QUOTES).strip(" '.,;:")
    if len(whole) <= _LONGEST_QUOTE:
        return whole
    return whole[: _LONGEST_QUOTE - 1].rsplit(" ", 1)[0].rstrip(" ,;:") + "…"


def _text(entry: Contact) -> str:
    return f"{entry.subject or ''}\n{entry.notes or ''}".translate(_APOSTROPHES)
