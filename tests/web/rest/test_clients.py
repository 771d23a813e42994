"""Clients that others wrote follow one task from created to completed."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.packages import installed
from tests.support.servers import Server

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def npm():
    """graphql-ws and ws, as the lock file has them."""
    return installed(HERE)


def follow(folder, *arguments, token=None):
    """Run follow.mjs, as the guide says."""
    environment = {name: value for name, value in os.environ.items() if name != "CRM_TOKEN"}
    return subprocess.run(
        ["node", "follow.mjs", *arguments],
        cwd=folder,
        env=environment | ({"CRM_TOKEN": token} if token else {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.usefixtures("db")
class TestNode:
    def test_graphql_ws_and_a_plain_websocket_see_the_same(self, npm, working):
        done = follow(npm, working.url, "1", token=working.token("member"))
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

    def test_needs_no_token_on_a_developers_machine(self, npm, database_url, tmp_path):
        server = Server(database_url, tmp_path / "log", command=("dev", "--no-demo")).start()
        try:
            done = follow(npm, f"{server.url}/", "0")
        finally:
            server.stop()
        assert done.returncode == 0, done.stderr
        assert '"status":"COMPLETED"' in done.stdout

    def test_says_how_it_is_used_and_why_it_was_refused(self, npm, working):
        assert "usage: " in follow(npm).stderr
        assert follow(npm, working.url, "soon").returncode == 2
        refused = follow(npm, working.url)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.startswith("Send a valid token")
