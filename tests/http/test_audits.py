"""GraphQL over HTTP, as the specification's own audits see it (npm: graphql-http)."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
AUDITS = 61


@pytest.fixture(scope="module")
def npm():
    """The audits' packages, as the lock file has them."""
    wanted = (HERE / "package-lock.json").read_text()
    installed = HERE / "node_modules" / ".installed"
    if not installed.exists() or installed.read_text() != wanted:
        command = [shutil.which("npm") or "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(command, cwd=HERE, check=True, timeout=110, stdout=subprocess.DEVNULL)
        installed.write_text(wanted)
    return HERE


@pytest.mark.usefixtures("db")
def test_every_audit_passes(npm, server):
    done = subprocess.run(
        ["node", "audit.mjs"],
        cwd=npm,
        env={**os.environ, "CRM_URL": f"{server.url}/graphql", "CRM_TOKEN": server.token()},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one for one in results if one["status"] != "ok"] == []
    assert len(results) == AUDITS
