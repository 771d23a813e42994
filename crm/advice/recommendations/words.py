"""A lead's facts in words of its language, for templates. Unknown facts have no word."""

import re
import unicodedata
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from crm.advice.recommendations.plain import named, short
from crm.sales.interactions.model import InteractionType
from crm.sales.leads.facts import Contact, LeadFacts
from crm.sales.leads.language import Language

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
_AS_THEY_ARE: Final[Mapping[str, str]] = MappingProxyType({})
_THE_LEAD: Final = {Language.ENGLISH: "the lead", Language.SWEDISH: "leadet"}
_AT: Final = {Language.ENGLISH: "at", Language.SWEDISH: "på"}
_WAYS: Final = {
    Language.ENGLISH: ("by phone or by e-mail", "by phone", "by e-mail"),
    Language.SWEDISH: ("per telefon eller mejl", "per telefon", "per mejl"),
}
# The least of a company's name that is worth showing beside a person's.
_LEAST_OF_A_COMPANY: Final = 12


def words_of(facts: LeadFacts, sources: Mapping[str, str] = _AS_THEY_ARE) -> Mapping[str, str]:
    """The known facts in words, by the names that templates use."""
    language = facts.language
    meeting = next((contact for contact in facts.touches if contact.type is InteractionType.MEETING), None)
    planned = facts.planned
    words = {
        **_called(facts),
        "source": sources.get(facts.source or "") or named(facts.source),
        "place": named(facts.location),
        "owner": named(facts.owner),
        "budget": money(facts.budget, facts.currency, language),
        "score": None if facts.score is None else str(facts.score),
        "came_on": day(facts.created_at, language),
        "ways": _ways(language, phone=facts.has_phone, email=facts.has_email),
        **contact_words(language, facts.last_touch, facts.quiet_days, facts.contact_count),
        "meeting_on": day(meeting.at, language) if meeting else None,
        "planned_on": day(planned.at, language) if planned else None,
        "planned_kind": KINDS[language][planned.type] if planned else None,
    }
    return MappingProxyType({name: text for name, text in words.items() if text})


def contact_words(language: Language, last: Contact | None, quiet: int, contacts: int | None) -> dict[str, str | None]:
    """The words about contacts."""
    return {
        "quiet": counted("day", quiet, language),
        "contacts": counted("contact", contacts, language) if contacts else None,
        "last_on": day(last.at, language) if last else None,
        "last_kind": KINDS[language][last.type] if last else None,
    }


def _called(facts: LeadFacts) -> dict[str, str]:
    """The names of person and company; an unusable name is replaced by the next best."""
    first, last, company = named(facts.first_name), named(facts.last_name), named(facts.company)
    name = short(f"{first} {last}") or company or _THE_LEAD[facts.language]
    return {"first": first or last or name, "name": name, "company": company, "firm": company or name}


def who(words: Mapping[str, str], language: Language, room: int, *, again: bool = False) -> str:
    """The person at the company, in at most `room` characters; `again`: by the first name, if it fits."""
    first, company = words["first"], words.get("company", "")
    if again and len(first) <= room:
        return first
    if not company or company == first:
        return short(words["name"], max(room, 1))
    start = f"{first} {_AT[language]} "
    if len(start) + min(len(company), _LEAST_OF_A_COMPANY) <= room:
        return start + short(company, room - len(start))
    return short(words["name"], max(room, 1))


def _ways(language: Language, *, phone: bool, email: bool) -> str | None:
    either, by_phone, by_mail = _WAYS[language]
    if phone and email:
        return either
    return by_phone if phone else by_mail if email else None


def day(moment: date, language: Language) -> str:
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


def counted(noun: str, number: int, language: Language) -> str:
    """A number with its noun."""
    none, singular, plural = _COUNTED[language][noun]
    return none if number == 0 else singular if number == 1 else f"{number} {plural}"


def sentence(text: str) -> str:
    """A text with a capital first letter."""
    return text[:1].upper() + text[1:]


def normalised(title: str) -> str:
    """A title's words alone, in lower case, without punctuation."""
    folded = unicodedata.normalize("NFKC", title).casefold()
    return " ".join(re.findall(r"[^\W_]+", folded))
