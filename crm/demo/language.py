"""The type of a demo language's texts; the texts are in swedish.py and english.py."""

from collections.abc import Mapping
from dataclasses import dataclass

# A subject and its notes, or a title and its description (of a suggestion: its reasoning). Texts may name the lead's
# facts: {first} {last} {company} {city} {need} {tool} {seats} {budget} {boss} {source}; interactions also {seller},
# suggestions also {days} and {last_contact}.
Text = tuple[str, str]


@dataclass(frozen=True, slots=True)
class DemoLanguage:
    """The texts of one language, keyed by the names that stories.py uses."""

    job_titles: tuple[str, ...]
    needs: tuple[str, ...]
    tools: tuple[str, ...]
    sources: Mapping[str, str]  # the source, in words for a sentence
    last_contacts: Mapping[str, str]  # by type of interaction, in words for a sentence
    interactions: Mapping[str, tuple[Text, ...]]
    tasks: Mapping[str, tuple[Text, ...]]
    suggestions: Mapping[str, tuple[Text, ...]]
    dismissals: tuple[str, ...]
    summary: str  # of a lead, as a model might write it: {first} {last} {company} {count} {subject} {day}


def listed(text: str) -> tuple[str, ...]:
    """Split a text into the words and phrases between commas."""
    return tuple(" ".join(part.split()) for part in text.split(","))
