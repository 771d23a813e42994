"""A primary with a standby that follows it: PostgreSQL's own replication, on this machine."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.support import tools
from tests.support.clusters import migrated_postgres
from tests.support.postgres import QUICK, InstalledPostgres, remove


class Standby(InstalledPostgres):
    """A copy of a running server, which follows it until it is promoted."""

    def __init__(self, primary: InstalledPostgres, directory: Path, binaries: Path) -> None:
        super().__init__(directory, binaries, {})
        self._primary = primary

    def start(self) -> str:
        """Copy the primary, the first time, and follow it."""
        self._prepare_directory()
        if not self.data.exists():
            source = f"host={self._primary.directory} user=postgres"
            self._run("pg_basebackup", "-D", str(self.data), "-d", source, "-R", "-X", "stream", "-c", "fast")
        self._launch()
        return self.url

    def promote(self) -> None:
        """Make it a primary."""
        self._run("pg_ctl", "-D", str(self.data), "-w", "promote")


@dataclass(frozen=True)
class Pair:
    """Two servers with the same rows, in a moment."""

    primary: InstalledPostgres
    standby: Standby

    def caught_up(self) -> bool:
        """Whether the standby has replayed all that the primary has written."""
        with psycopg.connect(self.primary.url) as connection:
            (written,) = connection.execute("SELECT pg_current_wal_lsn()").fetchone() or ("",)
        with psycopg.connect(self.standby.url) as connection:
            return connection.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [written]).fetchone() == (True,)


@contextmanager
def replicated(settings: Mapping[str, str] = QUICK) -> Iterator[Pair]:
    """A migrated primary, and a standby of it."""
    binaries = tools.postgres_15()
    found, folder = migrated_postgres(binaries, settings=settings)
    assert isinstance(found, InstalledPostgres)
    standby = Standby(found, folder / "standby", binaries)
    try:
        standby.start()
        yield Pair(found, standby)
    finally:
        for server in (standby, found):
            if (server.data / "postmaster.pid").exists():
                server.stop()
        remove(folder)
