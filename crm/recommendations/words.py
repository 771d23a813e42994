"""A lead's facts in words, in its language: what a template may name. What is not known has no word."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from crm.interactions.model import InteractionType
from crm.leads.facts import LeadFacts
from crm.leads.language import Language

_MONTHS: Final = {
    Language.ENGLISH: (
        *("January", "February", "March", "April", "May", "June"),
        *("July", "August", "September", "October", "November", "December"),
    ),
    Language.SWEDISH: (
        *("januari", "februari", "mars", "april", "maj", "juni"),
        *("juli", "augusti", "september", "oktober", "november", "december"),
    ),
}
KINDS: Final = {
    Language.ENGLISH: {
        InteractionType.CALL: "the call",
        InteractionType.EMAIL: "the e-mail",
        InteractionType.MEETING: "the meeting",
        InteractionType.MESSAGE: "the message",
        InteractionType.NOTE: "the note",
    },
    Language.SWEDISH: {
        InteractionType.CALL: "samtalet",
        InteractionType.EMAIL: "mejlet",
        InteractionType.MEETING: "mötet",
        InteractionType.MESSAGE: "meddelandet",
        InteractionType.NOTE: "anteckningen",
    },
}
_COUNTED: Final = {
    Language.ENGLISH: {"day": ("less than a day", "1 day", "days"), "contact": ("no contact", "1 contact", "contacts")},
    Language.SWEDISH: {
        "day": ("mindre än en dag", "1 dag", "dagar"),
        "contact": ("ingen kontakt", "1 kontakt", "kontakter"),
    },
}
_LONGEST: Final = 60
_UNSHOWN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def words_of(facts: LeadFacts) -> Mapping[str, str]:
    """The facts by the names that templates use; only those that are known."""
    language, last = facts.language, facts.last_touch
    meeting = next((one for one in facts.touches if one.type is InteractionType.MEETING), None)
    planned = facts.planned
    found = {
        "first": short(facts.first_name),
        "name": short(f"{facts.first_name} {facts.last_name}"),
        "company": short(facts.company),
        "source": short(facts.source),
        "place": short(facts.location),
        "owner": short(facts.owner),
        "budget": money(facts.budget, facts.currency, language),
        "score": None if facts.score is None else str(facts.score),
        "came_on": day(facts.created_at, language),
        "quiet": counted("day", facts.quiet_days, language),
        "contacts": counted("contact", facts.contact_count, language) if facts.contact_count else None,
        "last_on": day(last.at, language) if last else None,
        "last_kind": KINDS[language][last.type] if last else None,
        "meeting_on": day(meeting.at, language) if meeting else None,
        "planned_on": day(planned.at, language) if planned else None,
        "planned_kind": KINDS[language][planned.type] if planned else None,
    }
    return MappingProxyType({name: text for name, text in found.items() if text})


def short(text: str | None, most: int = _LONGEST) -> str:
    """Text on one line, without what cannot be seen, not too long for a title."""
    seen = "".join(" " if one.isspace() else one for one in text or "" if one.isspace() or _is_shown(one))
    plain = " ".join(seen.split())
    return plain if len(plain) <= most else plain[: most - 1].rstrip() + "…"


def _is_shown(character: str) -> bool:
    return unicodedata.category(character) not in _UNSHOWN


def day(moment: datetime, language: Language) -> str:
    """A date as people write it."""
    return f"{moment.day} {_MONTHS[language][moment.month - 1]} {moment.year}"


def money(amount: Decimal | None, currency: str | None, language: Language) -> str | None:
    """An amount as people write it."""
    if not amount:
        return None
    digits = f"{amount:,.2f}".removesuffix(".00")
    if language is Language.SWEDISH:
        digits = digits.replace(",", " ").replace(".", ",")
        return f"{digits} {currency}" if currency else digits
    return f"{currency} {digits}" if currency else digits


def counted(what: str, number: int, language: Language) -> str:
    """How many, with the noun."""
    none, one, many = _COUNTED[language][what]
    return none if number == 0 else one if number == 1 else f"{number} {many}"


def sentence(text: str) -> str:
    """With a capital first letter."""
    return text[:1].upper() + text[1:]


def normalised(title: str) -> str:
    """A title by its words alone: what two people would call the same task."""
    folded = unicodedata.normalize("NFKC", title).casefold()
    return " ".join(re.findall(r"[^\W_]+", folded))
