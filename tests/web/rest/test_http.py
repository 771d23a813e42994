"""REST over HTTP: addresses, methods, media types, bodies, parameters, deadlines, pages of other origins."""

import asyncio
import json
import socket
import time

import pytest

from tests.support import locks
from tests.support.http_client import AsyncClient
from tests.support.rest_client import ECHO, NOBODY, TASKS, refused
from tests.support.servers import Server

PAGE = "https://app.example.com"
# What those who call an address have never heard of.
ENGINE_WORDS = ("$", "Variable", "Expected", "None", "represent", "enum", "AiTaskPriority", "Input!", "filter.")


class TestAddresses:
    @pytest.mark.parametrize(
        "path",
        [
            "/api",
            "/api/",
            "/apis",
            "/api/ai",
            "/api/ai/tasks/",
            f"/{TASKS}",
            f"//{TASKS}",
            f"{TASKS}/{NOBODY}/nothing",
            "/api/%2e%2e",
            "/%61pi",
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
    async def test_nothing_is_a_404_for_programs(self, api, server, method, path):
        response = await api.request(method, server.url + path)
        assert "There is nothing at" in refused(response, 404, "NOT_FOUND")["detail"]

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("DELETE", TASKS, "GET, HEAD, OPTIONS, POST"),
            ("POST", f"{TASKS}/{NOBODY}", "GET, HEAD, OPTIONS"),
            ("GET", f"{TASKS}/{NOBODY}/cancel", "OPTIONS, PUT"),
            ("GET", f"{TASKS}/batch", "OPTIONS, POST"),
            ("HEAD", f"{TASKS}/{NOBODY}/retry", "GET, OPTIONS, POST"),
            ("PATCH", f"{TASKS}/queue/status", "GET, HEAD, OPTIONS"),
        ],
    )
    async def test_another_method_is_a_405_that_names_those_there_are(self, api, method, path, allowed):
        response = await api.request(method, path)
        assert response.headers["allow"] == allowed
        if method == "HEAD":
            assert (response.status_code, response.content) == (405, b"")
        else:
            assert allowed in refused(response, 405, "METHOD_NOT_ALLOWED")["detail"]

    async def test_options_tell_the_same(self, api):
        response = await api.options(TASKS, headers={"Authorization": ""})
        assert (response.status_code, response.content) == (204, b"")
        assert response.headers["allow"] == "GET, HEAD, OPTIONS, POST"

    async def test_head_is_get_without_the_body(self, api):
        got, head = await api.get(TASKS), await api.head(TASKS)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == got.headers["content-length"] == str(len(got.content))

    async def test_an_id_that_is_none_is_a_400(self, api):
        assert refused(await api.get(f"{TASKS}/7"), 400)["field"] == "id"
        assert refused(await api.get(f"{TASKS}/%00"), 400)["field"] == "id"

    async def test_a_record_that_is_not_there_is_a_404(self, api):
        refused(await api.get(f"{TASKS}/{NOBODY}"), 404, "NOT_FOUND")
        refused(await api.put(f"{TASKS}/{NOBODY}/cancel"), 404, "NOT_FOUND")
        refused(await api.post(f"{TASKS}/{NOBODY}/retry"), 404, "NOT_FOUND")


class TestTokens:
    async def test_there_is_nothing_without_one(self, api):
        del api.headers["authorization"]
        for method, path in [("GET", TASKS), ("POST", TASKS), ("PUT", f"{TASKS}/{NOBODY}/cancel")]:
            response = await api.request(method, path)
            refused(response, 401, "UNAUTHENTICATED")
            assert response.headers["www-authenticate"] == "Bearer"

    async def test_a_wrong_one_is_told_so(self, api):
        refused(await api.get(TASKS, headers={"Authorization": "Bearer nonsense"}), 401, "UNAUTHENTICATED")
        refused(await api.get(TASKS, headers={"Authorization": "Basic eDp5"}), 401, "UNAUTHENTICATED")

    async def test_a_viewer_creates_nothing(self, api, server):
        as_viewer = {"Authorization": f"Bearer {server.token('viewer')}"}
        refused(await api.post(TASKS, json=ECHO, headers=as_viewer), 403, "FORBIDDEN")


