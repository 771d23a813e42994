"""Finds the days that notes name: "25 December", "until 12/1", "in two weeks", "efter sommaren"."""

import re
from datetime import date, timedelta
from typing import Final

_MONTHS: Final = (
    *("jan(?:uari|uary)?", "feb(?:ruari|ruary)?", "mars|march|mar", "apr(?:il)?", "maj|may", "june|juni|jun"),
    *("july|juli|jul", "aug(?:usti|ust)?", "sept?(?:ember)?", "o[kc]t(?:ober)?", "nov(?:ember)?", "dec(?:ember)?"),
)
_WEEKDAYS: Final = (
    *("monday|måndag", "tuesday|tisdag", "wednesday|onsdag", "thursday|torsdag", "friday|fredag"),
    *("saturday|lördag", "sunday|söndag"),
)
_NUMBERS: Final = ("one|en|ett|a", "two|två", "three|tre", "four|fyra", "five|fem", "six|sex")
_UNITS: Final = {"d": 1, "w": 7, "v": 7, "m": 30}
_MONTH: Final = "|".join(_MONTHS)
_WEEKDAY: Final = "|".join(_WEEKDAYS)
_NUMBER: Final = rf"\d{{1,2}}|{'|'.join(_NUMBERS)}"
_UNIT: Final = r"days?|dag(?:ar)?|weeks?|veck(?:a|or)|months?|månad(?:er)?"
_DAY: Final = re.compile(
    r"\b(?:(?P<iso>20\d\d-\d\d?-\d\d?)"
    rf"|(?:the |den )?(?P<d>\d{{1,2}})(?:st|nd|rd|th|:e)?(?: of)? (?P<m>{_MONTH})\b\.?(?:,? (?P<y>20\d\d))?"
    rf"|(?P<us>{_MONTH}) (?P<us_d>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,? (?P<us_y>20\d\d))?"
    r"|(?P<slash_d>\d{1,2})/(?P<slash_m>\d{1,2})\b"
    rf"|(?:in|until|till|i|mid|start of|början av) (?P<month>{_MONTH})\b"
    rf"|(?:in|after|om|efter|i) (?P<n>{_NUMBER}) (?P<unit>{_UNIT})\b"
    rf"|(?:on|until|till|after|efter|på) (?P<weekday>{_WEEKDAY})\b"
    r"|(?P<week>next week|nästa vecka)"
    r"|(?P<next_month>next month|nästa månad)"
    r"|(?P<quarter>next quarter|nästa kvartal)"
    r"|(?P<year>next year|nästa år|(?:after|efter) (?:the )?(?:new year|year.end|end of the year|nyår|årsskiftet))"
    r"|(?P<summer>(?:after|efter) (?:the )?(?:summer|sommaren|semestern)))",
    re.IGNORECASE,
)
# The same without group names, for use inside other patterns.
DAY_PATTERN: Final = re.sub(r"\?P<\w+>", "?:", _DAY.pattern)
_ONE: Final = timedelta(days=1)
_LONG_GONE: Final = timedelta(days=60)
_DECEMBER: Final = 12
_SUMMER_ENDS: Final = (8, 15)


def day_named(text: str, written: date) -> date | None:
    """The first day that a text names, seen from when it was written; of a month or year, the day before it."""
    match = _DAY.search(text)
    if match is None:
        return None
    try:
        return _read({name: text.casefold() for name, text in match.groupdict().items() if text}, written)
    except ValueError:
        return None


def _read(groups: dict[str, str], written: date) -> date:
    if "iso" in groups:
        year, month, day = map(int, groups["iso"].split("-"))
        return date(year, month, day)
    for d, m, y in (("d", "m", "y"), ("us_d", "us", "us_y"), ("slash_d", "slash_m", "")):
        if d in groups and m in groups:
            month = int(groups[m]) if groups[m].isdigit() else _place(_MONTHS, groups[m])
            return _in_year(written, month, int(groups[d]), groups.get(y))
    if "month" in groups:
        return _in_year(written, _place(_MONTHS, groups["month"]), 1, None) - _ONE
    if "n" in groups:
        number = int(groups["n"]) if groups["n"].isdigit() else _place(_NUMBERS, groups["n"])
        return written + number * _UNITS[groups["unit"][0]] * _ONE
    if "weekday" in groups:
        ahead = (_place(_WEEKDAYS, groups["weekday"]) - written.isoweekday()) % 7
        return written + (ahead or 7) * _ONE
    return _in_words(groups, written)


def _in_words(groups: dict[str, str], written: date) -> date:
    if "week" in groups:
        return written + (7 - written.isoweekday()) * _ONE
    if "summer" in groups:
        return _in_year(written, *_SUMMER_ENDS, None)
    if "year" in groups:
        return date(written.year, _DECEMBER, 31)
    last = written.month if "next_month" in groups else (written.month + 2) // 3 * 3
    return (date(written.year, last, 28) + 4 * _ONE).replace(day=1) - _ONE


def _in_year(written: date, month: int, day: int, year: str | None) -> date:
    """A date; without a year the next such day, or the last one if that was within 60 days."""
    if year:
        return date(int(year), month, day)
    this = date(written.year, month, day)
    return this if this >= written - _LONG_GONE else date(written.year + 1, month, day)


def _place(patterns: tuple[str, ...], text: str) -> int:
    return next(n for n, pattern in enumerate(patterns, 1) if re.fullmatch(pattern, text))
