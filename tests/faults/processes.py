"""What the operating system says of a server."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def memory_of(pid: int) -> int:
    """Resident kilobytes of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def processes_of(pid: int) -> list[int]:
    """A process and its children."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [pid, *(int(line) for line in found.stdout.split())]


@contextmanager
def frozen(postgres: Any) -> Iterator[None]:
    """Stop all its processes where they are for a while: connections stay open, nobody answers."""
    postmaster = int((postgres.data / "postmaster.pid").read_text().split()[0])
    stopped = processes_of(postmaster)
    for pid in stopped:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(stopped):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
