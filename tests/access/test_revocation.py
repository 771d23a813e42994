"""Tokens that were revoked: refused by every process within seconds, whatever they are used for."""

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support import children
from tests.support.http_client import AsyncClient
from tests.support.servers import SECRET, Server
from tests.support.websockets import GRAPHQL_WS

pytestmark = pytest.mark.waits(25)

ME = {"query": "{ me { id } }"}
FOLLOW = "subscription { changes { id } }"
# A token is looked at again every 5 seconds, and a socket's user as often.
SECONDS = 12


@pytest.fixture
def revoke(database_url, db):  # noqa: ARG001
    def run(text, *, given=None, code=0):
        environment = {**_environment(), "DATABASE_URL": database_url, "CRM_SECRET_KEY": SECRET}
        done = children.run_module("crm", ["token", "--revoke", text], environment, given=given)
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        return done.stderr

    return run


def _environment():
    return {name: value for name, value in os.environ.items() if not name.startswith(("CRM_", "DATABASE_"))}


@pytest.fixture
def other(database_url, tmp_path):
    """Another process on the same database."""
    server = Server(database_url, tmp_path / "log").start()
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


class TestRevoke:
    @pytest.mark.parametrize("by", ["token", "id", "stdin"])
    async def test_refuses_that_token_alone(self, server, revoke, by):
        gone, kept = server.token("member"), server.token("member")
        assert [(await asked(server, token)).status_code for token in (gone, kept)] == [200, 200]
        text = {"token": gone, "id": claims(gone)["jti"], "stdin": "-"}[by]
        assert claims(gone)["jti"] in revoke(text, given=f"{gone}\n" if by == "stdin" else None)
        assert "revoked" in await refused(server, gone)
        assert (await asked(server, kept)).status_code == 200

    async def test_is_heard_by_every_process(self, server, other, revoke):
        token = server.token("member")
        for process in (server, other):
            assert (await asked(process, token)).status_code == 200
        revoke(token)
        for process in (server, other):
            assert "revoked" in await refused(process, token)

    async def test_closes_what_follows(self, server, revoke):
        token = server.token("member")
        async with connect(server.url.replace("http", "ws") + "/graphql", subprotocols=[GRAPHQL_WS]) as raw:
            await raw.send(json.dumps({"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}}))
            assert json.loads(await raw.recv())["type"] == "connection_ack"
            await raw.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": FOLLOW}}))
            revoke(token)
            with pytest.raises(ConnectionClosed) as closed:
                async with asyncio.timeout(SECONDS):
                    await raw.recv()
        assert closed.value.rcvd.code == 4401

    async def test_takes_tokens_that_were_made_before_they_had_ids(self, server, revoke):
        given = {name: value for name, value in claims(server.token("member")).items() if name != "jti"}
        old = jwt.encode(given, SECRET, algorithm="HS256")
        assert (await asked(server, old)).status_code == 200
        revoke(old)
        assert "revoked" in await refused(server, old)
        assert (await asked(server, f"{old}=")).status_code == 401  # the same, spelled otherwise

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
