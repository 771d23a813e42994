"""The programs of `make bench...` and `make attacks` start: nothing else in the suite runs them."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_program_can_be_imported():
    names = [f"tests.bench.{path.stem}" for path in Path(__file__).parent.glob("*.py") if path.stem != "test_start"]
    source = "".join(f"import {name}\n" for name in (*names, "tests.attacks.search"))
    command = [sys.executable, "-W", "ignore", "-c", source]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
