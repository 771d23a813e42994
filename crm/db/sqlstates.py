"""Translation of PostgreSQL's error states (SQLSTATE) to errors of the API.

https://www.postgresql.org/docs/current/errcodes-appendix.html lists them. A state that is not named here goes by its
class (the first two characters), and every class is named, so that nothing is INTERNAL by accident:
tests/db/test_sqlstates.py walks all that psycopg knows.
"""

from collections.abc import Callable
from typing import Any, Final

import psycopg

from crm.core import errors
from crm.core.language import Phrase
from crm.db.connection import ConnectionLost, LastedTooLong, StatementStale
from crm.db.outcome import OutcomeUnknown

Translation = Callable[[psycopg.Error], errors.CrmError]

UNIQUE_VIOLATION: Final = "23505"
READ_ONLY: Final = "25006"
# A statement gathered more than the whole operation may return.
BEYOND_BUDGET: Final = frozenset({"CRM03", "CRM04"})
# A list is longer than its share: the statement is to be run as one that counts.
BEYOND_ALLOTMENT: Final = "CRM05"
# PostgreSQL itself asks to run the transaction again; and a primary that became a standby has changed nothing.
DEADLOCK: Final = "40P01"
RUN_AGAIN: Final = frozenset({"40001", DEADLOCK, READ_ONLY})
_LASTED_TOO_LONG: Final = Phrase(
    "This took too long, most likely because others are changing the same records, so nothing was changed; try again.",
    "Det tog för lång tid, troligen för att andra ändrar samma poster, så inget har ändrats; försök igen.",
)
_PERHAPS_SAVED: Final = Phrase(
    "The database went away while this was being saved, and it may have been saved: look before you try again.",
    "Databasen försvann medan det sparades, och det kan ha blivit sparat: se efter innan du försöker igen.",
)
_OVERLOADED: Final = Phrase(
    "The database cannot take this right now; try again shortly.",
    "Databasen kan inte ta emot detta just nu; försök igen om en stund.",
)
_CHANGING: Final = Phrase(
    "Somebody else is changing this record right now; try again.",
    "Någon annan ändrar den här posten just nu; försök igen.",
)
_NO_OWNER: Final = Phrase(
    "The record that this one belongs to does not exist.", "Posten som den här hör till finns inte."
)


def _column(error: psycopg.Error) -> dict[str, Any]:
    return {"field": error.diag.column_name} if error.diag.column_name else {}


def _most(error: psycopg.Error) -> dict[str, Any]:
    return {"limit": int(error.diag.message_detail)} if error.diag.message_detail else {}


def _bad_value(error: psycopg.Error) -> errors.CrmError:
    message = f"A value is out of range or malformed: {error.diag.message_primary}."
    return errors.BadUserInput(message, **_column(error))


def _internal(_: psycopg.Error) -> errors.CrmError:
    return errors.Internal()


def _unavailable(_: psycopg.Error) -> errors.CrmError:
    return errors.Unavailable()


def _overloaded(_: psycopg.Error) -> errors.CrmError:
    return errors.Unavailable(_OVERLOADED)


def _again(_: psycopg.Error) -> errors.CrmError:
    return errors.Conflict(_CHANGING, conflict=errors.ConflictReason.BUSY)


def _lasted_too_long(_: psycopg.Error) -> errors.CrmError:
    return errors.Conflict(_LASTED_TOO_LONG, conflict=errors.ConflictReason.BUSY, retryAfterSeconds=1)


def _timeout(_: psycopg.Error) -> errors.CrmError:
    return errors.Timeout()


STATES: Final[dict[str, Translation]] = {
    # The program's own states, raised by its statements.
    "CRM01": lambda error: errors.TooLarge(error.diag.message_primary),
    "CRM03": lambda error: errors.TooComplex(error.diag.message_primary, what="rows", **_most(error)),
    "CRM04": lambda error: errors.TooLarge(error.diag.message_primary, what="bytes", **_most(error)),
    "CRM02": lambda error: errors.CursorExpired(None, **_column(error)),
    "23503": lambda _: errors.NotFound(_NO_OWNER),
    READ_ONLY: _unavailable,  # a standby, where a primary was
    "25P03": _unavailable,  # the connection was ended: its transaction was idle for too long
    "25P04": _timeout,  # the transaction took too long, and its connection was ended
    "26000": _unavailable,  # a pooler lost a prepared statement
    "42P05": _unavailable,
    "40003": _unavailable,  # whether the statement was completed is not known
    "55P03": _lasted_too_long,  # lock_timeout
    "57014": _timeout,
}
CLASSES: Final[dict[str, Translation]] = {
    "22": _bad_value,
    "23": lambda error: errors.BadUserInput(None, **_column(error)),
    "40": _again,
    "54": lambda _: errors.TooComplex(),
    "72": _again,  # the snapshot is too old
    # The server is away, shutting down, or refuses the connection.
    **dict.fromkeys(("08", "28", "3D", "57"), _unavailable),
    # No disk, no memory, no connection; files that cannot be read.
    **dict.fromkeys(("53", "58"), _overloaded),
    # The statements are the program's: an error in one, or in the tables, is a defect, and logged.
    **dict.fromkeys(("02", "03", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "24", "25"), _internal),
    **dict.fromkeys(("26", "27", "2B", "2D", "2F", "34", "38", "39", "3B", "3F", "42", "44", "55"), _internal),
    **dict.fromkeys(("F0", "HV", "P0", "XX"), _internal),
}
_CONSTRAINTS: dict[str, Translation] = {}


def on_violation(constraint: str, translation: Translation) -> None:
    """Register the error for a violation of a named constraint; each domain does so for its own constraints."""
    _CONSTRAINTS[constraint] = translation


def translated(error: psycopg.Error) -> errors.CrmError:
    """The CrmError for an error of PostgreSQL."""
    if isinstance(error, OutcomeUnknown):
        return errors.Unavailable(_PERHAPS_SAVED, outcome="UNKNOWN")
    if isinstance(error, ConnectionLost | StatementStale):
        return errors.Unavailable()
    if isinstance(error, LastedTooLong):
        return _lasted_too_long(error)
    known = _CONSTRAINTS.get(error.diag.constraint_name or "")
    if known is not None:
        return known(error)
    state = error.sqlstate
    if state is None:  # libpq's own: the connection, or a value that cannot be sent
        return errors.Unavailable() if isinstance(error, psycopg.OperationalError) else errors.Internal()
    return (STATES.get(state) or CLASSES.get(state[:2]) or _internal)(error)


def is_away(error: BaseException) -> bool:
    """Whether PostgreSQL could not be reached, or went away meanwhile, so that a later attempt may work."""
    known_error = translated(error) if isinstance(error, psycopg.Error) else error
    return isinstance(known_error, errors.Unavailable)
