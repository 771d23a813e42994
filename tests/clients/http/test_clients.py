"""What clients of the field make of the API's answers over HTTP, as docs/guides/http.md says."""

import asyncio
import json
import os
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
from graphql import parse, print_ast

from tests.support import node
from tests.support.servers import Server

HERE = Path(__file__).parent
ME = print_ast(parse("query Me { me { role __typename } }"))
LEADS = print_ast(parse("query Leads { leads(limit: 1) { id __typename } }"))


@pytest.fixture(scope="module")
def npm():
    """The clients, as the lock file has them."""
    with node.alone_with(HERE.parent):
        return HERE


@pytest.fixture(scope="module")
def run(npm):
    """Run a program of this folder against a server, and return its lines of JSON."""

    def run(program, server, **environment):
        address = {"CRM_URL": f"{server.url}/graphql", "CRM_TOKEN": server.token("member")}
        done = subprocess.run(
            ["node", program],
            cwd=npm,
            env={**os.environ, **address, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.fixture(scope="module")
def knowing(database_url, tmp_path_factory):
    """A server that knows one document."""
    folder = tmp_path_factory.mktemp("persisted")
    file = folder / "persisted-documents.json"
    file.write_text(json.dumps({sha256(ME.encode()).hexdigest(): ME}))
    running = Server(database_url, folder / "log", CRM_PERSISTED_DOCUMENTS=str(file)).start()
    yield running
    running.stop()


@pytest.mark.usefixtures("db")
def test_each_shows_what_went_wrong_and_its_code(run, server):
    codes = {"failed": "NOT_FOUND", "invalid": "BAD_USER_INPUT", "unauthenticated": "UNAUTHENTICATED"}
    shown = run("shown.mjs", server)
    assert len(shown) == 12
    for one in shown:
        if one["kind"] == "ran":
            assert one["data"]["me"]["role"] == "MEMBER"
        else:
            assert (one["code"], bool(one["message"])) == (codes[one["kind"]], True), one


class TestApolloPersistedQueries:
    @pytest.mark.usefixtures("db")
    def test_sends_a_known_document_by_its_hash_and_others_as_a_whole(self, run, knowing):
        known, unknown = run("persisted.mjs", knowing, CRM_QUERIES=json.dumps([ME, LEADS]))
        assert known["data"]["me"]["role"] == "MEMBER"
        assert known["sent"] == [{"whole": False, "status": 200}]
        assert unknown["data"] == {"leads": []}
        assert unknown["sent"] == [{"whole": False, "status": 422}, {"whole": True, "status": 200}]

    @pytest.mark.usefixtures("db")
    def test_asks_a_server_without_documents_once(self, run, server):
        first, second = run("persisted.mjs", server, CRM_QUERIES=json.dumps([ME, LEADS]))
        assert first["sent"] == [{"whole": False, "status": 422}, {"whole": True, "status": 200}]
        assert second["sent"] == [{"whole": True, "status": 200}]


async def test_graphql_sse_follows_through_a_lost_connection(npm, database_url, make_lead, client, tmp_path):
    lead = make_lead()["id"]
    running = Server(database_url, tmp_path / "log").start()
    environment = {**os.environ, "CRM_URL": f"{running.url}/graphql", "CRM_TOKEN": running.token("member")}
    program = await asyncio.create_subprocess_exec(
        "node", "stream.mjs", cwd=npm, env={**environment, "CRM_LEAD": str(lead)}, stdout=subprocess.PIPE
    )

    async def said():
        async with asyncio.timeout(20):
            return json.loads(await program.stdout.readline())

    async def add(title):
        query = "mutation($i: CreateTaskInput!) { createTask(input: $i) { id } }"
        variables = {"i": {"leadId": lead, "title": title}}
        await client.post("/graphql", json={"query": query, "variables": variables})

    assert await said() == {"query": {"data": {"me": {"role": "MEMBER"}}}}
    assert await said() == {"invalid": "BAD_USER_INPUT"}
    await asyncio.sleep(1)  # it says nothing when it follows
    await add("Before")
    assert await said() == {"title": "Before"}
    await asyncio.to_thread(running.stop)
    await add("Between")
    again = Server(database_url, tmp_path / "again", port=running.port).start()
    assert await said() == {"title": "Between"}
    await add("After")
    assert await said() == {"title": "After"}
    assert await program.wait() == 0
    again.stop()


def test_urql_follows_without_a_websocket(run, server, make_lead):
    assert run("urql_stream.mjs", server, CRM_LEAD=str(make_lead()["id"])) == [{"title": "Ring"}]
