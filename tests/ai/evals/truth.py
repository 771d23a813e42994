"""Whether what a text says about a lead is so. A complaint names what was said and is not in the facts."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

from crm.demo.languages import LANGUAGES
from crm.demo.names import MARKET_SHARES
from tests.ai.evals import case as cases
from tests.ai.evals.claims import MONTH_ALONE, WEEKDAYS, Claims, Period, claims, plain_spaces
from tests.ai.evals.facts import Facts, words
from tests.ai.evals.wordlists import word_set

_TOKEN = re.compile(r"[^\W\d_]+")
_SENTENCE = re.compile(r"[.!?:;\n•\u2013\u2014()\"“”„»«/|]+|\s-\s|^- ", re.MULTILINE)
_ABBREVIATIONS = word_set(
    "i crm ai it vd vp ceo cfo cto coo hr ok gdpr sms pdf url erp linkedin english swedish utc nps roi"
)
# First names that are words as well.
_ALSO_WORDS = word_set("will mark bill grant may hope per bo rose frank ask art long lane stone test banks call")
# What stands before a time to come.
_AHEAD = word_set("in within inom om i for next nästa coming kommande närmaste every var after efter first under")
_LATELY = (
    (re.compile(r"\byesterday\b|\bi ?går\b", re.IGNORECASE), 0.0, 2.01),
    (re.compile(r"\blast week\b|\bförra veckan\b", re.IGNORECASE), 0.9, 14.01),
    (re.compile(r"\blast month\b|\bförra månaden\b", re.IGNORECASE), 0.9, 62.01),
)
_LAST = re.compile(
    r"\b(?:since|last|latest|previous|senaste|sedan|förra)\s+(?:the |our |your |last |latest |det |vårt |senaste )*"
    r"(?P<thing>call|meeting|e-?mail|message|samtal(?:et)?|möte(?:t)?|mejl(?:et)?|meddelande(?:t)?)\b",
    re.IGNORECASE,
)
_TYPES = {"call": "call", "samtal": "call", "meeting": "meeting", "möte": "meeting", "e": "email", "mejl": "email"}
_TYPES |= {"message": "message", "meddelande": "message"}
_NO_CONTACT = re.compile(
    r"\bnever been contacted|\bno (?:one|contact)(?: has)?(?: been)?(?: made)? (?:yet|so far|called|contacted)"
    r"|\bnobody has (?:called|written|been in touch|got in touch|contacted)|\bnot been contacted"
    r"|\bingen har (?:ringt|hört av sig|skrivit|kontaktat|tagit kontakt)|\bingen kontakt (?:ännu|än|har tagits)"
    r"|\binte (?:har )?(?:blivit )?kontaktad",
    re.IGNORECASE,
)


def untrue(text: str, facts: Facts, due: Sequence[datetime] = (), *, advice: bool = False) -> list[str]:
    """What a text says that the facts do not hold. Advice may name lengths and times to come, and the day it is due."""
    text = plain_spaces(text)
    said = claims(text)
    return [
        *_addresses(said, facts),
        *_sums(said, facts),
        *_dates(text, said, facts, due),
        *_periods(said, facts, due, advice=advice),
        *_figures(said, facts, advice=advice),
        *_names(text, facts),
        *_happenings(text, facts),
    ]


def _addresses(said: Claims, facts: Facts) -> Iterator[str]:
    known = facts.said
    yield from (f"e-mail address {email}" for email in said.emails if email not in known.emails)
    yield from (f"telephone number {phone}" for phone in said.phones if phone not in known.phones)


def _sums(said: Claims, facts: Facts) -> Iterator[str]:
    values = {value for value, _ in facts.amounts}
    for value, currency in said.amounts:
        if (value, currency) not in facts.amounts and not (currency is None and value in values):
            yield f"amount {value:f} {currency or ''}"
    yield from (f"{value:f} percent" for value in said.percents if value not in facts.said.percents)


def _dates(text: str, said: Claims, facts: Facts, due: Sequence[datetime]) -> Iterator[str]:
    dates = facts.dates | {moment.astimezone(UTC).date() for moment in due}
    for day in said.days:
        if day not in facts.said.days and not any(day.is_(known) for known in dates):
            yield f"date {day.day}/{day.month}"
    lower = text.lower()
    for name, weekday in WEEKDAYS.items():
        said_so = re.search(rf"\b{name}(?:s|en|ar)?\b", lower) and name not in facts.words
        if said_so and not any(known.weekday() == weekday for known in dates):
            yield f"weekday {name}"
    spoken = {known.month for known in dates} | {day.month for day in facts.said.days}
    for name, month in MONTH_ALONE.items():
        if re.search(rf"\b{name}\b", lower) and name not in facts.words and month not in spoken:
            yield f"month {name}"


def _periods(said: Claims, facts: Facts, due: Sequence[datetime], *, advice: bool) -> Iterator[str]:
    known = {(period.count, period.unit_days) for period in facts.said.periods}
    moments = [*facts.moments, *due]
    for period in said.periods:
        ahead = advice and period.before in _AHEAD and period.count * period.unit_days <= 120
        if ahead or (period.count, period.unit_days) in known:
            continue
        if not any(_fits(period, at, facts) for at in moments):
            yield f"period of {period.count} times {period.unit_days:g} days"


def _fits(period: Period, at: datetime, facts: Facts) -> bool:
    age = abs(facts.now - at) / timedelta(days=1)
    if period.working:
        return abs(facts.working_days_since(at) - period.count) <= 1
    if period.unit_days <= 1:
        return abs(age / period.unit_days - period.count) <= 1.01
    return period.count - 0.5 <= age / period.unit_days < period.count + 1


def _figures(said: Claims, facts: Facts, *, advice: bool) -> Iterator[str]:
    minutes = {*facts.said.minutes, *(i.minutes for i in facts.case.interactions)}
    yield from (f"{n} minutes" for n in said.minutes if n not in minutes and not (advice and n <= 60))
    known = {n for n, _ in facts.said.counts}
    for n, thing in said.counts:
        if n not in facts.counts and n not in known and not (advice and n <= 3):
            yield f"{n} {thing}"
    years = {at.year for at in facts.moments}
    for value in said.numbers:
        if value in facts.numbers or value in facts.counts or value in years or (advice and value <= 3):
            continue
        yield f"number {value:f}"


def _names(text: str, facts: Facts) -> Iterator[str]:
    for sentence in _SENTENCE.split(text):
        first = True
        for match in _TOKEN.finditer(sentence):
            token = match[0]
            if token[0].isupper() and not _known(token, facts, cut=sentence[match.end() : match.end() + 1] == "…"):
                word = token.casefold()
                if word in _people() if first else not _ordinary(word):
                    yield f"name {token}"
            first = False


def _known(token: str, facts: Facts, *, cut: bool) -> bool:
    word = token.casefold()
    if word in _ABBREVIATIONS or word in WEEKDAYS or word in MONTH_ALONE or word == "may":
        return True
    if word in facts.words or (word.endswith("s") and word[:-1] in facts.words) or f"{word}s" in facts.words:
        return True
    return cut and any(known.startswith(word) for known in facts.words)


def _happenings(text: str, facts: Facts) -> Iterator[str]:
    for pattern, least, most in _LATELY:
        found = pattern.search(text)
        if (
            found
            and not any(least <= age <= most for age in facts.ages)
            and found[0].lower() not in str(facts.texts).lower()
        ):
            yield f"“{found[0]}”: nothing happened then"
    types = {i.type for i in facts.case.interactions}
    for match in _LAST.finditer(text):
        thing = match["thing"].lower()
        kind = next(kind for start, kind in _TYPES.items() if thing.startswith(start))
        if kind not in types and not any(thing[:4] in word for word in facts.words):
            yield f"“{match[0]}”: there was none"
    if (found := _NO_CONTACT.search(text)) and any(
        i.type in ("call", "email", "meeting") and i.ago > 0 and i.minutes != 0 for i in facts.case.interactions
    ):
        yield f"“{found[0]}”: there was contact"


@cache
def _people() -> frozenset[str]:
    """Names of people, of the demo data and of every case: one that is not in the facts is made up."""
    names = {name.casefold() for market, _ in MARKET_SHARES for name in (*market.first_names, *market.last_names)}
    names |= {
        word
        for case in cases.everything()
        for column in ("first_name", "last_name")
        for word in words(case.lead[column])
        if len(word) >= 3
    }
    return frozenset(names) - _ALSO_WORDS


@cache
def _vocabulary() -> frozenset[str]:
    texts = [
        *(
            text
            for language in LANGUAGES.values()
            for texts in language.tasks.values()
            for pair in texts
            for text in pair
        ),
        *(
            text
            for language in LANGUAGES.values()
            for kinds in language.interactions.values()
            for p in kinds
            for text in p
        ),
    ]
    return frozenset(token.lower() for text in texts for token in _TOKEN.findall(text) if token[0].islower())


def _ordinary(word: str) -> bool:
    """Whether it is a word of the trade that someone wrote with a capital, as English titles have it."""
    return word in _vocabulary() and word not in _people()
