"""What is refused before the application is asked: JSON with a code, the headers that say what to do, no quotation."""

import asyncio
import json

import pytest

from tests.web.protocol.hostile import GET, SOCKET, length, request

GZIP = request(b"Content-Encoding: gzip\r\n", length(3), body=b"abc")


async def said(server, data):
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(data)
    async with asyncio.timeout(10):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status, *headers = head.decode().split("\r\n")
    return int(status.split()[1]), dict(line.split(": ", 1) for line in headers), json.loads(body)["errors"][0]


@pytest.mark.parametrize(
    ("data", "status", "code", "headers"),
    [
        (GZIP, 415, "UNSUPPORTED_MEDIA_TYPE", {"accept-encoding": "identity"}),
        (request(SOCKET), 405, "METHOD_NOT_ALLOWED", {"allow": "GET"}),
        (request(SOCKET.replace(b"13", b"8"), line=GET), 426, "BAD_USER_INPUT", {"sec-websocket-version": "13"}),
        (request(SOCKET.replace(b"AA==", b"secret"), line=GET), 400, "BAD_USER_INPUT", {}),
        (request(SOCKET.replace(b"Upgrade: ", b"Upgrade: h2c, "), line=GET), 400, "BAD_USER_INPUT", {}),
        (request(SOCKET, b"Sec-WebSocket-Protocol: secret, \t,=\r\n", line=GET), 400, "BAD_USER_INPUT", {}),
    ],
)
async def test_says_what_to_do(server, echo, data, status, code, headers):
    found, shown, error = await said(server, data)
    assert (found, error["extensions"]["code"]) == (status, code)
    assert shown["content-type"] == "application/json"
    assert shown.items() >= headers.items()
    assert "secret" not in error["message"]
    assert echo.paths == []
