"""GraphQL over server-sent events: queries, mutations and subscriptions, each in a connection of its own."""

import asyncio
import json
import time

import pytest

from tests.support.http_client import AsyncClient
from tests.support.servers import Server

EVENTS = {"Accept": "text/event-stream"}
CHANGES = "subscription($lead: Int) { changes(leadId: $lead) { type task { title } } }"
FOLLOWERS = "SELECT count(*) AS tasks FROM tasks"


class Stream:
    """The events of an open response, as they come."""

    def __init__(self, response):
        self.response = response
        self._lines = response.aiter_lines()

    async def event(self, timeout=10):
        """The next event and its data; None at the end of the stream. Comments are passed over."""
        found = {}
        async with asyncio.timeout(timeout):
            async for line in self._lines:
                if line and not line.startswith(":"):
                    name, _, value = line.partition(":")
                    found[name] = value.strip()
                elif not line and found:
                    return found["event"], json.loads(found["data"]) if found["data"] else None
        return None


async def silent(stream):
    """Whether a stream that was opened says nothing, having nothing to say yet; closed if it does."""
    try:
        event = await stream.event(timeout=0.3)
    except TimeoutError:
        return True
    assert event[1]["errors"][0]["extensions"]["code"] == "TOO_COMPLEX"
    await stream.response.aclose()
    return False


@pytest.fixture
def opened(client):
    """Open an event stream; each is closed at the end."""
    streams = []

    async def opened(query, base=None, headers=EVENTS, **variables):
        body = json.dumps({"query": query, "variables": variables}).encode()  # ASCII, also of half a surrogate pair
        given = {"Content-Type": "application/json", **headers}
        request = (base or client).build_request("POST", "/graphql", content=body, headers=given)
        response = await (base or client).send(request, stream=True)
        streams.append(response)
        return Stream(response)

    yield opened
    for response in streams:
        asyncio.get_event_loop().create_task(response.aclose())


def title(event):
    kind, answer = event
    assert kind == "next", event
    return answer["data"]["changes"]["task"]["title"]


class TestOneAnswer:
    async def test_of_a_query(self, opened, make_lead):
        make_lead(first_name="Åsa", last_name="Two\\Lines")
        make_lead(first_name="Bo", last_name="Ek")
        stream = await opened("{ leads(orderBy: [{field: ID}]) { firstName lastName } }")
        assert stream.response.status_code == 200
        assert stream.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.response.headers["x-accel-buffering"] == "no"
        leads = [{"firstName": "Åsa", "lastName": "Two\\Lines"}, {"firstName": "Bo", "lastName": "Ek"}]
        assert await stream.event() == ("next", {"data": {"leads": leads}})
        assert await stream.event() == ("complete", None)
        assert await stream.event() is None

    async def test_of_a_mutation(self, opened, db):
        create = 'mutation { createLead(input: {firstName: "Åsa", lastName: "Ek"}) { firstName } }'
        stream = await opened(create)
        assert await stream.event() == ("next", {"data": {"createLead": {"firstName": "Åsa"}}})
        assert await stream.event() == ("complete", None)
        assert db.execute("SELECT count(*) AS leads FROM leads").fetchone()["leads"] == 1

    async def test_says_what_it_cost_where_the_head_asks(self, opened, db):  # noqa: ARG002
        asking = {**EVENTS, "X-Cost": "1"}
        _, answer = await (await opened("{ leads(limit: 7) { id } }", headers=asking)).event()
        assert answer == {"data": {"leads": []}, "extensions": {"cost": {"requested": 7, "remaining": 9993}}}
        _, answer = await (await opened("{ leads(limit: 1000) { tasks(limit: 20) { id } } }", headers=asking)).event()
        assert answer["extensions"]["cost"] == {"requested": 21_000, "remaining": 0}

    @pytest.mark.parametrize(
        "query", ["{ nope }", "{", "query($x: Int!) { lead(id: $x) { id } }", "{ leads(limit: -1) { id } }"]
    )
    async def test_of_what_is_not_valid(self, opened, db, query):  # noqa: ARG002
        stream = await opened(query)
        kind, answer = await stream.event()
        assert (kind, answer["errors"][0]["extensions"]["code"]) == ("next", "BAD_USER_INPUT")
        assert "data" not in answer
        assert await stream.event() == ("complete", None)

    async def test_of_a_get(self, client, db):  # noqa: ARG002
        response = await client.get("/graphql", params={"query": "{ me { role } }"}, headers=EVENTS)
        events = [part for part in response.text.split("\n\n") if part and not part.startswith(":")]
        assert events == ['event: next\ndata: {"data":{"me":{"role":"ADMIN"}}}', "event: complete\ndata:"]

    @pytest.mark.parametrize(
        ("method", "given", "status"),
        [
            ("POST", {"json": {"query": 5}}, 422),
            ("POST", {"content": b"{"}, 415),
            ("POST", {"json": {"query": "{ me { id } }"}, "headers": {**EVENTS, "Authorization": "Bearer x"}}, 401),
            ("PUT", {"json": {"query": "{ me { id } }"}}, 405),
            ("GET", {"params": {"query": "mutation { deleteLead(id: 1) { id } }"}}, 405),
            ("QUERY", {"json": {"query": "mutation { deleteLead(id: 1) { id } }"}}, 422),
        ],
    )
    async def test_of_what_is_no_request_is_no_stream(self, client, db, method, given, status):  # noqa: ARG002
        response = await client.request(method, "/graphql", **{"headers": EVENTS, **given})
        assert response.status_code == status
        assert response.headers["content-type"] == "application/graphql-response+json; charset=utf-8"
        assert response.json()["errors"][0]["message"]


