"""Clients that go away in the middle of an answer."""

import contextlib
import json
import logging
import socket
import struct
import time

import pytest

from crm.core.logs import FewAlike

NONSENSE = (
    b"nonsense\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70_000,
    b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
    (
        b"GET /graphql HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        b"Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
    ),
)
NO_UTF8 = b"\x81\x81\x00\x00\x00\x00\xff"
QUERY = "{ leads(limit: 400) { id fullName company tasks { title } } }"


@pytest.fixture
def many_leads(db):
    db.execute(
        "INSERT INTO leads (first_name, last_name, company) SELECT 'A', repeat('b', 500), 'c'"
        " FROM generate_series(1, 400)"
    )


class TestClientsThatSendNonsense:
    def test_cannot_fill_the_log(self, start_server):
        """Each is a line of JSON like any other, and a second has few of them."""
        server = start_server(CRM_LOG_FORMAT="json")
        begun = time.monotonic()
        for number in range(200):
            client = socket.create_connection(("127.0.0.1", server.port))
            client.sendall(NONSENSE[number % len(NONSENSE)])
            assert client.recv(1000).startswith(b"HTTP/1.1 ")
            with contextlib.suppress(OSError):
                client.sendall(NO_UTF8)  # where a WebSocket was opened
                client.recv(1000)
            client.close()
        seconds = time.monotonic() - begun
        lines = [json.loads(line) for line in server.log().splitlines()]
        assert {line["event"] for line in lines} == {"server.started", "connection refused", "websocket refused"}
        assert all(line["level"] in ("info", "warning") and line["timestamp"] for line in lines)
        assert len(lines) <= 1 + 2 * (seconds + 1)

    def test_are_counted(self):
        few = FewAlike()
        record = logging.makeLogRecord({"name": "uvicorn.error", "msg": "no", "lineno": 7})
        assert [few.filter(record) for _ in range(5)] == [True, False, False, False, False]
        other = logging.makeLogRecord({"name": "uvicorn.error", "msg": "no", "lineno": 8})
        assert few.filter(other)
        time.sleep(1.1)
        assert few.filter(record)
        assert vars(record)["left_out"] == 4


class TestClientsThatGoAway:
    async def test_do_not_take_the_server_with_them(self, server, graphql, many_leads):  # noqa: ARG002
        body = json.dumps({"query": QUERY}).encode()
        head = (
            f"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {server.token()}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        for number in range(60):
            client = socket.create_connection(("127.0.0.1", server.port))
            client.sendall((head + body) * (1 + number % 3))
            if number % 2:
                client.recv(1000)
            # Close with a reset: what the server still writes meets nobody.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        assert (await graphql("{ me { name } }"))["me"]["name"] == "Service (admin)"
