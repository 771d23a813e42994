"""Relay: its compiler takes `nodeId`, its store keeps records apart by it, and its hooks page and refetch by `node`."""

import re
from pathlib import Path

import pytest

from tests.support import node

HERE = Path(__file__).parent
# A first run installs the packages.
pytestmark = pytest.mark.timeout(360)


@pytest.fixture(scope="module")
def built():
    """The app, compiled by Relay's compiler, checked by TypeScript, bundled."""
    with node.alone_with(HERE.parent):
        (HERE / "src" / "__generated__").mkdir(exist_ok=True)
        node.run(HERE, "../node_modules/.bin/relay-compiler", "relay.config.json")
        node.run(HERE, "../node_modules/.bin/tsc")
        node.run(HERE, "node", "build.mjs")


@pytest.mark.usefixtures("built", "db")
class TestRelay:
    def test_the_compiler_asks_for_the_global_id(self):
        query = (HERE / "src" / "__generated__" / "ScreenTasksPageQuery.graphql.ts").read_text()
        assert "node(nodeId: $nodeId)" in query

    def test_the_app_runs_against_a_live_server(self, server, make_lead, make_task):
        lead = make_lead(first_name="Åsa", last_name="Ångström")
        other = make_lead(first_name="John", last_name="Hill")
        # Its number is the lead's.
        make_task(lead_id=other["id"], title="Call John")
        for title in "abcde":
            make_task(lead_id=lead["id"], title=title)
        environment = {"CRM_URL": f"{server.url}/graphql", "CRM_TOKEN": server.token("member"), "CRM_RECORD": "1"}
        printed = node.run(HERE, "node", "out/main.js", **environment)
        assert re.findall(r"^ok (\w+)$", printed, re.MULTILINE) == [
            "twoRecordsOfOneNumber",
            "pages",
            "refetch",
            "change",
        ]
