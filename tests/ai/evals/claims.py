"""What a text claims: amounts, periods, dates, numbers and addresses, read from facts and answers alike."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation

from tests.ai.evals.wordlists import word_list

_NUMBER = r"\d+(?:[ .,]\d{3})*(?:[.,]\d+)?"
_SCALES = {"k": 1000, "tkr": 1000, "m": 1_000_000, "mn": 1_000_000, "mkr": 1_000_000, "msek": 1_000_000}
_SCALES |= {"million": 1_000_000, "miljon": 1_000_000, "miljoner": 1_000_000, "thousand": 1000, "tusen": 1000}
_SCALE = r"(?:\s?(?P<scale>tkr|mkr|msek|million|miljoner|miljon|thousand|tusen|mn|k|m)\b)?"
_SIGNS = {"£": "GBP", "€": "EUR", "$": "USD"}
_UNITS = {"kr": "SEK", "kronor": "SEK", "tkr": "SEK", "mkr": "SEK", "msek": "SEK", "pounds": "GBP", "euro": "EUR"}
_UNITS |= {"euros": "EUR", "dollars": "USD", "sek": "SEK", "gbp": "GBP", "eur": "EUR", "usd": "USD", "nok": "NOK"}

EMAIL = re.compile(r"[^\s@<>\"(),:;\[\]\\]+@[^\s@<>\"(),:;\[\]\\]+\.[^\s@.<>\"(),:;\[\]\\]+")
LINK = re.compile(
    r"\b(?:https?|ftp|file)://[^\s]*|\b(?:javascript|mailto):[^\s]+|\bdata:\w+/[^\s]*|\bwww\.[^\s]+", re.IGNORECASE
)
PHONE = re.compile(r"\+\d[\d ()-]{6,}\d|\b0\d[\d -]{6,}\d\b")
_AMOUNTS = (
    re.compile(rf"(?P<sign>[£€$])\s?(?P<number>{_NUMBER}){_SCALE}", re.IGNORECASE),
    re.compile(rf"\b(?P<unit>SEK|GBP|EUR|USD|NOK)\s?(?P<number>{_NUMBER}){_SCALE}", re.IGNORECASE),
    re.compile(
        rf"(?P<number>{_NUMBER})\s?(?P<scale>million|miljoner|miljon|thousand|tusen|mn|k|m)?\s?"
        r"(?P<unit>tkr|mkr|msek|kronor|kr|SEK|GBP|EUR|USD|NOK|pounds|euros?|dollars)\b",
        re.IGNORECASE,
    ),
    re.compile(rf"(?P<number>{_NUMBER})\s?(?P<sign>[£€])"),
    re.compile(rf"(?P<number>{_NUMBER})\s(?P<scale>million|miljoner|miljon)\b", re.IGNORECASE),
)
PERCENT = re.compile(rf"({_NUMBER})\s?(?:%|percent\b|per cent\b|procent\b)", re.IGNORECASE)

_WORDS = "noll en|ett två tre fyra fem sex sju åtta nio tio elva tolv", "zero one two three four five six seven eight"
NUMBER_WORDS = {word: n for n, words in enumerate(_WORDS[0].split()) for word in words.split("|")}
NUMBER_WORDS |= {word: n for n, word in enumerate([*_WORDS[1].split(), "nine", "ten", "eleven", "twelve"])}
_COUNT = rf"\d+|{'|'.join(sorted(NUMBER_WORDS, key=len, reverse=True))}"
_DAYS = {"day": 1.0, "dag": 1.0, "dygn": 1.0, "week": 7.0, "veck": 7.0, "month": 30.44, "månad": 30.44, "year": 365.25}
_DAYS |= {"år": 365.25, "hour": 1 / 24, "timm": 1 / 24}
PERIOD = re.compile(
    rf"(?P<before>\b\w+\s+)?\b(?!(?:en dag|one day)\b)(?P<count>{_COUNT})[\s-]+"
    r"(?P<working>working |business |arbets|var)?"
    r"(?P<unit>days?|dag(?:ar)?s?|dygn|weeks?|veck(?:a|or)s?|months?|månad(?:er)?s?|years?|år|hours?|timm(?:e|ar)s?)\b",
    re.IGNORECASE,
)
MINUTES = re.compile(rf"\b(?P<count>{_COUNT})[\s-]+min(?:ut(?:er|es?)?)?s?\b", re.IGNORECASE)
COUNTED = re.compile(
    rf"\b(?!(?:en|ett|one)\b)(?P<count>{_COUNT}) (?:\w+ )?"
    r"(?P<thing>calls?|e-?mails?|meetings?|messages?|notes?|interactions?|contacts?|"
    r"attempts?|tasks?|samtal|mejl|möten|meddelanden?|anteckningar|kontakter|försök|uppgifter|interaktioner)\b",
    re.IGNORECASE,
)
PLAIN = re.compile(rf"(?<![\w.,]){_NUMBER}(?!\w)|\d+")

_MONTHS = [
    *("jan(?:uari|uary)?", "feb(?:ruari|ruary)?", "mar(?:s|ch)", "apr(?:il)?", "maj|may", "jun[ei]?", "jul[iy]?"),
    *("aug(?:ust[i]?)?", "sept?(?:ember)?", "o[kc]t(?:ober)?", "nov(?:ember)?", "dec(?:ember)?"),
]
_MONTH = "|".join(_MONTHS)
_DATES = (
    re.compile(r"\b(?P<y>20\d\d)-(?P<m>\d\d?)-(?P<d>\d\d?)\b"),
    re.compile(
        rf"\b(?P<d>\d{{1,2}})(?:st|nd|rd|th|:e)?(?: of)? (?P<month>{_MONTH})\b(?:,? (?P<y>20\d\d))?", re.IGNORECASE
    ),
    re.compile(rf"\b(?P<month>{_MONTH})\b (?P<d>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,? (?P<y>20\d\d))?", re.IGNORECASE),
    re.compile(r"\b(?P<d>\d{1,2})/(?P<m>\d{1,2})(?:/(?P<y>20\d\d))?\b"),
)
_SWEDISH_MONTHS = word_list("januari februari mars april maj juni juli augusti september oktober november december")
MONTH_ALONE = {name: n for n, name in enumerate(_SWEDISH_MONTHS, 1)}
MONTH_ALONE |= {"january": 1, "february": 2, "march": 3, "june": 6, "july": 7, "august": 8, "october": 10}
WEEKDAYS = {
    **{name: n for n, name in enumerate(word_list("monday tuesday wednesday thursday friday saturday sunday"))},
    **{name: n for n, name in enumerate(word_list("måndag tisdag onsdag torsdag fredag lördag söndag"))},
}


@dataclass(frozen=True)
class Day:
    """A date as it was said: often without a year."""

    day: int
    month: int
    year: int | None = None

    def is_(self, other: date) -> bool:
        return (self.day, self.month) == (other.day, other.month) and self.year in (None, other.year)


@dataclass(frozen=True)
class Period:
    """So many days, weeks …; what stood before it tells whether it looks ahead ("within 3 days")."""

    count: int
    unit_days: float
    working: bool
    before: str


@dataclass
class Claims:
    """All that a text claims in figures and addresses."""

    emails: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    phones: list[str] = field(default_factory=list)
    amounts: list[tuple[Decimal, str | None]] = field(default_factory=list)
    percents: list[Decimal] = field(default_factory=list)
    days: list[Day] = field(default_factory=list)
    periods: list[Period] = field(default_factory=list)
    minutes: list[int] = field(default_factory=list)
    counts: list[tuple[int, str]] = field(default_factory=list)
    numbers: list[Decimal] = field(default_factory=list)


def number(text: str) -> Decimal:
    """A number as people write it: 350 000, 350,000, 1.5, 1,5, 12.500,00."""
    text = re.sub(r"\s", "", text)
    if "," in text and "." in text:
        decimal_sign = max(",.", key=text.rindex)
        text = text.replace("," if decimal_sign == "." else ".", "").replace(decimal_sign, ".")
    elif re.fullmatch(r"\d+(?:[.,]\d{3})+", text):
        text = re.sub(r"[.,]", "", text)
    else:
        text = text.replace(",", ".")
    try:
        return Decimal(text).normalize()
    except InvalidOperation:
        return Decimal(-1)


def count(text: str) -> int:
    return NUMBER_WORDS[text.lower()] if text.lower() in NUMBER_WORDS else int(text)


def plain_spaces(text: str) -> str:
    """No-break and narrow blanks are blanks."""
    return re.sub(r"[\u00a0\u202f\u2007\u2009]", " ", text)


def claims(text: str) -> Claims:
    """What a text claims; each stretch of it is read once, the most specific way first."""
    rest, found = plain_spaces(text), Claims()

    def take(pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        nonlocal rest
        matches = list(pattern.finditer(rest))
        rest = pattern.sub(" ¤ ", rest)
        return iter(matches)

    found.links = [match[0] for match in take(LINK)]
    found.emails = [match[0].strip(".") for match in take(EMAIL)]
    for pattern in _DATES:
        found.days += [day for match in take(pattern) if (day := _day(match))]
    found.phones = [re.sub(r"\D", "", match[0]) for match in take(PHONE)]
    for pattern in _AMOUNTS:
        found.amounts += [_amount(match) for match in take(pattern)]
    found.percents = [number(match[1]) for match in take(PERCENT)]
    found.periods = [_period(match) for match in take(PERIOD)]
    found.minutes = [count(match["count"]) for match in take(MINUTES)]
    found.counts = [(count(match["count"]), match["thing"].lower()) for match in take(COUNTED)]
    found.numbers = [number(match[0]) for match in take(PLAIN)]
    return found


def _amount(match: re.Match[str]) -> tuple[Decimal, str | None]:
    said = match.groupdict()
    unit = (said.get("unit") or "").lower()
    scale = _SCALES.get((said.get("scale") or unit).lower(), 1)
    currency = _SIGNS.get(said.get("sign") or "") or _UNITS.get(unit)
    return (number(match["number"]) * scale).normalize(), currency


def _day(match: re.Match[str]) -> Day | None:
    said = match.groupdict()
    month = int(said["m"]) if said.get("m") else _month(said["month"])
    found = Day(int(said["d"]), month, int(said["y"]) if said.get("y") else None)
    return found if 1 <= found.day <= 31 and 1 <= found.month <= 12 else None


def _month(name: str) -> int:
    starts = ["jan", "feb", "mar", "apr", "ma", "jun", "jul", "aug", "sep", "o", "nov", "dec"]
    return next(n for n, start in enumerate(starts, 1) if name.lower().startswith(start))


def _period(match: re.Match[str]) -> Period:
    unit = match["unit"].lower()
    days = next(days for start, days in _DAYS.items() if unit.startswith(start))
    return Period(count(match["count"]), days, bool(match["working"]), (match["before"] or "").strip().lower())
