"""npm packages that tests use."""

import fcntl
import shutil
import subprocess
from pathlib import Path


def installed(folder: Path) -> Path:
    """The folder, with its packages as its lock file has them; test processes wait for each other."""
    with (folder / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = lock.read()
        mark = folder / "node_modules" / ".installed"
        if not mark.exists() or mark.read_text() != wanted:
            command = [shutil.which("npm") or "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            subprocess.run(command, cwd=folder, check=True, timeout=110, stdout=subprocess.DEVNULL)
            mark.write_text(wanted)
    return folder
