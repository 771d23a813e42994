"""Due dates on working days."""

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

_AFTERNOON: Final = time(14, tzinfo=UTC)
_LATEST_FOR_TODAY: Final = time(11, tzinfo=UTC)
_FRIDAY: Final = 5
_DAY: Final = timedelta(days=1)


def due_in(now: datetime, days: int, holidays: Collection[str] = ()) -> datetime:
    """The afternoon so many working days from now; 0 is today, until 11:00 UTC on a working day."""
    day = now.astimezone(UTC)
    if days == 0 and not (_is_free(day, holidays) or day.timetz() > _LATEST_FOR_TODAY):
        return _afternoon(day.date())
    for _ in range(max(days, 1)):
        day = _next(day, holidays)
    return _afternoon(day.date())


def due_beside(day: date, days: int, holidays: Collection[str] = ()) -> datetime:
    """The afternoon so many working days after a day; before it if the number is negative."""
    moment = _afternoon(day)
    for _ in range(abs(days)):
        moment = _next(moment, holidays, _DAY if days > 0 else -_DAY)
    return moment


def on_workday(moment: datetime, holidays: Collection[str] = ()) -> datetime:
    """The same moment if it is on a working day, else the same time of the next one."""
    return moment if not _is_free(moment, holidays) else _next(moment, holidays)


def _next(day: datetime, holidays: Collection[str], step: timedelta = _DAY) -> datetime:
    day += step
    while _is_free(day, holidays):
        day += step
    return day


def _is_free(day: datetime, holidays: Collection[str]) -> bool:
    return day.isoweekday() > _FRIDAY or f"{day:%m-%d}" in holidays


def _afternoon(day: date) -> datetime:
    return datetime.combine(day, _AFTERNOON)
