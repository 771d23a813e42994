"""Node.js projects that tests build and run."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

OLDEST_NODE = 20
NPM_SECONDS = 240


def run(folder: Path, *command: str, seconds: float = 60, **environment: str) -> str:
    """Run a command in a folder; what it printed is the message when it fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-6000:]}", pytrace=False)
    return done.stdout


@contextmanager
def alone_with(folder: Path, seconds: float = NPM_SECONDS) -> Iterator[None]:
    """The project with its packages installed, while no other test process builds anything in it."""
    require_node()
    with (folder / "package.json").open() as mine:
        fcntl.flock(mine, fcntl.LOCK_EX)
        installed = folder / "node_modules" / ".package-lock.json"
        if not installed.exists() or installed.stat().st_mtime < (folder / "package-lock.json").stat().st_mtime:
            run(folder, "npm", "ci", "--no-audit", "--no-fund", seconds=seconds)
        yield


def require_node() -> None:
    """Fail, and say what to install, if there is no Node.js or an old one."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        pytest.fail(
            f"Node.js is not installed. Install version {OLDEST_NODE} or newer with npm (https://nodejs.org, or "
            "`apt install nodejs npm`): types generated from the schema are part of what this project promises.",
            pytrace=False,
        )
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < OLDEST_NODE:
        pytest.fail(f"Node.js {version} is too old; install version {OLDEST_NODE} or newer.", pytrace=False)
