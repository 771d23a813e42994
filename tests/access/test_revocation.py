"""Tokens that were revoked: refused by every process within seconds, whatever they are used for."""

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from websockets.exceptions import ConnectionClosed

from tests.support import children
from tests.support.http_client import AsyncClient
from tests.support.model_server import CALL, Thinking
from tests.support.servers import SECRET, Server
from tests.support.websockets import signed_in

pytestmark = pytest.mark.waits(20)

ME = {"query": "{ me { id } }"}
FOLLOW = "subscription { changes { id } }"
THEN = """mutation($lead: Int!) {
  generateTaskRecommendations(leadId: $lead) { id }
  createLead(input: {firstName: "Next", lastName: "Field"}) { id }
}"""
# A token is looked at again every 5 seconds, and a socket's user as often.
SECONDS = 12
WAYS = ("token", "id", "stdin")


@pytest.fixture(scope="module")
def revoke(database_url):
    def run(text, *, given=None, code=0):
        environment = {**_environment(), "DATABASE_URL": database_url, "CRM_SECRET_KEY": SECRET}
        done = children.run_module("crm", ["token", "--revoke", text], environment, given=given)
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        return done.stderr

    return run


def _environment():
    return {name: value for name, value in os.environ.items() if not name.startswith(("CRM_", "DATABASE_"))}


@pytest.fixture(scope="module")
def other(database_url, tmp_path_factory):
    """Another process on the same database."""
    server = Server(database_url, tmp_path_factory.mktemp("other") / "log").start()
    yield server
    server.stop()


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


async def asked(server, token):
    async with AsyncClient(base_url=server.url, headers={"Authorization": f"Bearer {token}"}) as client:
        return await client.post("/graphql", json=ME)


async def refused(server, token):
    """The error's message, once there is one."""
    async with asyncio.timeout(SECONDS):
        while (answer := await asked(server, token)).status_code != 401:
            await asyncio.sleep(0.2)
    (error,) = answer.json()["errors"]
    assert error["extensions"]["code"] == "UNAUTHENTICATED"
    return error["message"]


async def closed_with(server, token, used):
    """The code with which a socket is closed that follows with a token which is revoked, once it is in use."""
    async with await signed_in(server.url, token) as raw:
        await raw.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": FOLLOW}}))
        await used()
        with pytest.raises(ConnectionClosed) as closed:
            async with asyncio.timeout(SECONDS):
                await raw.recv()
    return closed.value.rcvd.code


class InUse:
    """Tokens that both processes have just let in, each to be revoked in its way."""

    def __init__(self, server, other, revoke):
        self.tokens = {name: server.token("member") for name in (*WAYS, "socket", "kept")}
        given = {name: value for name, value in claims(server.token("member")).items() if name != "jti"}
        self.tokens["old"] = jwt.encode(given, SECRET, algorithm="HS256")
        self._server, self._processes = server, (server, other)
        self._revoke = revoke

    async def revoked(self):
        """What became of each: all at once, for whoever has seen a token looks at it again only after seconds."""
        assert await self.lets_in("kept")
        ends = {"socket": self._closed(), **{way: self._refused(way) for way in (*WAYS, "old")}}
        found = await asyncio.gather(*ends.values(), return_exceptions=True)
        respelled = await asked(self._server, f"{self.tokens['old']}=")
        return {**dict(zip(ends, found, strict=True)), "old, spelled otherwise": respelled.status_code}

    async def lets_in(self, name):
        """Whether both processes let this token in."""
        return [(await asked(process, self.tokens[name])).status_code for process in self._processes] == [200, 200]

    async def _refused(self, way):
        assert await self.lets_in(way)
        said = await self._run(way)
        return said, await asyncio.gather(*(refused(process, self.tokens[way]) for process in self._processes))

    async def _closed(self):
        return await closed_with(self._server, self.tokens["socket"], lambda: self._run("socket"))

    async def _run(self, way):
        token = self.tokens[way]
        if way == "stdin":
            return await asyncio.to_thread(self._revoke, "-", given=f"{token}\n")
        return await asyncio.to_thread(self._revoke, claims(token)["jti"] if way == "id" else token)


@pytest.fixture(scope="module")
def in_use(server, other, revoke):
    return InUse(server, other, revoke)


@pytest.fixture(scope="module")
def found(in_use):
    return asyncio.run(in_use.revoked())


@pytest.fixture
def became(found):
    """What became of a token that was revoked in this way; an error that came instead is the test's."""

    def of(way):
        if isinstance(found[way], BaseException):
            raise found[way]
        return found[way]

    return of


