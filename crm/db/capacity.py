"""The connections that all processes together may open, compared with those that PostgreSQL allows."""

from dataclasses import dataclass
from typing import Any, Final, LiteralString

import psycopg
import structlog

from crm.db.address import conninfo

log = structlog.get_logger()

# In each process: the connection that listens for notifications of other processes' writes.
LISTENERS: Final = 1
# In a worker, besides its jobs': for event consumers, periodic tasks, and procrastinate itself with its listener.
EVENT_CONSUMERS: Final = 2
PERIODIC_TASKS: Final = 2
QUEUE: Final = 4
# Reserved connections are not counted, though a superuser could use them: rather warn too early.
_ALLOWED: Final = """
SELECT least(
  current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
    - coalesce(current_setting('reserved_connections', true)::integer, 0),
  (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user),
  (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database())
)
"""
_WORKERS: Final = """
SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > clock_timestamp() - interval '30 seconds'
"""


@dataclass(frozen=True, slots=True)
class Capacity:
    """The connections that processes open at most."""

    pool_size: int
    worker_concurrency: int

    @property
    def web(self) -> int:
        """The connections of one process of the API."""
        return self.pool_size + LISTENERS

    @property
    def worker_pool(self) -> int:
        """The connections of a worker's jobs and event consumers."""
        return max(self.pool_size, self.worker_concurrency + EVENT_CONSUMERS)

    @property
    def worker(self) -> int:
        """The connections of one worker."""
        return self.worker_pool + PERIODIC_TASKS + QUEUE + 2 * LISTENERS

    def warn(self, url: str, web: int = 1, new_workers: int = 0) -> None:
        """Log a warning if these processes, with the workers that run already, may need more than PostgreSQL allows."""
        try:
            allowed, running = _allowed(url)
        except psycopg.OperationalError:
            return  # full, or not reachable: other log lines will say so
        workers = max(1, running + new_workers)
        wanted = web * self.web + workers * self.worker
        if wanted <= allowed:
            return
        log.warning(
            "database.connections_short",
            wanted=wanted,
            allowed=allowed,
            message=f"{web} process(es) of the API may open {web * self.web} connections and {workers} worker(s) "
            f"{workers * self.worker}, but PostgreSQL allows this user {allowed}: some will be refused under load. "
            "Lower CRM_POOL_SIZE, raise max_connections, or put a pooler between.",
        )


def _allowed(url: str) -> tuple[int, int]:
    """The number of connections that are allowed, and of workers that run."""
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        allowed = _number(connection, _ALLOWED)
        try:
            return allowed, _number(connection, _WORKERS)
        except psycopg.errors.ProgrammingError:  # no such table, or not for this user
            return allowed, 0


def _number(connection: psycopg.Connection[Any], query: LiteralString) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])
