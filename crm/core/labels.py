"""Labels: a field's name as people say it, in English and in Swedish. A name means the same wherever it stands.

A model's columns bring theirs (`column(…, label=…)`); arguments and inputs that are no columns are here.
"""

import re
from collections.abc import Iterable
from typing import Final

from crm.core.language import Phrase

Label = tuple[str, str]

_WORD: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
# The path of a mistake in a filter ends with an operator: the field is what is compared.
_OPERATORS: Final = frozenset(
    {"eq", "neq", "in", "notIn", "gt", "gte", "lt", "lte", "isNull", "contains", "startsWith", "endsWith"}
    | {"has", "hasAny", "hasAll", "and", "or", "not", "some", "none", "every"}
)
_LABELS: Final[dict[str, Phrase]] = {}


def add_label(name: str, label: Label) -> None:
    """Remember the label of a field by its name in the API; a second, different one is a mistake in the program."""
    phrase = Phrase(*label)
    known = _LABELS.setdefault(name, phrase)
    if known != phrase:
        msg = f"`{name}` is labelled {(known.english, known.swedish)} already, not {label}: one name, one label"
        raise TypeError(msg)


def has_label(name: str) -> bool:
    """Whether a field's name has a label."""
    return name in _LABELS


def listed(names: Iterable[str]) -> Phrase:
    """The labels of fields, each once; a field without one, which nobody enters, is left out."""
    labels = [_LABELS[name] for name in names if name in _LABELS]
    english, swedish = ([label.english for label in labels], [label.swedish for label in labels])
    return Phrase(", ".join(dict.fromkeys(english)), ", ".join(dict.fromkeys(swedish)))


def label_of(path: str) -> Phrase:
    """The label of the field at a path (`inputs.3.firstName`); of a field without one, its name in words."""
    names = [step for step in path.split(".") if step and not step.isdigit()]
    name = next((step for step in reversed(names) if step not in _OPERATORS), names[-1] if names else "input")
    return _LABELS.get(name) or _spelled(name)


def _spelled(name: str) -> Phrase:
    """A name in words: `daysAhead` as "Days ahead"."""
    words = " ".join(_WORD.split(name[:100])).replace("_", " ").capitalize()
    escaped = words.replace("{", "{{").replace("}", "}}")
    return Phrase(escaped, escaped)


for _name, _label in {
    "id": ("Id", "Id"),
    "taskId": ("Task", "Uppgift"),
    "leadId": ("Lead", "Lead"),
    "input": ("Input", "Uppgifter"),
    "ids": ("Ids", "Id:n"),
    "expectedVersions": ("Versions", "Versioner"),
    "inputs": ("Inputs", "Uppgifter"),
    "reason": ("Reason", "Skäl"),
    "expectedVersion": ("Version", "Version"),
    "completed": ("Done", "Klar"),
    "source": ("Source", "Källa"),
    "filter": ("Filter", "Filter"),
    "orderBy": ("Order", "Ordning"),
    "limit": ("Limit", "Gräns"),
    "offset": ("Offset", "Förskjutning"),
    "first": ("First", "Första"),
    "last": ("Last", "Sista"),
    "after": ("After", "Efter"),
    "before": ("Before", "Före"),
    "text": ("Search text", "Söktext"),
    "score": ("Score", "Poäng"),
    "taskType": ("Task type", "Typ av uppgift"),
    "createdAfter": ("Created after", "Skapad efter"),
    "createdBefore": ("Created before", "Skapad före"),
    "olderThanDays": ("Age in days", "Ålder i dagar"),
    "force": ("Force", "Tvinga"),
    "disabled": ("Disabled", "Avstängd"),
}.items():
    add_label(_name, _label)
