"""The database: reads and writes of the primary, and stale reads of a replica."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import psycopg
import structlog

from crm.core import errors
from crm.core.language import Phrase
from crm.core.settings import Settings
from crm.db.address import conninfo
from crm.db.connection import ConnectionLost, MadeRoom, PreparedLimits, StatementStale, TookTooLong
from crm.db.group_commit import GroupCommit
from crm.db.lanes import PROGRAM, LaneLimits
from crm.db.liveness import Liveness
from crm.db.pool import Busy, Pool
from crm.db.replica import Replica
from crm.db.sqlstates import DEADLOCK, READ_ONLY, RUN_AGAIN, UNIQUE_VIOLATION, is_away
from crm.db.statement import Params, Statement

if TYPE_CHECKING:
    from psycopg import pq

log = structlog.get_logger()
T = TypeVar("T")

_ATTEMPTS: Final = 6
_TAKEN_ATTEMPTS: Final = 3  # each time another transaction may take one of many values
_AGAIN_SECONDS: Final = 0.01
_DEADLOCK_SECONDS: Final = 0.1
_SILENCE_SECONDS: Final = 2.0
_REPLICA_SECONDS: Final = 1.0  # the primary answers sooner than a replica that cannot be reached by then
_CONFLICT_WITH_REPLAY: Final = "40001"


@dataclass(slots=True)
class ReadTime:
    """The seconds that PostgreSQL spent on one operation's statements, which share the time limit of one read."""

    seconds: float = 0.0


class Database:
    """The primary, and the replica if there is one."""

    def __init__(  # noqa: PLR0913
        self,
        url: str,
        read_url: str | None = None,
        *,
        size: int = 10,
        prepared_max: int = 500,
        prepared_bytes: int = 64 * 1024 * 1024,
        timeout: float = 5,
        limits: LaneLimits | None = None,
        most_lag: float | None = None,
    ) -> None:
        prepared_limits = PreparedLimits(prepared_max, prepared_bytes)
        self.url = url
        self.primary = Pool(url, size=size, prepared_limits=prepared_limits, timeout=timeout, limits=limits)
        self.group_commit = GroupCommit(self.primary)
        self.replica: Replica | None = None
        self._liveness: Liveness | None = None
        if len(self.primary.address.hosts) > 1:
            self._liveness = Liveness(self.primary, _SILENCE_SECONDS, self._try_another_host)
        if read_url:
            replica = Pool(
                read_url,
                size=size,
                prepared_limits=prepared_limits,
                timeout=timeout,
                connect_timeout=min(timeout, _REPLICA_SECONDS),
                limits=limits,
                writes=False,
            )
            self.replica = Replica(replica, self.primary, most_lag)

    @classmethod
    def for_viewers(cls, config: Settings) -> Self:
        """The database for requests of viewers, with limits for each viewer."""
        assert config.database_url is not None
        limits = LaneLimits(
            each=config.viewer_connections,
            slow=config.slow_reads,
            read_seconds=config.read_timeout_seconds,
            mutation_read_seconds=config.mutation_read_timeout_seconds,
            mutation_seconds=config.mutation_timeout_seconds,
            idle_seconds=config.pool_idle_seconds,
        )
        return cls(
            config.database_url,
            config.database_read_url,
            size=config.pool_size,
            prepared_max=config.prepared_max,
            prepared_bytes=config.prepared_bytes,
            timeout=config.connect_timeout_seconds,
            limits=limits,
            most_lag=config.read_max_lag_seconds,
        )

    @classmethod
    def for_program(cls, config: Settings, url: str, *, size: int) -> Self:
        """The database for work that no viewer waits for: without limits."""
        return cls(
            url,
            size=size,
            prepared_max=config.prepared_max,
            prepared_bytes=config.prepared_bytes,
            timeout=config.connect_timeout_seconds,
            limits=LaneLimits(idle_seconds=config.pool_idle_seconds),
        )

    def read(  # noqa: PLR0913
        self,
        statement: Statement,
        params: Params,
        *,
        owner: int = PROGRAM,
        stale: bool = False,
        limited: bool = False,
        time: ReadTime | None = None,
    ) -> "Coroutine[Any, Any, pq.abc.PGresult]":
        """Run one read. A viewer's read (`owner`) may have to wait, run again, or end with a TIMEOUT.

        So may a read of the program that is `limited`: viewers have chosen its selection.
        """
        if stale and self.replica is not None and self.replica.usable():
            return self._read_stale(self.replica, statement, params, owner, limited=limited, time=time)
        return _read(self.primary, statement, params, owner, limited=limited, time=time)

    async def _read_stale(  # noqa: PLR0913
        self,
        replica: Replica,
        statement: Statement,
        params: Params,
        owner: int,
        *,
        limited: bool,
        time: ReadTime | None,
    ) -> "pq.abc.PGresult":
        try:
            return await _read(replica.pool, statement, params, owner, limited=limited, attempts=1, time=time)
        except Busy:
            raise
        except (errors.Unavailable, psycopg.Error) as error:
            if is_away(error):
                replica.leave_alone("it cannot be reached")
            elif getattr(error, "sqlstate", None) != _CONFLICT_WITH_REPLAY:
                raise
        return await _read(self.primary, statement, params, owner, limited=limited, time=time)

    async def write(self, statement: Statement, params: Params = ()) -> "pq.abc.PGresult":
        """Run one statement that is a whole transaction."""
        try:
            async with self.primary.connection() as connection:
                return await connection.execute(statement, params)
        except StatementStale:  # nothing was changed
            async with self.primary.connection() as connection:
                return await connection.execute(statement, params)

    def conninfo(self, url: str, *, timeout: float = 10) -> str:
        """A URL as libpq's conninfo; of this database's hosts, the one that answered last comes first."""
        return self.primary.address.conninfo if url == self.url else conninfo(url, timeout=timeout)

    def close(self) -> None:
        """Close every connection."""
        self.primary.close()
        if self._liveness is not None:
            self._liveness.close()
        if self.replica is not None:
            self.replica.close()
            self.replica.pool.close()

    def _try_another_host(self) -> None:
        log.warning("database.silent", host=self.primary.address.hosts[0].get("host"))
        self.primary.address.skip()


