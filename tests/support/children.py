"""Processes that tests start: none outlives the tests, however those end."""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def start(command: Sequence[str], log: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a process that writes to a log; where the kernel can do that, it dies with the test process."""
    with log.open("ab") as out:
        return subprocess.Popen(command, env=env, stdout=out, stderr=out, preexec_fn=_die_with_parent)  # noqa: PLW1509  (it makes one call of the kernel)


def _die_with_parent() -> None:
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
