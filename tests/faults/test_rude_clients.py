"""Clients that go away in the middle of an answer."""

import json
import socket
import struct

import pytest

QUERY = "{ leads(limit: 400) { id fullName company tasks { title } } }"


@pytest.fixture
def many_leads(db):
    db.execute(
        "INSERT INTO leads (first_name, last_name, company) SELECT 'A', repeat('b', 500), 'c'"
        " FROM generate_series(1, 400)"
    )


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