class TestMediaTypes:
    @pytest.mark.parametrize(
        "accept", ["application/json", "application/problem+json", "*/*", "application/*", "", "text/html, */*;q=0.1"]
    )
    async def test_json_for_whoever_takes_it(self, api, accept):
        response = await api.get(TASKS, headers={"Accept": accept})
        assert response.json() == []
        assert response.headers["content-type"] == "application/json; charset=utf-8"
        refused(await api.get(f"{TASKS}/{NOBODY}", headers={"Accept": accept}), 404, "NOT_FOUND")

    @pytest.mark.parametrize("accept", ["text/html", "application/graphql-response+json", "application/json;q=0"])
    async def test_and_nothing_else(self, api, accept):
        refused(await api.get(TASKS, headers={"Accept": accept}), 406, "NOT_ACCEPTABLE")

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
    async def test_a_body_is_json(self, api, kind, db):
        content = json.dumps(ECHO).encode()
        response = await api.post(TASKS, content=content, headers={"Content-Type": kind})
        refused(response, 415, "UNSUPPORTED_MEDIA_TYPE")
        assert db.execute("SELECT count(*) AS count FROM ai_tasks").fetchone()["count"] == 0


class TestBodies:
    @pytest.mark.parametrize("content", [b"{", b"\xff", b"[1", b"{'a': 1}", b"NaN"])
    async def test_what_is_not_json_is_refused(self, api, content):
        response = await api.post(TASKS, content=content, headers={"Content-Type": "application/json"})
        assert refused(response, 400)["detail"] == "The body is not JSON."

    @pytest.mark.parametrize("body", [None, [], [ECHO], "echo", 1, True])
    async def test_what_is_not_an_object_is_refused(self, api, body):
        assert refused(await api.post(TASKS, json=body), 400)["detail"] == "Send a JSON object as the body."

    async def test_nothing_at_all_is_refused_where_something_is_needed(self, api):
        assert refused(await api.post(TASKS), 400)["detail"] == "Send a JSON object as the body."
        assert refused(await api.post(f"{TASKS}/batch"), 400)["detail"] == "Send a JSON object as the body."

    @pytest.mark.parametrize(
        ("body", "field", "said"),
        [
            ({}, "taskType", "Task type must be given."),
            ({"taskType": None}, "taskType", "Task type must be given."),
            ({"taskType": 1}, "taskType", "Task type must be text, not 1."),
            ({"taskType": ["echo"]}, "taskType", 'Task type must be text, not ["echo"].'),
            ({"taskType": ["to include required field 'x'"]}, "taskType", "Task type must be text, not ["),
            ({"taskType": "nothing"}, "taskType", "echo"),
            ({**ECHO, "priority": None}, "priority", "Priority must be given."),
            ({**ECHO, "priority": "SOON"}, "priority", "one of LOW, NORMAL, HIGH, URGENT, not 'SOON'."),
            ({**ECHO, "priority": 5}, "priority", "one of LOW, NORMAL, HIGH, URGENT, not 5."),
            ({**ECHO, "priority": True}, "priority", "one of LOW, NORMAL, HIGH, URGENT, not true."),
            ({**ECHO, "maxRetries": 11}, "maxRetries", "10"),
            ({**ECHO, "maxRetries": 1.5}, "maxRetries", "Retries must be a whole number, not 1.5."),
            ({**ECHO, "leadId": "seven"}, "leadId", "Lead: 'seven' is not an id."),
            ({**ECHO, "leadId": {"x": "y" * 99}}, "leadId", 'Lead must be an id, not {"x":"yyyy'),
            ({**ECHO, "leadId": 2**40}, "leadId", "Lead: '1099511627776' is not an id."),
            ({**ECHO, "scheduledFor": "tomorrow"}, "scheduledFor", "Start time must be a date"),
            ({**ECHO, "colour": "red"}, "colour", "There is no member 'colour'; there are: agentId, idempotencyKey,"),
            ({"taskType": "echo", "input": {"mesage": ""}}, "input.mesage", "Mesage, for the task type echo"),
            ({"taskType": "echo", "agentId": "a\x00b"}, "agentId", "NUL"),
        ],
    )
    async def test_the_error_names_the_member(self, api, body, field, said, db):
        error = refused(await api.post(TASKS, json=body), 400)
        assert error["field"] == field
        assert said in error["detail"]
        assert not [word for word in ENGINE_WORDS if word in error["detail"]]
        assert len(error["detail"]) < 300
        assert db.execute("SELECT count(*) AS count FROM ai_tasks").fetchone()["count"] == 0

    async def test_a_number_beyond_all_doubles_is_no_null(self, api):
        headers = {"Content-Type": "application/json"}
        response = await api.post(TASKS, content=b'{"taskType": "echo", "maxRetries": 1e400}', headers=headers)
        assert "not a number too large to be read" in refused(response, 400)["detail"]

    @pytest.mark.parametrize(
        ("body", "field", "said"),
        [
            ({}, "inputs", "Inputs must be given."),
            ({"inputs": None}, "inputs", "Inputs must be given."),
            ({"inputs": 5}, "inputs", "Inputs must be a list, not 5."),
            ({"inputs": [None]}, "inputs.0", "Inputs must be given."),
            ({"inputs": [ECHO, 5]}, "inputs.1", "Inputs must be an object, not 5."),
            ({"inputs": [ECHO, {}]}, "inputs.1.taskType", "Task type must be given."),
            ({"inputs": [{**ECHO, "priority": "SOON"}]}, "inputs.0.priority", "one of LOW, NORMAL, HIGH, URGENT"),
            (
                {"inputs": [ECHO, {**ECHO, "colour": ""}]},
                "inputs.1.colour",
                "no member 'colour' in `inputs.1`; there are",
            ),
        ],
    )
    async def test_the_error_names_the_member_of_one_of_many(self, api, body, field, said):
        error = refused(await api.post(f"{TASKS}/batch", json=body), 400)
        assert error["field"] == field
        assert said in error["detail"]
        assert not [word for word in ENGINE_WORDS if word in error["detail"]]

    async def test_what_there_might_be_is_listed_for_programs(self, api):
        error = refused(await api.post(TASKS, json={**ECHO, "colour": "red"}), 400)
        assert error["known"] == sorted(error["known"])
        assert {"taskType", "priority", "input"} < set(error["known"])
        for asked in (api.post(TASKS, json={**ECHO, "priority": "SOON"}), api.get(f"{TASKS}?priority=SOON")):
            assert refused(await asked, 400)["known"] == ["LOW", "NORMAL", "HIGH", "URGENT"]

    async def test_words_of_a_list_may_be_in_lower_case(self, api):
        one = await api.post(TASKS, json={**ECHO, "priority": "urgent"})
        two = await api.post(f"{TASKS}/batch", json={"inputs": [{**ECHO, "priority": "Low"}]})
        assert (one.json()["priority"], two.json()[0]["priority"]) == ("URGENT", "LOW")

    async def test_several_faults_are_told_at_once(self, api):
        error = refused(await api.post(TASKS, json={"priority": "SOON", "leadId": "seven"}), 400)
        assert {problem["field"] for problem in error["problems"]} == {"taskType", "priority", "leadId"}
        assert error["field"] == error["problems"][0]["field"]
        assert error["detail"] == error["problems"][0]["message"]

    async def test_too_large_a_one_is_refused(self, api):
        error = refused(await api.post(TASKS, json={**ECHO, "agentId": "x" * 300_000}), 413, "TOO_LARGE")
        assert error["limit"] == 256 * 1024

    async def test_half_of_a_surrogate_pair_is_no_text(self, api):
        content = b'{"taskType": "echo", "agentId": "\\ud800"}'
        response = await api.post(TASKS, content=content, headers={"Content-Type": "application/json"})
        assert refused(response, 400)["field"] == "agentId"

    async def test_it_may_come_in_pieces(self, api):
        async def pieces():
            for byte in json.dumps(ECHO, ensure_ascii=False).encode():
                yield bytes([byte])

        response = await api.post(TASKS, content=pieces(), headers={"Content-Type": "application/json"})
        assert response.status_code == 201
        assert response.json()["input"] == ECHO["input"]


