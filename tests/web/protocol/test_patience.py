"""Clients that send too slowly, or do not read: the server closes when the time for it has come."""

import asyncio
import json
import time

import pytest

from crm.web.protocol import ClientLimits
from tests.web.protocol.echo import Echo, answer

pytestmark = pytest.mark.waits(12)

HEAD = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\n"
QUICK = ClientLimits(head_seconds=0.3, body_seconds=0.6, stalled_seconds=0.5, drain_seconds=0)
A_LOT = 32 * 1024 * 1024


async def ended(reader, within=20):
    """What the server said until it closed, and how long that took."""
    start = time.monotonic()
    async with asyncio.timeout(within):
        try:
            return await reader.read(), time.monotonic() - start
        except ConnectionError:
            return b"", time.monotonic() - start


def code_of(answer):
    return json.loads(answer.partition(b"\r\n\r\n")[2])["errors"][0]["extensions"]["code"]


@pytest.fixture
async def quick(echo, serve):
    async with serve(echo, QUICK) as running:
        yield running


class TestHeads:
    async def test_that_never_begin_are_closed_without_a_word(self, quick):
        reader, writer = await asyncio.open_connection(*quick.address)
        said, seconds = await ended(reader)
        assert said == b""
        assert seconds > 0.25
        writer.close()

    async def test_that_never_end_are_408(self, quick, echo):
        reader, writer = await asyncio.open_connection(*quick.address)
        writer.write(HEAD[:-2])
        said, _ = await ended(reader)
        assert said.startswith(b"HTTP/1.1 408 ")
        assert code_of(said) == "TIMEOUT"
        assert echo.paths == []
        writer.close()

    @pytest.mark.parametrize("drip", [b"x", b"\r\n"])
    async def test_that_come_drop_by_drop_end_all_the_same(self, quick, drip):
        reader, writer = await asyncio.open_connection(*quick.address)
        ending = asyncio.create_task(ended(reader))
        while not ending.done():
            writer.write(drip)
            await asyncio.sleep(0.05)
        assert ending.result()[1] < 5
        writer.close()


class TestBodies:
    async def test_that_never_end_are_408_and_the_application_is_told(self, quick, echo):
        reader, writer = await asyncio.open_connection(*quick.address)
        writer.write(HEAD + b"half")
        said, seconds = await ended(reader)
        assert said.startswith(b"HTTP/1.1 408 ")
        assert code_of(said) == "TIMEOUT"
        assert seconds > 0.5
        assert echo.paths == ["/", "gone"]
        writer.close()

    @pytest.mark.parametrize("end", [b"", b"nonsense"])
    async def test_that_nobody_wants_do_not_keep_the_connection(self, serve, end):
        async def hasty(_scope, _receive, send):
            await answer(send, b"no")

        async with serve(hasty, QUICK) as server:
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n")
            await asyncio.sleep(0.1)
            writer.write(end)
            said, _ = await ended(reader)
            assert said.startswith(b"HTTP/1.1 200 ")
            assert said.count(b"HTTP/1.1 ") == 1
            writer.close()

    async def test_that_nobody_wants_are_read_while_they_come(self, serve):
        """A client may read only when it has sent everything."""

        async def hasty(_scope, _receive, send):
            await answer(send, b"no")

        async with serve(hasty, ClientLimits(drain_seconds=0)) as server:
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 20000000\r\n\r\n")
            for _ in range(20):
                writer.write(bytes(1_000_000))
                await writer.drain()
            writer.write(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            said, _ = await ended(reader)
            assert said.count(b"HTTP/1.1 200 ") == 2
            writer.close()

    async def test_behind_an_answer_that_takes_long_have_their_own_time(self, quick, echo):
        """While one request is worked on, the next one's body is not read: that is not its client's fault."""
        reader, writer = await asyncio.open_connection(*quick.address)
        writer.write(b"GET /waits HTTP/1.1\r\nHost: here\r\n\r\n" + HEAD + b"half")
        await asyncio.sleep(1)
        echo.go_on.set()
        writer.write(b"-other")
        await reader.readuntil(b"}")
        assert b'"half-other"' in await reader.readuntil(b"}")
        writer.close()


class TestReaders:
    async def test_that_stand_still_are_dropped(self, serve):
        gone = asyncio.Event()

        async def generous(_scope, _receive, send):
            await answer(send, bytes(A_LOT))
            gone.set()

        async with serve(generous, QUICK) as server:
            reader, writer = await asyncio.open_connection(*server.address, limit=1024)
            writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            await asyncio.wait_for(gone.wait(), 20)
            await _until(lambda: not server.server_state.connections)
            assert len((await ended(reader))[0]) < A_LOT
            writer.close()

    async def test_that_are_slow_get_everything(self, serve):
        async def generous(_scope, _receive, send):
            await answer(send, bytes(A_LOT))

        async with serve(generous, ClientLimits(stalled_seconds=3, drain_seconds=0)) as server:
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            found = 0
            for _ in range(16):
                found += len(await reader.readexactly(A_LOT // 16))
                await asyncio.sleep(0.15)
            assert found == A_LOT
            writer.close()


class TestIdleConnections:
    async def test_are_closed_after_five_seconds(self, serve):
        async with serve(Echo(), ClientLimits(drain_seconds=0)) as server:
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            await reader.readuntil(b"}")
            said, seconds = await ended(reader, 20)
            assert said == b""
            assert seconds > 4
            writer.close()


class TestTooManyConnections:
    async def test_are_503_and_the_others_work_on(self, serve):
        async with serve(Echo(), ClientLimits(connections=20, drain_seconds=0)) as server:
            opened = [await asyncio.open_connection(*server.address) for _ in range(20)]
            reader, writer = await asyncio.open_connection(*server.address)
            said, _ = await ended(reader)
            assert said.startswith(b"HTTP/1.1 503 ")
            assert code_of(said) == "UNAVAILABLE"
            writer.close()
            for reader, writer in opened:
                writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
                assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            for _, writer in opened:
                writer.close()
            await _until(lambda: len(server.server_state.connections) < 20)
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            writer.close()


async def test_whoever_leaves_in_the_middle_of_a_line_of_requests_is_noticed(serve):
    """The application that works on the first of them is told, not only the newest."""
    gone = asyncio.Event()

    async def listening(_scope, receive, _send):
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    async with serve(listening, ClientLimits(drain_seconds=0)) as server:
        _, writer = await asyncio.open_connection(*server.address)
        writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n" * 2)
        await asyncio.sleep(0.1)
        writer.close()
        await asyncio.wait_for(gone.wait(), 20)


async def _until(holds, within=20):
    async with asyncio.timeout(within):
        while not holds():
            await asyncio.sleep(0.02)
