"""Clients that others wrote follow one task from created to completed."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def npm():
    """graphql-ws and ws, as the lock file has them."""
    wanted = (HERE / "package-lock.json").read_text()
    installed = HERE / "node_modules" / ".installed"
    if not installed.exists() or installed.read_text() != wanted:
        command = [shutil.which("npm") or "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(command, cwd=HERE, check=True, timeout=110, stdout=subprocess.DEVNULL)
        installed.write_text(wanted)
    return HERE


@pytest.mark.usefixtures("db")
class TestNode:
    def test_graphql_ws_and_a_plain_websocket_see_the_same(self, npm, working):
        done = subprocess.run(
            ["node", "follow.mjs", working.url, "1"],
            cwd=npm,
            env={**os.environ, "CRM_TOKEN": working.token("member")},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        (created,) = [line for line in lines if line["who"] == "rest"]
        assert created["status"] == 201
        for who in ("graphql-ws", "ws"):
            seen = [line for line in lines if line["who"] == who]
            assert {line["id"] for line in seen} == {created["id"]}
            assert [line["version"] for line in seen] == sorted({line["version"] for line in seen})
            assert next(line["status"] for line in seen if line["status"] != "QUEUED") == "RUNNING"
            assert any(0 < line["progress"] < 1 for line in seen)
            assert (seen[-1]["status"], seen[-1]["result"]) == ("COMPLETED", {"message": "Hej"})
