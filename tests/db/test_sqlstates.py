"""Every error state of PostgreSQL means something to a caller, on purpose."""

import psycopg
import pytest
from psycopg import errors as states

from crm.core import errors
from crm.db.connection import ConnectionLost, StatementStale, TookTooLong
from crm.db.sqlstates import CLASSES, STATES, translated

ALL = sorted(state for state, error in states._sqlcodes.items() if error.sqlstate == state)  # noqa: SLF001
# Statements and tables are ours: an error in them is ours, too. Everything else must say what to do.
INTERNAL = {
    *("02", "03", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "24", "25", "26", "27", "2B", "2D", "2F"),
    *("34", "38", "39", "3B", "3F", "42", "44", "55", "F0", "HV", "P0", "XX"),
}
SAYS_WHAT_TO_DO = {
    "08": "UNAVAILABLE",
    "22": "BAD_USER_INPUT",
    "23": "BAD_USER_INPUT",
    "28": "UNAVAILABLE",
    "3D": "UNAVAILABLE",
    "40": "CONFLICT",
    "53": "UNAVAILABLE",
    "54": "TOO_COMPLEX",
    "57": "UNAVAILABLE",
    "58": "UNAVAILABLE",
    "72": "CONFLICT",
}
BY_ITSELF = {
    "23503": "NOT_FOUND",
    "25006": "UNAVAILABLE",
    "25P03": "UNAVAILABLE",
    "25P04": "TIMEOUT",
    "26000": "UNAVAILABLE",
    "40003": "UNAVAILABLE",
    "42P05": "UNAVAILABLE",
    "55P03": "CONFLICT",
    "57014": "TIMEOUT",
}


def test_psycopg_knows_as_many_as_ever():
    assert len(ALL) > 250


@pytest.mark.parametrize("state", ALL)
def test_each_state_has_the_code_that_was_chosen_for_it(state):
    chosen = BY_ITSELF.get(state) or SAYS_WHAT_TO_DO.get(state[:2]) or ("INTERNAL" if state[:2] in INTERNAL else None)
    assert chosen is not None, f"nobody has said what {state} means"
    assert translated(states.lookup(state)()).code == chosen


def test_each_class_is_named_in_the_table():
    assert {state[:2] for state in ALL} == set(CLASSES)
    assert {state for state in STATES if not state.startswith("CRM")} == set(BY_ITSELF)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionLost(), errors.Unavailable),
        (StatementStale(), errors.Unavailable),
        (TookTooLong(), errors.Timeout),
        (psycopg.OperationalError("the connection is closed"), errors.Unavailable),
        (psycopg.ProgrammingError("a fault of ours"), errors.Internal),
    ],
)
def test_what_has_no_state_of_the_servers(error, expected):
    assert type(translated(error)) is expected
