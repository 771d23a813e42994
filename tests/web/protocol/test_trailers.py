"""What comes after a chunked body was never part of the head."""

import asyncio
import json

from tests.web.protocol.hostile import CHUNKED, request

TRAILERS = b"Authorization: Bearer stolen\r\nHost: elsewhere\r\n"


async def headers_of(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return [tuple(pair) for pair in json.loads(await reader.readexactly(length))["headers"]]


async def test_trailers_are_no_headers(server):
    """Neither this request's, nor the next one's on the connection; nor when they come while it is worked on."""
    reader, writer = await asyncio.open_connection(*server.address)
    for whole in (True, False):
        writer.write(request(CHUNKED, body=b"1\r\nx\r\n"))
        if not whole:
            await asyncio.sleep(0.1)
        writer.write(b"0\r\n" + TRAILERS + b"\r\n")
        assert await headers_of(reader) == [("host", "here"), ("transfer-encoding", "chunked")]
        writer.write(request(line=b"GET / HTTP/1.1"))
        assert await headers_of(reader) == [("host", "here")]
    writer.close()
