"""The weights: checked when they are read, and named by their version."""

import hashlib
import tomllib

import orjson
import pytest
from pydantic import ValidationError

from crm.sales.scoring.weights import FILE, WEIGHTS, read

TEXT = FILE.read_text(encoding="utf-8")
# Scores are kept with the version of the formula that made them: a version means the same numbers for ever.
KNOWN = {"activity-1": "0bd4af8d48ac654b"}


def test_a_version_means_the_same_numbers_for_ever():
    numbers = orjson.dumps(tomllib.loads(TEXT), option=orjson.OPT_SORT_KEYS)
    assert KNOWN.get(WEIGHTS.version) == hashlib.sha256(numbers).hexdigest()[:16], "give the weights a new version"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("max_points = 25", "max_points = 26"),
        ("half_life_days = 14", "half_life_days = 0"),
        (", message = 1 }", " }"),
        ("won = 0,", "won = 16,"),
        (", lost = 0 }", " }"),
        ("{ from = 25_000, points = 4 }", "{ from = 25_000, points = 7 }"),
        ("from = 0.01", "from = 0"),
        ("NOK = 1,", '"\'; DROP TABLE leads" = 1,'),
        ('version = "activity-1"', 'version = "a\'b"'),
        ("undated = 3", "undated = 5"),
        ("points_each = 2", "points_each = 2\npoints_eahc = 3"),
    ],
)
def test_a_mistake_is_refused(before, after):
    assert before in TEXT
    with pytest.raises(ValidationError):
        read(TEXT.replace(before, after, 1))
