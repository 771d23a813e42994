"""Working time: minutes between 7 and 16 UTC, Monday to Friday, counted from a year and a half ago.

That is 8 to 17 in Stockholm in winter, and an hour later in summer. All times of the demo data are such minutes, so no
call takes place on a Sunday night.
"""

from datetime import UTC, datetime, timedelta

OPENS, DAY = 7 * 60, 9 * 60
PAST, FUTURE = timedelta(days=548), timedelta(days=120)


class WorkTime:
    """Converts working minutes to timestamps, as seen from `now`."""

    def __init__(self, now: datetime) -> None:
        now = now.astimezone(UTC)
        first = (now - PAST).date()
        days = [first + timedelta(days=n) for n in range((PAST + FUTURE).days)]
        self._days = [day.isoformat() for day in days if day.isoweekday() <= 5]  # noqa: PLR2004  (Friday)
        self._minutes = [f" {n // 60:02d}:{n % 60:02d}" for n in range(OPENS, OPENS + DAY)]
        self.now = self._position(now)

    def stamp(self, minute: int, seconds: str = "") -> str:
        """A working minute as PostgreSQL reads it; `seconds` as in ":07"."""
        day, minute_of_day = divmod(minute, DAY)
        return f"{self._days[day]}{self._minutes[minute_of_day]}{seconds}+00"

    def _position(self, now: datetime) -> int:
        """The first working minute that is not over yet."""
        today = now.date().isoformat()
        days_before = sum(day < today for day in self._days)
        if today not in self._days:
            return days_before * DAY
        return days_before * DAY + min(max(now.hour * 60 + now.minute - OPENS, 0), DAY)
