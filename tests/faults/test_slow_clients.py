"""Clients that send half a request, or nothing: they cost a socket, and nobody else anything."""

import asyncio
import json
import time

import pytest

from tests.support.http_client import AsyncClient

pytestmark = pytest.mark.waits(8)

HALF_A_HEADER = b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: appl"


def _half_a_body(server):
    head = (
        "POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {server.token()}\r\nContent-Length: 200\r\n\r\n"
    )
    return head.encode() + b'{"query": "{ le'


async def _open(server, data=b""):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(data)
    await writer.drain()
    return reader, writer


async def _closed_after(reader, at_most):
    """Seconds until the server closed, and what it said; None if it did not."""
    start = time.monotonic()
    try:
        said = await asyncio.wait_for(reader.read(), at_most)
    except TimeoutError:
        return None, b""
    return time.monotonic() - start, said


@pytest.mark.timeout(120)
class TestSlowClients:
    async def test_what_becomes_of_them(self, start_server, report):
        server = start_server(CRM_REQUEST_TIMEOUT_SECONDS="2", CRM_HEAD_TIMEOUT_SECONDS="3")
        sent = {"nothing": b"", "half a header": HALF_A_HEADER, "half a body": _half_a_body(server)}
        opened = {name: await _open(server, data) for name, data in sent.items()}
        ends = await asyncio.gather(*(_closed_after(reader, 15) for reader, _ in opened.values()))
        for _, writer in opened.values():
            writer.close()
        found = dict(zip(opened, ends, strict=True))
        report("slow clients", **{name: seconds or "still open after 15 s" for name, (seconds, _) in found.items()})
        seconds, said = found["half a body"]
        assert seconds is not None
        assert seconds < 12
        assert said.startswith(b"HTTP/1.1 408")
        assert json.loads(said.partition(b"\r\n\r\n")[2])["errors"][0]["extensions"]["code"] == "TIMEOUT"

    async def test_many_of_them_hold_nobody_up(self, start_server, report):
        server = start_server()
        sockets = []
        try:
            for data in (b"", HALF_A_HEADER, _half_a_body(server)):
                sockets += [await _open(server, data) for _ in range(100)]
            headers = {"Authorization": f"Bearer {server.token()}"}
            async with AsyncClient(base_url=server.url, headers=headers, timeout=10) as client:
                times = []
                for _ in range(20):
                    start = time.monotonic()
                    answer = await client.post("/graphql", json={"query": "{ leads { id } }"})
                    times.append(time.monotonic() - start)
                    assert answer.json() == {"data": {"leads": []}}
        finally:
            for _, writer in sockets:
                writer.close()
        report("300 slow clients", slowest_other_s=max(times))
        assert max(times) < 2

    async def test_do_not_keep_the_server_from_stopping(self, start_server, report):
        """The longest that one can hold it up is a request's deadline, and never more than 30 s."""
        server = start_server(CRM_REQUEST_TIMEOUT_SECONDS="2")
        sockets = [await _open(server, data) for data in (b"", HALF_A_HEADER, _half_a_body(server))]
        await asyncio.sleep(0.2)
        start = time.monotonic()
        code = await asyncio.to_thread(server.stop)
        report("SIGTERM with slow clients", seconds=time.monotonic() - start, code=code)
        for _, writer in sockets:
            writer.close()
        assert code == 0
        assert time.monotonic() - start < 8