class TestParameters:
    @pytest.mark.parametrize(
        ("query", "field", "said"),
        [
            ("color=red", "color", "agentId, createdAfter, createdBefore, createdBy, direction, finishedAfter"),
            ("limit=ten", "limit", "a whole number, not 'ten'"),
            ("limit=", "limit", "a whole number"),
            ("limit=1&limit=2", "limit", "2 times"),
            ("limit=1001", "limit", "1,000"),
            ("limit=-1", "limit", ""),
            ("limit=99999999999", "limit", "-2,147,483,648 to 2,147,483,647, not 99,999,999,999."),
            ("leadId=4000000000", "leadId", "Lead: '4000000000' is not an id."),
            ("leadId=", "leadId", "Lead: '' is not an id."),
            ("status=QUEUED,LOST", "status", "one of QUEUED, RUNNING"),
            ("createdAfter=yesterday", "createdAfter", "Created"),
            ("createdAfter=2026-01-01T00:00:00", "createdAfter", "offset"),
            ("agentId=%00", "agentId", "a NUL character"),
            ("taskType=%00", "taskType", "a NUL character"),
            ("taskType=echo&taskType=%00", "taskType", "a NUL character"),
            ("orderBy=colour", "orderBy", "one of"),
            ("finishedBefore=never", "finishedBefore", "Finished"),
            ("createdBy=me", "createdBy", "'me' is not an id"),
            ("idempotencyKey=%00", "idempotencyKey", "a NUL character"),
        ],
    )
    async def test_the_error_names_the_parameter(self, api, query, field, said):
        error = refused(await api.get(f"{TASKS}?{query}"), 400)
        assert error["field"] == field
        assert said in error["detail"]
        assert not [word for word in ENGINE_WORDS if word in error["detail"]]

    async def test_what_is_not_utf8_is_refused(self, api):
        refused(await api.get(f"{TASKS}?agentId=%ff"), 400)

    async def test_no_one_takes_a_thousand(self, api):
        refused(await api.get(f"{TASKS}?{'&'.join(['status=QUEUED'] * 1000)}"), 400)

    async def test_where_none_is_taken_one_is_a_mistake(self, api):
        error = refused(await api.post(f"{TASKS}?limit=1", json=ECHO), 400)
        assert error["detail"] == "There is no parameter 'limit'; none is taken here."


