"""One user's slow reads take nothing from the others: connections, or time."""

import asyncio
import itertools
import json
import statistics
import time
from contextlib import asynccontextmanager

import psycopg
import pytest

from tests.support.http_client import AsyncClient
from tests.support.locks import locked
from tests.support.websockets import signed_in

pytestmark = pytest.mark.waits(15)

ONE = "query One($id: Int!) { lead(id: $id) { id firstName tasks { id title } } }"


@pytest.fixture
def lead(own_database):
    with psycopg.connect(own_database) as connection:
        row = connection.execute("INSERT INTO leads (first_name, last_name) VALUES ('a', 'b') RETURNING id").fetchone()
    return row[0]


class Flood:
    """A user who asks for something slow, and for something else as soon as an answer is there."""

    def __init__(self, server, lead, at_once=12):
        self._server = server
        self._lead = lead
        self._at_once = at_once
        self._asked = 0
        self._tasks = []
        self.codes = []

    async def __aenter__(self):
        headers = {"Authorization": f"Bearer {self._server.token('member')}"}
        self._client = AsyncClient(base_url=self._server.url, headers=headers, timeout=60)
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(self._at_once)]
        return self

    async def __aexit__(self, *_):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    async def _ask(self):
        while True:
            self._asked += 1
            query = f"{{ a{self._asked}: lead(id: {self._lead}) {{ interactions(limit: 3) {{ id }} }} }}"
            answer = (await self._client.post("/graphql", json={"query": query})).json()
            self.codes += [error["extensions"]["code"] for error in answer.get("errors", ())]


async def test_others_are_answered_meanwhile(start_server, own_database, lead, repeats, report):
    """Twelve at once over ten connections: they took all of them for 30 seconds, and others got UNAVAILABLE."""
    server = start_server(CRM_READ_TIMEOUT_SECONDS="3")
    took = []
    headers = {"Authorization": f"Bearer {server.token('viewer')}"}
    async with AsyncClient(base_url=server.url, headers=headers, timeout=60) as client:
        with locked(own_database, "interactions"):
            async with Flood(server, lead) as flood:
                await asyncio.sleep(0.7)
                for _ in range(40 * repeats):
                    started = time.monotonic()
                    answer = (await client.post("/graphql", json={"query": ONE, "variables": {"id": lead}})).json()
                    took.append(time.monotonic() - started)
                    assert answer["data"]["lead"]["id"] == str(lead), answer
                    await asyncio.sleep(0.1)
    p95 = statistics.quantiles(took, n=20)[-1]
    report(
        "slow reads", reads=len(took), p50=statistics.median(took), p95=p95, most=max(took), refused=len(flood.codes)
    )
    assert p95 < 1
    assert flood.codes
    assert set(flood.codes) <= {"TIMEOUT", "UNAVAILABLE"}


async def test_those_of_subscriptions_leave_others_theirs(start_server, own_database, lead):
    """Twelve subscriptions of one user, each of which begins in the past with what takes long to read."""
    server = start_server(CRM_READ_TIMEOUT_SECONDS="3")
    headers = {"Authorization": f"Bearer {server.token('member')}"}
    created = f'mutation {{ createTask(input: {{leadId: {lead}, title: "t"}}) {{ id }} }}'
    took = []
    async with subscriber(server) as subscribe, AsyncClient(base_url=server.url, headers=headers, timeout=60) as client:
        change = await subscribe(
            "subscription { changes { cursor } }", then=client.post("/graphql", json={"query": created})
        )
        await client.post("/graphql", json={"query": created})
        with locked(own_database, "interactions"):
            for number in range(12):
                shown = (
                    f'a{number}: changes(after: "{change["cursor"]}") {{ lead {{ interactions(limit: 1) {{ id }} }} }}'
                )
                await subscribe(f"subscription {{ {shown} }}")
            await asyncio.sleep(0.7)
            for _ in range(20):
                started = time.monotonic()
                answer = (await client.post("/graphql", json={"query": ONE, "variables": {"id": lead}})).json()
                took.append(time.monotonic() - started)
                assert answer["data"]["lead"]["id"] == str(lead), answer
                await asyncio.sleep(0.1)
    assert statistics.quantiles(took, n=20)[-1] < 1


@asynccontextmanager
async def subscriber(server):
    """An admin's socket: a function that subscribes, and returns the first change if something is to bring it about."""
    keys = itertools.count(1)
    async with await signed_in(server.url, server.token()) as socket:

        async def subscribe(query, then=None):
            await socket.send(json.dumps({"id": str(next(keys)), "type": "subscribe", "payload": {"query": query}}))
            if then is None:
                return None
            await asyncio.sleep(0.5)
            await then
            return json.loads(await asyncio.wait_for(socket.recv(), 10))["payload"]["data"]["changes"]

        yield subscribe


async def test_a_read_ends_at_its_time_limit_with_an_error_that_says_what_to_do(start_server, own_database, lead):
    server = start_server(CRM_READ_TIMEOUT_SECONDS="1")
    headers = {"Authorization": f"Bearer {server.token('viewer')}"}
    query = f"{{ lead(id: {lead}) {{ interactions {{ id }} }} }}"
    async with AsyncClient(base_url=server.url, headers=headers, timeout=60) as client:
        with locked(own_database, "interactions"):
            started = time.monotonic()
            response = await client.post("/graphql", json={"query": query})
            assert time.monotonic() - started < 8
            assert response.status_code == 504
            (error,) = response.json()["errors"]
            assert error["extensions"]["code"] == "TIMEOUT"
            assert "1 s" in error["message"]
            with psycopg.connect(own_database) as connection:
                left = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'relation'")
                assert left.fetchone() == (0,)
        assert (await client.post("/graphql", json={"query": query})).json()["data"]["lead"]
