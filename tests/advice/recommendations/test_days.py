from datetime import date

import pytest

from crm.advice.recommendations.days import day_named

WRITTEN = date(2026, 11, 18)  # a Wednesday


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("Hör av dig igen efter 25 december, inte tidigare", date(2026, 12, 25)),
        ("Back on 12 January.", date(2027, 1, 12)),
        ("back on January 12th, 2028", date(2028, 1, 12)),
        ("Ledig till den 3:e mars", date(2027, 3, 3)),
        ("not before 2027-02-01", date(2027, 2, 1)),
        ("tillbaka 7/1", date(2027, 1, 7)),
        ("after 2 November", date(2026, 11, 2)),
        ("get back in January", date(2026, 12, 31)),
        ("återkom i mars", date(2027, 2, 28)),
        ("in two weeks", date(2026, 12, 2)),
        ("om 10 dagar", date(2026, 11, 28)),
        ("until Monday", date(2026, 11, 23)),
        ("till onsdag", date(2026, 11, 25)),
        ("next week", date(2026, 11, 22)),
        ("nästa månad", date(2026, 11, 30)),
        ("next quarter", date(2026, 12, 31)),
        ("efter nyår", date(2026, 12, 31)),
        ("efter sommaren", date(2027, 8, 15)),
        ("may we talk", None),
        ("on 31 February", None),
        ("2026-99-99", None),
        ("25 users", None),
        ("", None),
    ],
)
def test_a_day_is_read_as_people_write_it(text, day):
    assert day_named(text, WRITTEN) == day
