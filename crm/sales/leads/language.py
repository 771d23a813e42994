"""The language to write about a lead in: Swedish or English.

The lead's own data decide (place, currency, phone number, e-mail address, form of company); if they are undecided, the
words in its notes do. One hostile or foreign note must not change the language of a lead in Stockholm. English when in
doubt. Why: docs/decisions/0009-language-of-a-lead.md.
"""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final


class Language(StrEnum):
    """A language that we write in."""

    SWEDISH = "sv"
    ENGLISH = "en"


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PLACES: Final = _listed("""
    sverige sweden stockholm göteborg gothenburg malmö uppsala västerås örebro linköping helsingborg jönköping
    norrköping lund umeå gävle borås södertälje eskilstuna halmstad växjö karlstad sundsvall östersund trollhättan
    luleå kalmar falun skövde karlskrona kristianstad skellefteå uddevalla varberg örnsköldsvik nyköping ängelholm
    åre visby västervik kiruna solna täby nacka sundbyberg mölndal landskrona motala lidköping borlänge sandviken
    hudiksvall enköping norrtälje alingsås kungsbacka falkenberg trelleborg ystad katrineholm piteå boden härnösand
    mora ludvika strömstad oskarshamn värnamo vetlanda skåne småland dalarna gotland norrland värmland lidingö
    sollentuna huddinge märsta upplands botkyrka strängnäs köping arboga kumla hässleholm ljungby nässjö tranås
    mjölby finspång vänersborg lerum partille kungälv åkersberga vallentuna arvika kristinehamn säffle söderhamn
    bollnäs lycksele""")
_SWEDISH_WORDS: Final = _listed("""
    och att det som en är på för med till av den inte har vi kan ett om hos från eller vill ska skickade ringde möte
    offert samtal efter när mig sig deras hon han jag ni er vårt svarade återkommer nästa vecka bra tack hej inget
    svar""")
_ENGLISH_WORDS: Final = _listed("""
    and that the which is on for with to of not has we can from or wants will sent called meeting proposal call
    after when me them their she he you your our answered back next week good thanks hi they was were are asked
    about it""")
_OTHER_CURRENCIES: Final = frozenset({"GBP", "USD", "AUD", "CAD", "NZD"})
_WORD: Final = re.compile(r"[^\W\d_]+")
_ENOUGH: Final = 2


def language_of(lead: Mapping[str, Any], texts: Iterable[str]) -> Language:
    """The language for a lead, from its columns and the texts about it."""
    leaning = _place(lead["location"]) + _currency(lead["currency"])
    leaning += (lead["phone"] or "").replace("00", "+", 1).startswith("+46")
    leaning += (lead["email"] or "").lower().endswith(".se")
    leaning += bool(re.search(r"\bAB\b", lead["company"] or ""))
    if leaning == 0:
        leaning = _words(texts)
    return Language.SWEDISH if leaning > 0 else Language.ENGLISH


def _place(location: str | None) -> int:
    """2 for a place in Sweden, -1 for another place, 0 for none."""
    words = set(_WORD.findall((location or "").lower()))
    if words & _PLACES:
        return 2
    return -1 if words else 0


def _currency(currency: str | None) -> int:
    if currency == "SEK":
        return 2
    return -2 if currency in _OTHER_CURRENCIES else 0


def _words(texts: Iterable[str]) -> int:
    """How many more common words are Swedish than English; 0 if there are too few."""
    words = [word for text in texts for word in _WORD.findall(text.lower())]
    swedish = sum(word in _SWEDISH_WORDS for word in words) + sum(bool(set(word) & set("åö")) for word in words)
    english = sum(word in _ENGLISH_WORDS for word in words)
    return swedish - english if max(swedish, english) >= _ENOUGH else 0
