"""Clients that shut their sending side after a request, as `nc -N` and some health checkers do."""

import asyncio
import time

from crm.web.protocol import ClientLimits


async def asked(server, data):
    """What the server answers until it closes; the client sends nothing more, and says so."""
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(data)
    writer.write_eof()
    async with asyncio.timeout(20):
        found = await reader.read()
    writer.close()
    return found


async def test_get_their_answer(server):
    for path in (b"/", b"/fast", b"/slow"):
        found = await asked(server, b"POST %s HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\nwhole" % path)
        assert found.startswith(b"HTTP/1.1 200 ")
        assert b'"body": "whole"' in found


async def test_get_all_their_answers(server, echo):
    one = b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\n"
    found = await asked(server, one * 3)
    assert found.count(b"HTTP/1.1 200 ") == 3
    assert found.count(b"connection: close") == 1
    assert len(echo.paths) == 3


async def test_get_a_large_answer(serve):
    async def generous(_scope, _receive, send):
        size = 24 * 1024 * 1024
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        await send({"type": "http.response.body", "body": bytes(size)})

    async with serve(generous, ClientLimits(drain_seconds=0)) as server:
        found = await asked(server, b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert len(found) > 24 * 1024 * 1024


async def test_get_no_answer_to_half_a_request(server, echo):
    assert await asked(server, b"GET / HTTP/1.1\r\nHost: he") == b""
    assert await asked(server, b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\nhal") == b""
    found = await asked(server, b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\nGET / HTTP/1.1\r\nHost: he")
    assert found.count(b"HTTP/1.1 200 ") == 1
    assert "/slow" in echo.paths


async def test_who_close_altogether_are_noticed(serve):
    """That looks the same to the server: work for them ends a moment later."""
    gone = asyncio.Event()

    async def listening(_scope, receive, _send):
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    async with serve(listening, ClientLimits(drain_seconds=0)) as server:
        _, writer = await asyncio.open_connection(*server.address)
        writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        await asyncio.sleep(0.1)
        start = time.monotonic()
        writer.close()
        await asyncio.wait_for(gone.wait(), 20)
        assert time.monotonic() - start > 0.5
