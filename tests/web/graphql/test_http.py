"""GraphQL over a socket: media types, deadlines, clients that go away, pages of other origins."""

import asyncio
import json
import socket
import time

import httpx2
import psycopg
import pytest

from tests.support import locks
from tests.support.servers import Server

MODERN = "application/graphql-response+json"
PLAIN = "application/json"
GOOD = {"query": "{ leads { id } }"}
PAGE = "https://app.example.com"
# What runs for the API (and not for this test) and is not yet done.
RUNNING = """
    SELECT count(*) AS running FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'active' AND query LIKE '%leads%'
"""


@pytest.fixture(scope="module")
def hasty(database_url, tmp_path_factory):
    """A server whose requests have one second."""
    log = tmp_path_factory.mktemp("hasty") / "log"
    running = Server(database_url, log, CRM_REQUEST_TIMEOUT_SECONDS="1", CRM_POOL_SIZE="3").start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def open_to_pages(database_url, tmp_path_factory):
    """A server that pages of one other origin may use."""
    log = tmp_path_factory.mktemp("cors") / "log"
    running = Server(database_url, log, CRM_CORS_ORIGINS=f"{PAGE}, http://localhost:3000/").start()
    yield running
    running.stop()


@pytest.fixture
def locked(database_url, db):  # noqa: ARG001
    """While this holds, whoever reads leads waits."""
    with locks.locked(database_url, "leads") as connection:
        yield connection


async def until(db, running: int, within: float = 5) -> float:
    """How long it takes until so many statements run."""
    started = time.monotonic()
    while db.execute(RUNNING).fetchone()["running"] != running:
        assert time.monotonic() - started < within, "it took too long"
        await asyncio.sleep(0.02)
    return time.monotonic() - started


class TestMediaTypes:
    @pytest.mark.parametrize(
        ("accept", "expected"),
        [
            (None, PLAIN),
            ("", PLAIN),
            ("*/*", PLAIN),
            ("application/*", PLAIN),
            (PLAIN, PLAIN),
            (MODERN, MODERN),
            (f"{MODERN}, {PLAIN}", MODERN),
            (f"{PLAIN}, {MODERN}", PLAIN),
            (f"{PLAIN};q=0.9, {MODERN}", MODERN),
            (f"{MODERN};q=0.1, {PLAIN};q=0.2", PLAIN),
            (f"{MODERN};q=0, */*;q=0.1", PLAIN),
            (f"{MODERN}; charset=utf-8, {PLAIN}; charset=utf-8", MODERN),
            (f"text/csv, {MODERN.upper()}", MODERN),
            (f"{MODERN};q=x, {PLAIN}", PLAIN),
            ("multipart/mixed, text/event-stream;q=0.5, */*", PLAIN),
            (f"{MODERN}, application/graphql+json, {PLAIN}, text/event-stream, multipart/mixed", MODERN),
        ],
    )
    async def test_the_client_chooses(self, client, db, accept, expected):  # noqa: ARG002
        request = client.build_request("POST", "/graphql", json=GOOD)
        del request.headers["accept"]
        if accept is not None:
            request.headers["accept"] = accept
        response = await client.send(request)
        assert response.status_code == 200
        assert response.headers["content-type"] == f"{expected}; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"

    @pytest.mark.parametrize(
        "kind",
        [
            "application/json",
            "application/json;charset=utf-8",
            "Application/JSON; Charset=UTF-8",
            'application/json; charset="utf-8"',
            "application/json ; profile=x",
        ],
    )
    async def test_json_by_any_spelling(self, client, db, kind):  # noqa: ARG002
        response = await client.post("/graphql", content=json.dumps(GOOD).encode(), headers={"Content-Type": kind})
        assert response.json() == {"data": {"leads": []}}

    async def test_queries_by_get(self, client, db):  # noqa: ARG002
        parameters = {
            "query": "query A { tasks { id } } query B($n: Int) { leads(limit: $n) { id } }",
            "operationName": "B",
            "variables": '{"n": 1}',
            "extensions": "{}",
        }
        response = await client.get("/graphql", params=parameters)
        assert response.json() == {"data": {"leads": []}}

    @pytest.mark.parametrize(("accept", "status"), [(MODERN, 294), (PLAIN, 200), ("*/*", 200)])
    async def test_an_execution_that_fails_is_a_success(self, client, db, accept, status):  # noqa: ARG002
        query = {"query": "mutation { deleteLead(id: 1) { id } }"}
        response = await client.post("/graphql", json=query, headers={"Accept": accept})
        assert response.status_code == status
        assert response.json()["data"] is None
        assert response.json()["errors"][0]["extensions"]["code"] == "NOT_FOUND"


