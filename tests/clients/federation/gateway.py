"""The API behind a gateway, as a subgraph beside another. The gateway takes half a gigabyte: `make gateway`, for CI.

The name keeps it out of `make test`; tests/graph/test_federation.py, which is in it, has what needs no gateway.
"""

import re
from pathlib import Path

import pytest

from crm.graph.federation import subgraph_sdl
from crm.schema import schema
from tests.support import node
from tests.support.servers import Server

HERE = Path(__file__).parent
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture
def subgraph(database_url, tmp_path):
    running = Server(database_url, tmp_path / "log", CRM_FEDERATION="1").start()
    yield running
    running.stop()


@pytest.mark.usefixtures("db")
def test_a_gateway_answers_across_both(subgraph, make_lead, make_task):
    asa = make_lead(first_name="Åsa", last_name="Ångström", company="Nordic Timber")
    make_lead(first_name="John", last_name="Hill")
    make_task(lead_id=asa["id"], title="Call")
    sdl = HERE / "node_modules" / "crm.graphql"
    with node.alone_with(HERE, seconds=900):
        sdl.write_text(subgraph_sdl(schema))
        environment = {"CRM_URL": f"{subgraph.url}/graphql", "CRM_TOKEN": subgraph.token("member"), "CRM_SDL": str(sdl)}
        printed = node.run(HERE, "node", "main.mjs", seconds=120, **environment)
    assert re.findall(r"^ok (\w+)$", printed, re.MULTILINE) == ["composed", "fromTheApi", "toTheApi", "mutation"]
