import json

import pytest

from tests.support.model_server import good, status
from tests.support.servers import Server
from tests.support.websockets import signed_in

QUERY = "mutation($lead: Int!) { generateTaskRecommendations(leadId: $lead) { title } }"


@pytest.fixture
def modelled(database_url, tmp_path, model_server):
    """A server that asks the model server."""
    running = Server(
        database_url,
        tmp_path / "log",
        OPENAI_API_KEY="test-key",
        OPENAI_BASE_URL=model_server.url,
        CRM_AI_MODEL="test-model",
        CRM_AI_TIMEOUT_SECONDS="2",
    ).start()
    yield running
    running.stop()


async def over_websocket(server, query, **variables):
    async with await signed_in(server.url, server.token()) as socket:
        payload = {"query": query, "variables": variables}
        await socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
        return json.loads(await socket.recv())["payload"]


async def over_http(client, server, query, **variables):
    headers = {"Authorization": f"Bearer {server.token()}"}
    body = {"query": query, "variables": variables}
    return (await client.post(f"{server.url}/graphql", json=body, headers=headers)).json()


@pytest.mark.usefixtures("db")
async def test_warnings_stand_beside_the_data_over_http_and_websocket(modelled, client, model_server, make_lead):
    model_server.will(status(401, "bad key sk-secret"))
    lead = make_lead()["id"]
    for answer in (
        await over_http(client, modelled, QUERY, lead=lead),
        await over_websocket(modelled, QUERY, lead=lead),
    ):
        assert answer["data"] == {"generateTaskRecommendations": []}
        (warning,) = answer["extensions"]["warnings"]
        assert (warning["code"], warning["path"]) == ("AI_UNAVAILABLE", ["generateTaskRecommendations"])
        assert "errors" not in answer
    assert "recommendations.unavailable" in modelled.log()
    model_server.will(good([{"title": "Call", "reasoning": "Because."}]))
    assert await over_websocket(modelled, QUERY, lead=lead) == {
        "data": {"generateTaskRecommendations": [{"title": "Call"}]}
    }


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize("field", ["generateTaskRecommendations", "regenerateSummary"])
async def test_more_than_ten_questions_in_one_request_are_refused_before_any_is_asked(
    modelled, client, model_server, make_lead, db, field
):
    model_server.will(good({"tasks": [], "summary": "All is well."}))
    leads = [make_lead()["id"] for _ in range(11)]
    aliases = [f"m{number}: {field}(leadId: {lead}) {{ id }}" for number, lead in enumerate(leads)]
    refused = await over_http(client, modelled, f"mutation {{ {' '.join(aliases)} }}")
    assert "data" not in refused
    assert refused["errors"][0]["extensions"] == {
        "code": "TOO_COMPLEX",
        "what": "cost",
        "limit": 10_000,
        "cost": 11_000,
    }
    assert model_server.requests == []
    assert db.execute("SELECT FROM generations").fetchall() == []
    taken = await over_http(client, modelled, f"mutation {{ {' '.join(aliases[:10])} }}")
    assert len(taken["data"]) == len(model_server.requests) == 10
