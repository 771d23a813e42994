"""Log lines about errors of a server in trouble: at most one a second for each SQLSTATE, not one a request."""

import time
from typing import Final

import psycopg
import structlog

log = structlog.get_logger()

_EACH_SECONDS: Final = 1.0
# No disk, no memory, no connection; broken files; a standby where the primary was.
_CLASSES: Final = ("53", "58", "XX")
_STATES: Final = frozenset({"25006", "25P03", "25P04"})

_last: dict[str, float] = {}
_held_back: dict[str, int] = {}


def log_refusal(error: psycopg.Error) -> None:
    """Log an error that is due to the server's state rather than to the statement."""
    state = error.sqlstate or ""
    if state.startswith(_CLASSES) or state in _STATES:
        log_seldom("database.refused", state, state=state, error=str(error.diag.message_primary))


def log_seldom(event: str, key: str, **about: object) -> None:
    """Log a warning, at most once a second for each key; the next line has the number of warnings left out."""
    now = time.monotonic()
    if now - _last.get(key, -_EACH_SECONDS) < _EACH_SECONDS:
        _held_back[key] = _held_back.get(key, 0) + 1
        return
    _last[key] = now
    more = _held_back.pop(key, 0)
    log.warning(event, **about, **({"more": more} if more else {}))
