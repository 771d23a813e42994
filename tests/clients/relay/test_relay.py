"""Relay: its compiler takes `nodeId`, its store keeps records apart by it, its hooks page and refetch by `node`.

It sends ids of documents that its compiler wrote down, shows a form's problems and a conflict, and follows.
"""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.support import node
from tests.support.servers import Server

HERE = Path(__file__).parent
GENERATED = HERE / "src" / "__generated__"
DOCUMENTS = HERE / "persisted-documents.json"
# A first run installs the packages.
pytestmark = pytest.mark.timeout(360)


@pytest.fixture(scope="module")
def built():
    """The app, compiled by Relay's compiler, checked by TypeScript, bundled."""
    with node.alone_with(HERE.parent):
        # The compiler adds documents to a file that is there, and only those that it writes anew.
        shutil.rmtree(GENERATED, ignore_errors=True)
        GENERATED.mkdir()
        DOCUMENTS.write_text("{}")
        node.run(HERE, "../node_modules/.bin/relay-compiler", "relay.config.json")
        node.run(HERE, "../node_modules/.bin/tsc")
        node.run(HERE, "node", "build.mjs")


@pytest.fixture
def knowing(built, database_url, tmp_path):  # noqa: ARG001
    """A server that runs the app's documents, by their ids."""
    running = Server(database_url, tmp_path / "log", CRM_PERSISTED_DOCUMENTS=str(DOCUMENTS)).start()
    yield running
    running.stop()


@pytest.mark.usefixtures("built", "db")
class TestRelay:
    def test_the_compiler_asks_for_the_global_id(self):
        (query,) = (text for text in json.loads(DOCUMENTS.read_text()).values() if "query ScreenTasksPageQuery" in text)
        assert "node(nodeId: $nodeId)" in query

    def test_the_app_runs_against_a_live_server(self, knowing, make_lead, make_task):
        lead = make_lead(first_name="Åsa", last_name="Ångström")
        other = make_lead(first_name="John", last_name="Hill", email="asa@example.com")
        # Its number is the lead's.
        make_task(lead_id=other["id"], title="Call John")
        for title in "abcde":
            make_task(lead_id=lead["id"], title=title)
        environment = {"CRM_URL": f"{knowing.url}/graphql", "CRM_TOKEN": knowing.token("member"), "CRM_RECORD": "1"}
        printed = node.run(HERE, "node", "out/main.js", **environment)
        assert re.findall(r"^ok (\w+)$", printed, re.MULTILINE) == [
            "twoRecordsOfOneNumber",
            "pages",
            "refetch",
            "change",
            "form",
            "conflict",
            "live",
            "persisted",
        ]
