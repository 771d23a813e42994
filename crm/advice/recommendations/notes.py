"""What notes say, as the playbook reads them: signals, who wrote, which calls nobody answered."""

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
    """Any of these words; `{day}` stands for a day, however it is said."""
    found = []
    for word in words:
        text = re.escape(word).replace(r"\{day\}", DAY_PATTERN)
        for name, value in (names or {}).items():
            text = text.replace(rf"\{{{name}\}}", re.escape(value))
        found.append(rf"\b{text}" if word[0].isalnum() else text)
    return re.compile("|".join(found), re.IGNORECASE)


class Strict(BaseModel):
    """Part of the playbook's file: what it does not know is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class NoteReading(Strict):
    """How entries are read before anything else is."""

    unanswered: list[str] = Field(min_length=1)
    from_us: list[str] = Field(min_length=1)
    orders_to_a_machine: list[str] = Field(min_length=1)

    @cached_property
    def nobody_answered(self) -> re.Pattern[str]:
        """Words of a call that nobody took."""
        return pattern_of(self.unanswered)

    @cached_property
    def orders(self) -> re.Pattern[str]:
        """Words that speak to a program instead of a person."""
        return pattern_of(self.orders_to_a_machine)

    def is_attempt(self, entry: Contact) -> bool:
        """Whether it is a call that nobody answered."""
        if entry.type is not InteractionType.CALL:
            return False
        brief = entry.minutes is not None and entry.minutes <= _HUNG_UP
        told = self.nobody_answered.search(_text(entry)) is not None
        return brief or (told and (entry.minutes or 0) <= _PICKED_UP)

    def is_from_us(self, entry: Contact, first_name: str) -> bool:
        """Whether we wrote it to them: it begins as such letters do."""
        begins = pattern_of(self.from_us, {"first": first_name.strip() or "\x00"})
        texts = (entry.notes or "", "" if entry.notes else entry.subject or "")
        return entry.type in _WRITTEN and any(begins.match(text.translate(_APOSTROPHES).lstrip()) for text in texts)

    def speaks_to_a_machine(self, entry: Contact) -> bool:
        """Whether it gives orders to a program: nobody's wish, whoever pasted it."""
        return self.orders.search(_text(entry)) is not None


@dataclass(frozen=True)
class History:
    """A lead's entries, newest first, as the playbook reads them."""

    facts: LeadFacts
    reading: NoteReading

    @cached_property
    def entries(self) -> list[Contact]:
        """What has happened and may be believed."""
        past = [one for one in self.facts.contacts if one.at <= self.facts.now]
        return [one for one in past if not self.reading.speaks_to_a_machine(one)]

    @cached_property
    def reached(self) -> list[Contact]:
        """Contacts with the lead itself: calls that nobody answered are none."""
        return [one for one in self.facts.touches if not self.reading.is_attempt(one)]

    @cached_property
    def attempts(self) -> list[Contact]:
        """The calls that nobody has answered since we last had contact."""
        since = self.last.at if self.last else None
        tried = [one for one in self.facts.touches if self.reading.is_attempt(one)]
        return [one for one in tried if since is None or one.at > since]

    @property
    def last(self) -> Contact | None:
        """The last contact."""
        return next(iter(self.reached), None)

    @cached_property
    def contacts(self) -> int:
        """How many contacts there have been."""
        return self.facts.contact_count - (len(self.facts.touches) - len(self.reached))

    @cached_property
    def quiet_days(self) -> int:
        """Whole days since the last contact; without one, since the lead came in."""
        since = self.last.at if self.last else self.facts.created_at
        return max(0, (self.facts.now - since) // timedelta(days=1))

    @cached_property
    def last_is_from_us(self) -> bool:
        """Whether the last contact is a letter of ours."""
        return self.last is not None and self.reading.is_from_us(self.last, self.facts.first_name)

    @cached_property
    def theirs(self) -> list[Contact]:
        """What they told us after we last wrote."""
        ours = (one for one in self.reached if self.reading.is_from_us(one, self.facts.first_name))
        since = next((one.at for one in ours), None)
        spoken = [one for one in self.reached if since is None or one.at > since]
        return [one for one in spoken if one in self.entries]

    @cached_property
    def dismissals(self) -> list[Contact]:
        """Why tasks were dismissed."""
        return [
            Contact(type=InteractionType.NOTE, subject=None, notes=one.reason, at=one.at, minutes=None)
            for one in self.facts.dismissed_tasks
            if one.reason
        ]


@dataclass(frozen=True, slots=True)
class SeenSignal:
    """Where a signal was seen: the entry, the sentence, and the day that it names."""

    entry: Contact
    quote: str
    day: date | None


class NoteSignal(Strict):
    """Words in the notes that change what to do."""

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
        """Any of the words, as words."""
        return pattern_of(self.words)

    def seen_in(self, history: History) -> SeenSignal | None:
        """The newest entry that holds one of the words."""
        now = history.facts.now
        entries = (history.theirs if self.theirs else history.entries)[: self.newest]
        if self.no_calls:
            entries = [*entries, *history.dismissals]
        for entry in entries:
            if entry.at < now - timedelta(days=self.days):
                continue
            found = self._found(entry)
            if found is not None:
                gone = self.until_the_day and found.day is not None and found.day < now.date()
                return None if gone else found
        return None

    def _found(self, entry: Contact) -> SeenSignal | None:
        for text in (entry.subject or "", entry.notes or ""):
            for one in _SENTENCES.split(text[:_LONGEST_SENTENCE].translate(_APOSTROPHES)):
                if self.pattern.search(one):
                    return SeenSignal(entry, _quoted(one), day_named(one, entry.at.date()))
        return None


def _quoted(text: str) -> str:
    """A sentence as it may be quoted: its own words, briefly."""
    whole = plain(text, _LONGEST_SENTENCE).translate(_QUOTES).strip(" '.,;:")
    if len(whole) <= _LONGEST_QUOTE:
        return whole
    return whole[: _LONGEST_QUOTE - 1].rsplit(" ", 1)[0].rstrip(" ,;:") + "…"


def _text(entry: Contact) -> str:
    return f"{entry.subject or ''}\n{entry.notes or ''}".translate(_APOSTROPHES)
