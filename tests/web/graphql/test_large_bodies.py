"""A body that is too large: whoever sends all of it before reading gets the answer all the same."""

import asyncio
import socket
import time
import urllib.error
import urllib.request

import pytest

PLACES = ["/graphql", "/api/ai/tasks"]
MIB = 1024 * 1024


def sent(server, path, body):
    """What Python's own client gets: it says `Connection: close`, and reads when it has written everything."""
    request = urllib.request.Request(server.url + path, body, method="POST")
    request.add_header("Authorization", f"Bearer {server.token()}")
    request.add_header("Content-Type", "application/json")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)
    return refused.value.code, refused.value.read()


def begun(server, path, *headers):
    """A socket on which the head of a request went out, and nothing more."""
    found = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    head = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {server.token()}", "Connection: close"]
    found.sendall("\r\n".join([*head, "Content-Type: application/json", *headers, "", ""]).encode())
    return found


@pytest.mark.parametrize("path", PLACES)
class TestTooLarge:
    @pytest.mark.parametrize("size", [3 * MIB, 8 * MIB])
    async def test_a_client_that_sends_first_is_answered(self, server, path, size):
        status, body = await asyncio.to_thread(sent, server, path, b" " * size)
        assert status == 413
        assert b"TOO_LARGE" in body

    async def test_so_is_one_that_does_not_say_how_much_comes(self, server, path):
        status, body = await asyncio.to_thread(sent, server, path, (b" " * 65536 for _ in range(100)))
        assert status == 413
        assert b"TOO_LARGE" in body

    async def test_one_that_asks_first_is_told_at_once(self, server, path):
        started = time.monotonic()
        with begun(server, path, f"Content-Length: {3 * MIB}", "Expect: 100-continue") as asking:
            answer = await asyncio.to_thread(asking.recv, 65536)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert time.monotonic() - started < 1

    async def test_one_that_sends_nothing_is_not_waited_for(self, server, path):
        started = time.monotonic()
        with begun(server, path, f"Content-Length: {3 * MIB}") as silent:
            answer = await asyncio.to_thread(silent.recv, 65536)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert 1 < time.monotonic() - started < 5

    async def test_what_never_ends_is_not_read_for_ever(self, server, path):
        with begun(server, path, f"Content-Length: {10**9}") as endless:
            endless.setblocking(False)
            loop, gone = asyncio.get_running_loop(), 0
            try:
                while gone < 100 * MIB:
                    gone += len(piece := b" " * 65536)
                    await asyncio.wait_for(loop.sock_sendall(endless, piece), 8)
            except (OSError, TimeoutError):
                pass
        assert gone < 30 * MIB
