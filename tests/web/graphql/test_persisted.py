"""Documents that clients name by an id, and servers that run no others."""

import json
import os
import subprocess
import sys
from hashlib import sha256

import pytest

from tests.support.http_client import AsyncClient
from tests.support.servers import Server
from tests.support.websockets import signed_in

MODERN = "application/graphql-response+json"
ROLE, NAME = "query Role { me { role } }", "query Named($n: Int!) { leads(limit: $n) { id } }"
CREATE = 'mutation Create { createLead(input: {firstName: "Åsa", lastName: "Ek"}) { firstName } }'
SHA = sha256(ROLE.encode()).hexdigest()
UNKNOWN = {"code": "PERSISTED_QUERY_NOT_FOUND"}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """As graphql-codegen writes it: ids are hashes of any kind."""
    path = tmp_path_factory.mktemp("documents") / "persisted-documents.json"
    path.write_text(json.dumps({"b6c1": ROLE, SHA: ROLE, "named": NAME, "create": CREATE}))
    return path


@pytest.fixture(scope="module")
def strict(database_url, file, tmp_path_factory):
    """A server that runs these documents and no others."""
    log = tmp_path_factory.mktemp("strict") / "log"
    running = Server(database_url, log, CRM_PERSISTED_DOCUMENTS=str(file), CRM_TRUSTED_DOCUMENTS="true").start()
    yield running
    running.stop()


@pytest.fixture
async def strict_client(strict, db):  # noqa: ARG001
    headers = {"Authorization": f"Bearer {strict.token()}", "Accept": MODERN}
    async with AsyncClient(base_url=strict.url, headers=headers) as client:
        yield client


@pytest.fixture
def ask(strict_client):
    async def run(body, method="POST", **headers):
        response = await strict_client.request(method, "/graphql", json=body, headers=headers)
        return response.status_code, response.json()

    return run


ANSWER = {"data": {"me": {"role": "ADMIN"}}}


class TestPersistedDocuments:
    @pytest.mark.parametrize("key", ["b6c1", SHA, f"sha256:{SHA}"])
    @pytest.mark.parametrize("method", ["POST", "QUERY"])
    async def test_are_named_by_id(self, ask, key, method):
        assert await ask({"documentId": key}, method) == (200, ANSWER)
        assert await ask({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": key}}}, method) == (200, ANSWER)

    async def test_take_variables_and_an_operation_name(self, ask):
        body = {"documentId": "named", "operationName": "Named", "variables": {"n": 1}}
        assert await ask(body) == (200, {"data": {"leads": []}})

    async def test_by_get(self, strict_client):
        for parameters in (
            {"documentId": f"sha256:{SHA}", "query": ""},
            {"extensions": json.dumps({"persistedQuery": {"version": 1, "sha256Hash": SHA}})},
        ):
            assert (await strict_client.get("/graphql", params=parameters)).json() == ANSWER
        assert (await strict_client.get("/graphql", params={"documentId": "create"})).status_code == 405

    async def test_by_websocket(self, strict, db):  # noqa: ARG002
        socket = await signed_in(strict.url, strict.token())
        for key, payload in enumerate([{"documentId": "b6c1"}, {"documentId": "x"}, {"query": "{ __typename }"}]):
            await socket.send(json.dumps({"id": str(key), "type": "subscribe", "payload": payload}))
        answers = {}
        while len(answers) < 3:
            message = json.loads(await socket.recv())
            answers.setdefault(message["id"], message.get("payload"))
        await socket.close()
        assert answers["0"] == ANSWER
        assert [answers[key][0]["extensions"]["code"] for key in "12"] == [UNKNOWN["code"], "FORBIDDEN"]

    @pytest.mark.parametrize(("accept", "status"), [(MODERN, 422), ("*/*", 200)])
    async def test_unknown_ones_are_errors_that_apollo_knows(self, ask, accept, status):
        answer = await ask({"documentId": "sha256:00"}, Accept=accept)
        assert answer == (status, {"errors": [{"message": "PersistedQueryNotFound", "extensions": UNKNOWN}]})

    async def test_without_files_none_are_supported(self, client, db):  # noqa: ARG002
        response = await client.post("/graphql", json={"documentId": SHA})
        [error] = response.json()["errors"]
        assert (error["message"], error["extensions"]["code"]) == (
            "PersistedQueryNotSupported",
            "PERSISTED_QUERY_NOT_SUPPORTED",
        )

    @pytest.mark.parametrize("body", [{"documentId": 5}, {"documentId": ""}, {"extensions": {"persistedQuery": "x"}}])
    async def test_nonsense_is_no_request(self, ask, body):
        status, answer = await ask(body)
        assert (status, answer["errors"][0]["extensions"]["field"]) == (422, "query")


class TestTrustedDocuments:
    @pytest.mark.parametrize("text", ["{ __typename }", f"{ROLE} ", "{ __schema { types { name } } }"])
    async def test_others_are_refused(self, ask, text):
        status, answer = await ask({"query": text})
        assert (status, answer["errors"][0]["extensions"]["code"]) == (403, "FORBIDDEN")

    async def test_are_run_as_a_whole_too(self, ask):
        assert await ask({"query": ROLE}) == (200, ANSWER)
        status, answer = await ask({"query": CREATE})
        assert (status, answer) == (200, {"data": {"createLead": {"firstName": "Åsa"}}})

    async def test_rest_goes_on(self, strict_client):
        response = await strict_client.get("/api/ai/tasks/queue/status", headers={"Accept": "application/json"})
        assert response.status_code == 200

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"CRM_TRUSTED_DOCUMENTS": "1"}, "needs CRM_PERSISTED_DOCUMENTS"),
            ({"CRM_PERSISTED_DOCUMENTS": "/nowhere.json"}, "/nowhere.json is no JSON object"),
            ({"CRM_PERSISTED_DOCUMENTS": __file__}, "is no JSON object of documents"),
        ],
    )
    def test_a_server_with_no_documents_does_not_start(self, settings, words):
        program = "from crm.cli.config import read_settings; read_settings()"
        done = subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, **settings}, capture_output=True, text=True, check=False
        )
        assert done.returncode != 0
        assert words in " ".join((done.stdout + done.stderr).split())
