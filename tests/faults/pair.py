"""A primary and a standby of PostgreSQL, each to be crashed or frozen and made anew: PostgreSQL's own programs."""

import os
import pwd
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from tests.faults.processes import processes_of
from tests.support.clusters import put_data
from tests.support.postgres import new_folder

# A crash of PostgreSQL loses nothing by these: the pages are the operating system's.
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_senders": "4",
    "wal_keep_size": "256MB",
    "wal_receiver_timeout": "5s",
    "wal_retrieve_retry_interval": "100ms",
}


class Node:
    """One server, over a folder of its own, on a socket in it."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder = folder
        self._data = folder / "data"
        self._binaries = binaries
        self._user = "postgres" if os.geteuid() == 0 else None
        folder.mkdir()
        if self._user:
            account = pwd.getpwnam(self._user)
            os.chown(folder, account.pw_uid, account.pw_gid)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/crm?host={self.folder}"

    def init(self) -> None:
        put_data(self._binaries, self._data)
        self.start()

    def copy_of(self, primary: "Node") -> None:
        """Make it anew as a standby, and start it."""
        shutil.rmtree(self._data, ignore_errors=True)
        source = ["-h", str(primary.folder), "-U", "postgres"]
        self._run("pg_basebackup", "-D", str(self._data), "-R", "-X", "stream", "-c", "fast", "-N", *source)
        self.start()

    def start(self) -> None:
        options = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
        where = f"-h '' -k {self.folder} {options}"
        self._run("pg_ctl", "-D", str(self._data), "-w", "-o", where, "-l", str(self.folder / "log"), "start")

    def promote(self) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-w", "promote")

    def set(self, name: str, value: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            connection.execute("SELECT pg_reload_conf()")

    def ask(self, statement: str) -> list[dict]:
        with psycopg.connect(self.url, autocommit=True, row_factory=dict_row) as connection:
            return connection.execute(statement).fetchall()

    def crash(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError, FileNotFoundError):
            pid = self._pid()
            os.kill(pid, signal.SIGQUIT)
            _wait_gone(pid)

    def freeze(self) -> None:
        """Stop all its processes where they are: connections stay open, nobody answers."""
        pid = self._pid()
        for _ in range(2):  # those that it started meanwhile, too
            for one in processes_of(pid):
                with suppress(ProcessLookupError):
                    os.kill(one, signal.SIGSTOP)

    def end(self) -> None:
        """Kill it, frozen or not."""
        with suppress(ProcessLookupError, FileNotFoundError):
            pid = self._pid()
            for one in reversed(processes_of(pid)):
                with suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)
            _wait_gone(pid)
            for lock in (self._data / "postmaster.pid", *self.folder.glob(".s.PGSQL.*")):
                lock.unlink(missing_ok=True)  # they name a process that may be there until its parent collects it

    def _pid(self) -> int:
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._binaries / program), *arguments],
            check=True,
            user=self._user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )


class Pair:
    """Two nodes, one of which is the primary; `url` finds it."""

    def __init__(self, binaries: Path) -> None:
        self._root = new_folder("crm-pair-")
        self.primary, self.standby = (Node(self._root / name, binaries) for name in "ab")
        hosts = f"{self.primary.folder},{self.standby.folder}"
        self.url = f"postgresql://postgres@/crm?host={hosts}"
        self._whole = False

    def start(self) -> None:
        self.primary.init()
        self.standby.copy_of(self.primary)
        self.wait_in_step()
        self._whole = True

    def wait_in_step(self) -> None:
        """Until the standby has received everything."""
        behind = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn = pg_current_wal_lsn()"
        deadline = time.monotonic() + 20
        while not self.primary.ask(behind):
            assert time.monotonic() < deadline, self.primary.ask("SELECT * FROM pg_stat_replication")
            time.sleep(0.02)

    def be_synchronous(self, *, on: bool) -> None:
        """Whether a commit waits for the standby."""
        self.primary.set("synchronous_standby_names", "*" if on else "")

    def cut(self) -> None:
        """From now on the standby receives nothing."""
        self.standby.set("primary_conninfo", "")
        deadline = time.monotonic() + 10
        while self.standby.ask("SELECT 1 FROM pg_stat_wal_receiver"):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def fail_over(self, way: str) -> None:
        """Lose the primary (crash, freeze); the standby takes over."""
        self._whole = False
        getattr(self.primary, way)()
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary

    def be_whole(self) -> None:
        """Make the lost one anew, as a standby, if one was lost."""
        if self._whole:
            return
        self.standby.end()
        self.be_synchronous(on=False)
        self.standby.copy_of(self.primary)
        self.standby.set("primary_conninfo", f"host={self.primary.folder} user=postgres")
        self.wait_in_step()
        self._whole = True

    def remove(self) -> None:
        for node in (self.primary, self.standby):
            node.end()
        shutil.rmtree(self._root, ignore_errors=True)


def _wait_gone(pid: int) -> None:
    for _ in range(1000):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":  # whoever is to collect it takes its time
            return
        time.sleep(0.01)