class TestASlashTooMany:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_leads_to_the_right_address_on_the_same_host(self, client, method):
        response = await client.request(method, "/graphql/?a=b%0d%0a", headers={"Host": "evil.example"})
        assert (response.status_code, response.headers["location"]) == (308, "/graphql?a=b%0d%0a")

    async def test_a_client_that_follows_gets_its_answer(self, client, db):  # noqa: ARG002
        response = await client.post("/graphql/", json=GOOD, follow_redirects=True)
        assert response.json() == {"data": {"leads": []}}

    @pytest.mark.parametrize("path", ["/healthz/", "/console/ai-tasks/", "/graphiql/", "/nothing/", "//evil.example/"])
    async def test_nothing_leads_to_another_host(self, client, path):
        response = await client.get(path, headers={"Host": "evil.example"})
        assert "evil" not in response.headers.get("location", "")
        assert response.status_code in {307, 404}


class TestDeadline:
    async def test_a_statement_that_takes_too_long_is_cancelled(self, hasty, client, locked, db):  # noqa: ARG002
        for accept in (MODERN, PLAIN):
            started = time.monotonic()
            response = await client.post(f"{hasty.url}/graphql", json=GOOD, headers={"Accept": accept})
            assert 0.9 < time.monotonic() - started < 4
            assert response.status_code == 504
            assert response.json()["errors"][0]["extensions"]["code"] == "TIMEOUT"
            await until(db, 0, within=2)

    async def test_a_write_that_takes_too_long_is_undone(self, hasty, client, make_lead, database_url, db):
        key = make_lead()["id"]
        query = {"query": f'mutation {{ updateLead(id: {key}, input: {{company: "Late"}}) {{ id }} }}'}
        with psycopg.connect(database_url) as other:
            other.execute("SELECT * FROM leads FOR UPDATE")
            response = await client.post(f"{hasty.url}/graphql", json=query)
            assert response.status_code == 504
            await until(db, 0, within=2)
        assert db.execute("SELECT company, version FROM leads").fetchone() == {"company": None, "version": 1}
        assert (await client.post(f"{hasty.url}/graphql", json=query)).json() == {
            "data": {"updateLead": {"id": str(key)}}
        }

    async def test_the_pool_is_whole_afterwards(self, hasty, client, locked, db):
        """More requests run out of time than there are connections; then the next ones are answered."""
        answers = await asyncio.gather(*(client.post(f"{hasty.url}/graphql", json=GOOD) for _ in range(8)))
        assert {one.status_code for one in answers} <= {503, 504}
        locked.rollback()
        await until(db, 0, within=2)
        answers = await asyncio.gather(*(client.post(f"{hasty.url}/graphql", json=GOOD) for _ in range(8)))
        assert [one.json() for one in answers] == [{"data": {"leads": []}}] * 8

    async def test_half_a_body_does_not_wait_for_ever(self, hasty):
        head = f"POST /graphql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {hasty.token()}\r\n"
        with socket.create_connection(("127.0.0.1", hasty.port), timeout=10) as half:
            half.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
            answer = await asyncio.to_thread(half.recv, 65536)
        assert answer.startswith(b"HTTP/1.1 408 ")

    async def test_a_client_that_goes_away_takes_its_statement_along(self, server, locked, db):  # noqa: ARG002
        body = json.dumps(GOOD).encode()
        head = f"POST /graphql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token()}\r\n"
        logged = len(server.log())
        gone = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        gone.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await until(db, 1)
        gone.close()
        assert await until(db, 0) < 2
        assert server.log()[logged:] == ""

    async def test_a_client_that_goes_away_before_its_body_is_done(self, server):
        head = f"POST /graphql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token()}\r\n"
        logged = len(server.log())
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as gone:
            gone.sendall(
                f"{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n".encode()
            )
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.3)
        assert server.log()[logged:] == ""


