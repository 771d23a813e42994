"""Programs of the field's clients: each lists, pages, changes, shows mistakes, meets a conflict, and follows."""

import json
import os
import re
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.support import node
from tests.support.servers import Server

HERE = Path(__file__).parent
# `make clients` names more of them, and installs Python's, each into a `.venv` of its own: two of them need different
# versions of graphql-core.
MORE = os.environ.get("CRM_TEST_CLIENTS", "").split()
PYTHON = [client for client in MORE if (HERE / client / "main.py").exists()]
CLIENTS = ["apollo", "urql", *(client for client in MORE if client not in PYTHON)]
FLOWS = ["list", "pages", "change", "form", "conflict", "live", "persisted"]
WHOLE = {"ariadne"}  # it has no way to send an id for a document
# A first run installs the packages.
pytestmark = pytest.mark.timeout(360)


@pytest.fixture(scope="module")
def programs():
    """The programs, with the types of their operations, checked, and those of TypeScript bundled."""
    if "ariadne" in PYTHON:
        node.run(HERE / "ariadne", ".venv/bin/ariadne-codegen")
        node.run(
            HERE / "ariadne", sys.executable, "-m", "mypy", "--python-executable=.venv/bin/python", "main.py", "crm_api"
        )
    with node.alone_with(HERE):
        node.run(HERE, "node_modules/.bin/graphql-codegen", "--config", "codegen.ts")
        node.run(HERE / "urql", "node", "generate.mjs")
        for client in CLIENTS:
            node.run(HERE, "node_modules/.bin/tsc", "-p", client)
        node.run(HERE, "node", "build.mjs", *CLIENTS)


@pytest.fixture(scope="module")
def knowing(programs, database_url, tmp_path_factory):  # noqa: ARG001
    """A server that knows the programs' documents."""
    files = [next((HERE / client / "src").rglob("persisted-documents.json")) for client in CLIENTS]
    files.append(HERE / "python" / "documents.json")
    log = tmp_path_factory.mktemp("clients") / "log"
    running = Server(database_url, log, CRM_PERSISTED_DOCUMENTS=",".join(map(str, files))).start()
    yield running
    running.stop()


@pytest.fixture
def leads(db, knowing):  # noqa: ARG001
    """Five, in no order."""
    names = [("Pär", "Öst"), ("Lars", "Åberg"), ("Nils", "Ek"), ("Eva", "Ek"), ("Åsa", "Ångström")]
    inputs: list[dict[str, str]] = [{"firstName": first, "lastName": last} for first, last in names]
    inputs[-1]["email"] = "asa@example.com"
    query = "mutation($inputs: [CreateLeadInput!]!) { createLeads(inputs: $inputs) { status } }"
    headers = {"Authorization": f"Bearer {knowing.token('member')}", "Content-Type": "application/json"}
    body = json.dumps({"query": query, "variables": {"inputs": inputs}}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{knowing.url}/graphql", body, headers)) as answer:
        assert json.load(answer) == {"data": {"createLeads": [{"status": "CREATED"}] * 5}}


@pytest.mark.usefixtures("leads")
@pytest.mark.parametrize("client", CLIENTS + PYTHON)
def test_does_what_a_screen_needs(client, knowing):
    address = {"CRM_URL": f"{knowing.url}/graphql", "CRM_TOKEN": knowing.token("member"), "NODE_ENV": "production"}
    command = [".venv/bin/python", "main.py"] if client in PYTHON else ["node", "out/main.js"]
    printed = node.run(HERE / client, *command, **address)
    assert re.findall(r"^ok (\w+)$", printed, re.MULTILINE) == (FLOWS[:-1] if client in WHOLE else FLOWS)
