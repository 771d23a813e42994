"""The outcome of a commit that nobody reported: after it was sent, the connection broke or the caller's time was up."""

import asyncio
from types import TracebackType
from typing import Final

from crm.db.connection import ConnectionLost

# A note on the cancellation of a task, which becomes the TIMEOUT of its request.
_MAY_BE_SAVED: Final = "what was written may have been saved"


class OutcomeUnknown(ConnectionLost):
    """The connection broke after a commit was sent: PostgreSQL may have saved it, or not."""


class _Committing:
    """A context for statements that end with their commit: its errors say that the outcome is unknown."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> None:
        if isinstance(error, asyncio.CancelledError):
            mark_as_perhaps_saved(error)
        elif isinstance(error, ConnectionLost):
            raise OutcomeUnknown(str(error)) from error


committing: Final = _Committing()


def mark_as_perhaps_saved(cancellation: asyncio.CancelledError) -> None:
    """Note on a cancellation that something was written, or may have been."""
    cancellation.add_note(_MAY_BE_SAVED)


def is_perhaps_saved(timeout: TimeoutError) -> bool:
    """Whether the cancellation that became this timeout has the note."""
    return _MAY_BE_SAVED in getattr(timeout.__cause__, "__notes__", ())