class TestSubscriptions:
    async def test_send_each_change_as_it_comes(self, opened, make_lead, graphql):
        lead = make_lead()["id"]
        stream = await opened(CHANGES, lead=lead)
        for number in range(3):
            text = f'mutation($lead: Int!) {{ createTask(input: {{leadId: $lead, title: "T{number}"}}) {{ id }} }}'
            await graphql(text, lead=lead)
            assert title(await stream.event()) == f"T{number}"

    async def test_end_with_the_token(self, opened, make_lead, server):
        token = {**EVENTS, "Authorization": f"Bearer {server.token(lifetime=4)}"}
        stream = await opened(CHANGES, headers=token, lead=make_lead()["id"])
        kind, answer = await stream.event()
        while "data" in answer:  # a change that another test made to a lead of this id
            kind, answer = await stream.event()
        assert (kind, answer["errors"][0]["extensions"]["code"]) == ("next", "UNAUTHENTICATED")
        assert await stream.event() == ("complete", None)

    @pytest.mark.parametrize(
        ("query", "variables"),
        [
            ('subscription { changes(after: "x") { type } }', {}),
            ("subscription($t: [String!]) { changes(types: $t) { type } }", {"t": ["\ud800"]}),
            ("subscription($id: ID) { changes(leadId: $id) { type } }", {"id": "\ud800"}),
        ],
    )
    async def test_tell_what_is_refused(self, opened, db, query, variables):  # noqa: ARG002
        stream = await opened(query, **variables)
        kind, answer = await stream.event()
        assert (kind, answer["errors"][0]["extensions"]["code"]) == ("next", "BAD_USER_INPUT")
        assert await stream.event() == ("complete", None)

    async def test_beat_while_nothing_happens_and_are_cut_when_the_server_stops(
        self, database_url, make_lead, client, tmp_path
    ):
        running = Server(database_url, tmp_path / "log", CRM_WEBSOCKET_PING_SECONDS="0.2").start()
        body = {"query": CHANGES, "variables": {"lead": make_lead()["id"]}}
        async with AsyncClient(base_url=running.url, headers={**client.headers, **EVENTS}) as other:
            response = await other.send(other.build_request("POST", "/graphql", json=body), stream=True)
            lines = response.aiter_lines()
            async with asyncio.timeout(5):
                assert [await anext(lines) for _ in range(6)] == [":", "", ":", "", ":", ""]
            stopping = asyncio.create_task(asyncio.to_thread(running.stop))
            with pytest.raises(Exception, match=r"peer closed|incomplete|disconnected"):
                async for _ in lines:
                    pass
            async with asyncio.timeout(10):
                assert await stopping == 0
            assert "Traceback" not in running.log()

    async def test_are_forgotten_when_the_client_goes(self, opened, make_lead, database_url, client, tmp_path):
        """One user may have as many as fit into the memory; those that are over do not count."""
        running = Server(database_url, tmp_path / "log", CRM_MAX_SUBSCRIPTION_BYTES=str(1024 * 1024)).start()
        lead = make_lead()["id"]
        async with AsyncClient(base_url=running.url, headers=dict(client.headers)) as other:
            for number in range(60):  # each differs from the others by its document
                stream = await opened(CHANGES.replace("changes", f"a{number}: changes"), base=other, lead=lead)
                await stream.response.aclose()
            began = time.monotonic()
            while not await silent(stream := await opened(CHANGES, base=other, lead=lead)):
                assert time.monotonic() - began < 2
            await stream.response.aclose()
        running.stop()
        assert "Traceback" not in running.log()