class TestOtherOrigins:
    PREFLIGHT = {  # noqa: RUF012
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }

    @staticmethod
    def cors(response: httpx2.Response) -> list[str]:
        return [name for name in response.headers if name.startswith("access-control-")]

    @pytest.mark.parametrize("page", [PAGE, "http://localhost:3000"])
    async def test_a_page_on_the_list_may_ask_and_read(self, open_to_pages, client, page):
        url = f"{open_to_pages.url}/graphql"
        asked = await client.options(url, headers={"Origin": page, **self.PREFLIGHT})
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == page
        assert "authorization" in asked.headers["access-control-allow-headers"].lower()
        answered = await client.post(url, json=GOOD, headers={"Origin": page})
        assert "data" in answered.json()
        assert answered.headers["access-control-allow-origin"] == page
        assert "Origin" in answered.headers["vary"]

    async def test_it_may_read_errors_too(self, open_to_pages, client):
        headers = {"Origin": PAGE, "Authorization": "Bearer nonsense"}
        answered = await client.post(f"{open_to_pages.url}/graphql", json=GOOD, headers=headers)
        assert answered.status_code == 401
        assert answered.headers["access-control-allow-origin"] == PAGE

    @pytest.mark.parametrize("page", ["https://evil.example", f"{PAGE}.evil.example", "null", "http://[", "x"])
    async def test_other_pages_may_not(self, open_to_pages, client, page):
        url = f"{open_to_pages.url}/graphql"
        asked = await client.options(url, headers={"Origin": page, **self.PREFLIGHT})
        assert asked.status_code == 400
        assert "access-control-allow-origin" not in asked.headers
        answered = await client.post(url, json=GOOD, headers={"Origin": page})
        assert answered.status_code == 403
        assert answered.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        assert "access-control-allow-origin" not in answered.headers

    async def test_nothing_is_open_by_default(self, server, client):
        asked = await client.options("/graphql", headers={"Origin": PAGE, **self.PREFLIGHT})
        assert (asked.status_code, self.cors(asked)) == (403, [])
        answered = await client.post("/graphql", json=GOOD, headers={"Origin": PAGE})
        assert (answered.status_code, self.cors(answered)) == (403, [])
        own = await client.post("/graphql", json=GOOD, headers={"Origin": server.url})
        assert (own.status_code, self.cors(own)) == (200, [])


class TestHead:
    async def test_is_get_without_the_body(self, client, graphql):  # noqa: ARG002
        asked = await client.head("/graphql", params=GOOD)
        read = await client.get("/graphql", params=GOOD)
        assert asked.status_code == read.status_code == 200
        assert asked.content == b""
        assert int(asked.headers["content-length"]) == len(read.content)
        assert asked.headers["content-type"] == read.headers["content-type"]

    async def test_runs_no_mutation(self, client, graphql):
        query = 'mutation { createLead(input: {firstName: "Åsa", lastName: "Ek"}) { id } }'
        assert (await client.head("/graphql", params={"query": query})).status_code in (200, 405)
        assert (await graphql("{ leads { id } }"))["leads"] == []

    async def test_other_methods_are_told_the_three(self, client):
        answered = await client.put("/graphql", json=GOOD)
        assert answered.status_code == 405
        assert answered.headers["allow"] == "GET, HEAD, POST, QUERY"


class TestContentLength:
    async def test_may_have_white_space_around_it(self, server):
        body = json.dumps({"query": "{ __typename }"})
        head = (
            f"POST /graphql HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.token()}\r\n"
            f"Content-Type: application/json\r\nConnection: close\r\nContent-Length:\t{len(body)}\t\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write((head + body).encode())
        async with asyncio.timeout(20):
            assert (await reader.read()).endswith(b'{"data":{"__typename":"Query"}}')
        writer.close()

    async def test_of_a_mutation_that_is_broken_off_does_not_run_it(self, server, graphql):
        """Though what came of the body is JSON already."""
        query = 'mutation { createLead(input: {firstName: "Åsa", lastName: "Ek"}) { id } }'
        body = json.dumps({"query": query}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = (
            f"POST /graphql HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.token()}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body) + 10}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await asyncio.sleep(0.2)
        writer.close()
        assert await reader.read() == b""
        await asyncio.sleep(0.2)
        assert (await graphql("{ leads { id } }"))["leads"] == []