class TestRevoke:
    @pytest.mark.parametrize("by", WAYS)
    async def test_refuses_that_token_alone(self, in_use, became, by):
        said, (message, _) = became(by)
        assert claims(in_use.tokens[by])["jti"] in said
        assert "revoked" in message
        assert await in_use.lets_in("kept")

    def test_is_heard_by_every_process(self, became):
        for by in WAYS:
            _, messages = became(by)
            assert ["revoked" in message for message in messages] == [True, True]

    def test_closes_what_follows(self, became):
        assert became("socket") == 4401

    def test_takes_tokens_that_were_made_before_they_had_ids(self, became):
        _, messages = became("old")
        assert all("revoked" in message for message in messages)
        assert became("old, spelled otherwise") == 401

    def test_forgets_what_has_expired(self, server, db, revoke):
        db.execute("DELETE FROM revoked_tokens")
        db.execute("INSERT INTO revoked_tokens (id, expires_at) VALUES (gen_random_uuid(), now() - interval '1 day')")
        token = server.token("member")
        revoke(token)
        revoke(token)
        (row,) = db.execute("SELECT id::text, expires_at FROM revoked_tokens").fetchall()
        assert row["id"] == claims(token)["jti"]
        assert row["expires_at"] == datetime.fromtimestamp(claims(token)["exp"], UTC)

    @pytest.mark.parametrize("text", ["nonsense", "", "a.b.c"])
    def test_refuses_what_is_no_token(self, revoke, text):
        assert "--revoke" in revoke(text, code=2)

    def test_refuses_anothers_token(self, server, revoke):
        forged = jwt.encode(claims(server.token("admin")), "another secret, also of 32 characters", algorithm="HS256")
        assert "--revoke" in revoke(forged, code=2)


class TestTokens:
    def test_have_ids_of_their_own(self, server):
        assert claims(server.token())["jti"] != claims(server.token())["jti"]

    @pytest.mark.parametrize("jti", ["x", "", "7"])
    async def test_with_an_id_that_is_none_are_refused(self, server, jti):
        given = {**claims(server.token()), "jti": jti, "exp": datetime.now(UTC) + timedelta(hours=1)}
        assert (await asked(server, jwt.encode(given, SECRET, algorithm="HS256"))).status_code == 401


class TestWhileAModelThinks:
    async def test_nothing_is_saved_for_a_token_that_is_revoked_meanwhile(
        self, database_url, model_server, revoke, make_lead, db, tmp_path
    ):
        thinking = Thinking([CALL])
        model_server.will(thinking)
        lead = make_lead()["id"]
        model = {"OPENAI_API_KEY": "test-key", "OPENAI_BASE_URL": model_server.url, "CRM_AI_MODEL": "test-model"}
        server = Server(database_url, tmp_path / "log", **model).start()
        try:
            token = server.token("member")
            headers = {"Authorization": f"Bearer {token}"}
            async with AsyncClient(base_url=server.url, headers=headers, timeout=30) as client:
                body = {"query": THEN, "variables": {"lead": lead}}
                asking = asyncio.create_task(client.post("/graphql", json=body))
                await asyncio.to_thread(thinking.asked.wait, 20)
                await asyncio.to_thread(revoke, token)
                await refused(server, token)
                thinking.go_on.set()
                errors = (await asking).json()["errors"]
        finally:
            server.stop()
        assert errors[0]["extensions"]["code"] == "UNAUTHENTICATED"
        assert not db.execute("SELECT FROM tasks").fetchall()
        assert not db.execute("SELECT FROM leads WHERE first_name = 'Next'").fetchall()


LATE = {
    "read": ("/graphql", ME),
    "write": ("/graphql", {"query": 'mutation { createLead(input: {firstName: "Late", lastName: "R"}) { id } }'}),
    "large": ("/graphql", {**ME, "variables": {"padding": "a" * 20_000}}),
    "REST": ("/api/ai/tasks", {"taskType": "echo"}),
}


async def test_a_request_whose_body_ends_after_the_revocation_is_refused(server, revoke, db):
    token, rest = server.token("member"), {}
    for name, (path, body) in LATE.items():
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(data)}\r\n"
        writer.write(head.encode() + b"Content-Type: application/json\r\n\r\n" + data[:-3])
        rest[name] = (reader, writer, data[-3:])
    await asyncio.to_thread(revoke, token)
    await refused(server, token)
    for name, (reader, writer, end) in rest.items():
        writer.write(end)
        assert (await reader.readline()).split()[1] == b"401", name
        writer.close()
    assert not db.execute("SELECT FROM leads").fetchall() + db.execute("SELECT FROM ai_tasks").fetchall()
