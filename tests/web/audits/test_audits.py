"""GraphQL over HTTP, as the specification's own audits see it (npm: graphql-http)."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.packages import installed

HERE = Path(__file__).parent
AUDITS = 61


@pytest.fixture(scope="module")
def npm():
    """The audits' packages, as the lock file has them."""
    return installed(HERE)


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