@pytest.fixture(scope="module")
def hasty(database_url, tmp_path_factory):
    """A server whose requests have one second."""
    log = tmp_path_factory.mktemp("hasty") / "log"
    running = Server(database_url, log, CRM_REQUEST_TIMEOUT_SECONDS="1", CRM_POOL_SIZE="3").start()
    yield running
    running.stop()


@pytest.fixture
def locked(database_url, db):  # noqa: ARG001
    """While this holds, whoever reads AI tasks waits."""
    with locks.locked(database_url, "ai_tasks") as connection:
        yield connection


# What waits for the lock, but for this test, and for those who look for lost tasks.
RUNNING = """
    SELECT count(*) AS running FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'active' AND wait_event_type = 'Lock'
      AND query NOT LIKE '%lease_expires_at%'
"""


async def until(db, running, within=5):
    started = time.monotonic()
    while db.execute(RUNNING).fetchone()["running"] != running:
        assert time.monotonic() - started < within, "it took too long"
        await asyncio.sleep(0.02)


class TestDeadline:
    async def test_a_statement_that_takes_too_long_is_cancelled(self, api, hasty, locked, db):  # noqa: ARG002
        started = time.monotonic()
        refused(await api.get(f"{hasty.url}{TASKS}"), 504, "TIMEOUT")
        assert 0.9 < time.monotonic() - started < 4
        await until(db, 0)

    async def test_half_a_body_does_not_wait_for_ever(self, hasty):
        head = f"POST {TASKS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {hasty.token()}\r\n"
        with socket.create_connection(("127.0.0.1", hasty.port), timeout=10) as half:
            half.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
            answer = await asyncio.to_thread(half.recv, 65536)
        assert answer.startswith(b"HTTP/1.1 504 ")

    async def test_a_client_that_goes_away_takes_its_statement_along(self, server, locked, db):  # noqa: ARG002
        gone = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        gone.sendall(f"GET {TASKS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token()}\r\n\r\n".encode())
        await until(db, 1)
        gone.close()
        await until(db, 0, within=2)


