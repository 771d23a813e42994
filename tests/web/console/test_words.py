"""Figures in words."""

from datetime import UTC, datetime, timedelta

import pytest

from crm.web.console import words


@pytest.mark.parametrize(
    ("milliseconds", "took", "grows", "ago", "ahead"),
    [
        (0, "0 ms", "under 1 s", "just now", "now"),
        (850, "850 ms", "under 1 s", "just now", "now"),
        (4_200, "4.2 s", "4 s", "4 s ago", "in 4 s"),
        (59_999, "59 s", "59 s", "59 s ago", "in 59 s"),
        (60_000, "1 min", "1 min", "1 min ago", "in 1 min"),
        (185_000, "3 min 5 s", "3 min 5 s", "3 min 5 s ago", "in 3 min 5 s"),
        (7_800_000, "2 h 10 min", "2 h 10 min", "2 h 10 min ago", "in 2 h 10 min"),
        (273_600_000, "3 d 4 h", "3 d 4 h", "3 d 4 h ago", "in 3 d 4 h"),
    ],
)
def test_times(milliseconds, took, grows, ago, ahead):
    assert words.duration(milliseconds) == took
    assert words.growing(milliseconds) == grows
    assert words.ago(milliseconds) == ago
    assert words.ahead(milliseconds) == ahead


def test_what_is_to_come_is_not_long_ago():
    soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    assert words.ago(words.since(soon)) == "just now"


@pytest.mark.parametrize(
    ("amount", "source", "shown"),
    [
        ("0", None, words.NONE),
        ("0", "UNKNOWN", "not known"),
        ("0.0012", "UNKNOWN", "$0.0012 or more"),
        ("0", "PROVIDER", "$0.00"),
        ("0.00123456", "ESTIMATED", "$0.0012"),
        ("1234567.891", "PROVIDER", "$1,234,567.89"),
    ],
)
def test_costs(amount, source, shown):
    assert words.cost(amount, source) == shown
