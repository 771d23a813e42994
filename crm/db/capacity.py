"""How many connections the processes may open, all together, and whether PostgreSQL has as many."""

from dataclasses import dataclass
from typing import Any, Final, LiteralString

import psycopg
import structlog

from crm.db.address import conninfo

log = structlog.get_logger()

# In each process: one that listens for what is written elsewhere.
LISTENERS: Final = 1
# In a worker, beside those of the jobs: for the followers, for the chores, and procrastinate's own, with its listener.
FOLLOWERS: Final = 2
CHORES: Final = 2
QUEUE: Final = 4
# Superusers' and others' reserves are not for us, unless we are such a user: rather warn too early.
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
        """Of one process of the API."""
        return self.pool_size + LISTENERS

    @property
    def worker_pool(self) -> int:
        """Of a worker's jobs and followers."""
        return max(self.pool_size, self.worker_concurrency + FOLLOWERS)

    @property
    def worker(self) -> int:
        """Of one worker."""
        return self.worker_pool + CHORES + QUEUE + 2 * LISTENERS

    def warn(self, url: str, web: int = 1, new_workers: int = 0) -> None:
        """Say so if these processes, with the workers that run already, may want more than PostgreSQL gives."""
        try:
            allowed, running = _allowed(url)
        except psycopg.OperationalError:
            return  # so full that not even this gets in, or gone: the log will say so
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
    """How many connections, and how many workers run."""
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        allowed = _number(connection, _ALLOWED)
        try:
            return allowed, _number(connection, _WORKERS)
        except psycopg.errors.ProgrammingError:  # no such table, or not for this user
            return allowed, 0


def _number(connection: psycopg.Connection[Any], query: LiteralString) -> int:
    found = connection.execute(query).fetchone()
    assert found is not None
    return int(found[0])