@pytest.fixture(scope="module")
def open_to_pages(database_url, tmp_path_factory):
    """A server that pages of one other origin may use."""
    running = Server(database_url, tmp_path_factory.mktemp("cors") / "log", CRM_CORS_ORIGINS=PAGE).start()
    yield running
    running.stop()


class TestOtherOrigins:
    @pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
    async def test_a_page_on_the_list_may_ask(self, open_to_pages, api, method):
        headers = {
            "Origin": PAGE,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        asked = await api.options(f"{open_to_pages.url}{TASKS}", headers=headers)
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == PAGE
        assert method in asked.headers["access-control-allow-methods"]

    async def test_it_may_read_where_the_new_task_is(self, open_to_pages, api):
        response = await api.post(f"{open_to_pages.url}{TASKS}", json=ECHO, headers={"Origin": PAGE})
        assert response.status_code == 201
        assert "location" in response.headers["access-control-expose-headers"]

    async def test_another_page_may_not(self, server, open_to_pages, api, db):
        for one in (server, open_to_pages):
            for method in ("GET", "POST", "OPTIONS"):
                response = await api.request(method, f"{one.url}{TASKS}", headers={"Origin": "https://evil.example"})
                refused(response, 403, "FORBIDDEN")
        assert db.execute("SELECT count(*) AS count FROM ai_tasks").fetchone()["count"] == 0

    async def test_its_own_may(self, server, api):
        assert (await api.get(TASKS, headers={"Origin": server.url})).status_code == 200


@pytest.fixture
def local(database_url, db, tmp_path):  # noqa: ARG001  (the local admin must outlive the emptying)
    """`crm dev`, on the tests' database."""
    command = ("dev", "--no-demo")
    running = Server(database_url, tmp_path / "log", command=command, CRM_WORKER_INSIDE="false").start()
    yield running
    running.stop()


class TestLocally:
    async def test_no_token_is_needed(self, local):
        async with AsyncClient(base_url=local.url) as nobody:
            created = await nobody.post(TASKS, json=ECHO)
            assert created.status_code == 201
            assert (await nobody.put(created.headers["location"] + "/cancel")).json()["status"] == "CANCELLED"

    async def test_but_for_the_change_by_get(self, local):
        async with AsyncClient(base_url=local.url) as nobody:
            place = (await nobody.post(TASKS, json=ECHO)).headers["location"]
            await nobody.put(place + "/cancel")
            error = refused(await nobody.get(place + "/retry"), 401, "UNAUTHENTICATED")
            assert "always" in error["detail"]
            assert (await nobody.get(place)).json()["status"] == "CANCELLED"

    async def test_a_name_that_leads_elsewhere_does_not_lead_here(self, local):
        async with AsyncClient(base_url=local.url) as nobody:
            refused(await nobody.get(TASKS, headers={"Host": "evil.example"}), 403, "FORBIDDEN")
            refused(await nobody.get(TASKS, headers={"Sec-Fetch-Site": "cross-site"}), 403, "FORBIDDEN")
