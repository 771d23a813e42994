"""The language of messages that people read: the one of the request's `Accept-Language`, English or Swedish."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final

_LONGEST_HEADER: Final = 500


class Language(StrEnum):
    """A language that messages are written in."""

    ENGLISH = "en"
    SWEDISH = "sv"


_current: ContextVar[Language] = ContextVar("language", default=Language.ENGLISH)


def set_language(accept_language: bytes | str | None) -> None:
    """Write messages from now on, in this task and those that it begins, in the language that a client prefers."""
    # Without a header, too: a request that waited in line begins in the task of the one before, and so in its language.
    _current.set(Language.ENGLISH if accept_language is None else preferred(accept_language))


def current_language() -> Language:
    """The language of messages in this task."""
    return _current.get()


@lru_cache(maxsize=256)
def preferred(accept_language: bytes | str) -> Language:
    """The language of ours that an `Accept-Language` prefers: the first of those with the greatest weight.

    https://www.rfc-editor.org/rfc/rfc9110#name-accept-language
    """
    text = accept_language.decode("latin-1") if isinstance(accept_language, bytes) else accept_language
    best, language = 0.0, Language.ENGLISH
    for accepted in text[:_LONGEST_HEADER].lower().split(","):
        tag, *parameters = (part.strip() for part in accepted.split(";"))
        weight = next((_weight(part[2:]) for part in parameters if part.startswith("q=")), 1.0)
        primary = tag.split("-")[0]
        if primary in _LANGUAGES and weight > best:
            best, language = weight, _LANGUAGES[primary]
    return language


_LANGUAGES: Final = {language.value: language for language in Language}


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


@dataclass(frozen=True, slots=True)
class Phrase:
    """A sentence in both languages, with places for values: `{limit}`. Phrases in it are in its language, too."""

    english: str
    swedish: str
    values: Mapping[str, object] = field(default_factory=dict)

    def of(self, **values: object) -> "Phrase":
        """The same sentence with these values."""
        return Phrase(self.english, self.swedish, {**self.values, **values})

    def text(self, language: Language | None = None) -> str:
        """The sentence in a language: without one, in that of the request."""
        language = language or _current.get()
        template = self.swedish if language is Language.SWEDISH else self.english
        return template.format(**{name: _shown(value, language) for name, value in self.values.items()})


def _shown(value: object, language: Language) -> str:
    if isinstance(value, Phrase):
        return value.text(language)
    if isinstance(value, int) and not isinstance(value, bool):
        number = f"{value:,}"
        return number.replace(",", "\N{NO-BREAK SPACE}") if language is Language.SWEDISH else number
    return str(value)