async def _read(  # noqa: PLR0913
    pool: Pool,
    statement: Statement,
    params: Params,
    owner: int,
    *,
    limited: bool,
    attempts: int = 2,
    time: ReadTime | None = None,
) -> "pq.abc.PGresult":
    """Run one read. A connection that turns out to be broken is replaced, once."""
    while True:
        if time is not None and time.seconds and pool.time_is_up(time.seconds):
            raise TookTooLong
        read = statement if owner or limited else None
        connection = pool.take(owner, read) or await pool.wait(owner, read)
        if time is not None:
            connection.since -= time.seconds
        try:
            return await connection.execute(statement, params)
        except MadeRoom:
            continue
        except (ConnectionLost, StatementStale) as error:
            attempts -= 1
            if connection.stopped is TookTooLong:
                raise TookTooLong from error
            if not attempts:
                raise errors.Unavailable from error
        finally:
            if time is not None and connection.stopped is not MadeRoom:
                time.seconds = pool.seconds_of(connection)
            pool.release(connection)


async def retried(attempt: Callable[[], Awaitable[T]]) -> T:
    """Run a write, and again from the start when that can help.

    It can if PostgreSQL asks for it (40001, 40P01), if a statement was prepared before its tables changed, or if
    another transaction took a unique value between a service's check and its insert: the next check finds that record.
    """
    for number in range(_ATTEMPTS):
        try:
            return await attempt()
        except psycopg.Error as error:
            is_taken = error.sqlstate == UNIQUE_VIOLATION and number < _TAKEN_ATTEMPTS
            if not (is_taken or isinstance(error, StatementStale) or error.sqlstate in RUN_AGAIN):
                raise
            if error.sqlstate == READ_ONLY and number:
                raise  # the new connection leads to no primary either
            # Transactions that deadlocked would meet again if they were re-run at the same time.
            longest = _DEADLOCK_SECONDS if error.sqlstate == DEADLOCK else _AGAIN_SECONDS
            await asyncio.sleep(random.uniform(0, longest) * 2**number)  # noqa: S311
    message = Phrase(
        "Too many others are changing this record right now; try again.",
        "För många andra ändrar den här posten just nu; försök igen.",
    )
    raise errors.Conflict(message, conflict=errors.ConflictReason.BUSY)
