"""A replica that answers reads, and the checks whether it may.

Reads that a client allows to be stale go to the replica. While it is down, frozen or further behind than it may be,
the primary answers.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

import psycopg
import structlog

from crm.core import errors
from crm.db.liveness import Liveness
from crm.db.statement import Statement

if TYPE_CHECKING:
    from crm.db.pool import Pool

log = structlog.get_logger()

_REST_SECONDS: Final = 5.0
_PROBE_SECONDS: Final = 0.5
_EACH_SECONDS: Final = 1.0
_UNUSED_SECONDS: Final = 10.0  # without stale reads for so long, the lag is no longer measured
_REMEMBERED: Final = 600
# Both in bytes of WAL; a server that is no standby is not behind.
_WRITTEN: Final = Statement("SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::text")
_REPLAYED: Final = Statement(
    "SELECT CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::text END"
)


class Replica:
    """The replica's pool, and whether reads may use it now."""

    def __init__(self, pool: "Pool", primary: "Pool", most_lag: float | None) -> None:
        self.pool = pool
        self._primary = primary
        self._most_lag = most_lag
        self._near = most_lag is None
        self._out_until = 0.0
        self._wanted = 0.0
        # The primary's WAL position at past times: by the position that the replica has replayed, its lag is known.
        self._written: deque[tuple[float, int]] = deque(maxlen=_REMEMBERED)
        self._watching: asyncio.Task[None] | None = None
        self._liveness = Liveness(pool, _PROBE_SECONDS, lambda: self.leave_alone("it does not answer"))

    def usable(self) -> bool:
        """Whether a read may use the replica."""
        now = asyncio.get_running_loop().time()
        if self._most_lag is not None:
            self._wanted = now
            if self._watching is None:
                self._watching = asyncio.create_task(self._watch(self._most_lag))
        return self._near and now >= self._out_until

    def leave_alone(self, why: str) -> None:
        """Let the primary answer for some seconds."""
        now = asyncio.get_running_loop().time()
        if now >= self._out_until:
            log.warning("replica.left_alone", reason=why, seconds=_REST_SECONDS)
        self._out_until = now + _REST_SECONDS

    def close(self) -> None:
        """Stop watching the replica."""
        self._liveness.close()
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self, most: float) -> None:
        """While stale reads come in, measure how far the replica is behind."""
        loop = asyncio.get_running_loop()
        try:
            while loop.time() - self._wanted < _UNUSED_SECONDS:
                lag = await self._lag(loop.time())
                near = lag is not None and lag <= most
                if near is not self._near:
                    log.info("replica.used" if near else "replica.behind", lag_seconds=lag and round(lag, 1))
                self._near = near
                await asyncio.sleep(_EACH_SECONDS)
        finally:
            self._near = False
            self._written.clear()
            self._watching = None

    async def _lag(self, now: float) -> float | None:
        """The seconds since the primary had written no more than the replica has replayed; None if not known."""
        try:
            async with asyncio.timeout(_EACH_SECONDS):
                self._written.append((now, await _number(self._primary, _WRITTEN) or 0))
                replayed = await _number(self.pool, _REPLAYED)
        except (errors.CrmError, psycopg.Error, TimeoutError):
            return None
        if replayed is None:
            return 0.0
        return next((now - then for then, written in reversed(self._written) if written <= replayed), None)


async def _number(pool: "Pool", statement: Statement) -> int | None:
    async with pool.connection() as connection:
        value = (await connection.execute(statement)).get_value(0, 0)
    return None if value is None else int(value)
