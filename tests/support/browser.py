"""A browser that plays scenes of a page: see tests/web/browser/play.mjs."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import tools
from tests.support.packages import installed
from tests.support.servers import Server

BROWSER = Path(__file__).parents[1] / "web" / "browser"


@contextmanager
def playing(folder: Path) -> Iterator[Callable[..., Any]]:
    """Play the scenes of a folder's browse.mjs by their names, on a server; each returns what was seen."""
    tools.chromium()
    installed(BROWSER)
    with subprocess.Popen(
        ["node", "browse.mjs"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        into, out = process.stdin, process.stdout

        def scene(name: str, server: Server, token: str | None = None) -> Any:
            print(json.dumps({"scene": name, "server": server.url, "token": token}), file=into, flush=True)
            seen = json.loads(out.readline())
            assert "failed" not in seen, seen["failed"]
            return seen

        yield scene
        into.close()  # it ends with its input
