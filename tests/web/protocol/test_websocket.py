"""WebSockets whose client floods, stands still or sends nonsense: they cost little, and nobody else anything."""

import asyncio
import os
import sys
import time

import pytest
from websockets.asyncio.client import connect

from crm.web.protocol import ClientLimits
from tests.support.waiting import eventually
from tests.web.protocol.echo import Echo
from tests.web.protocol.rude_socket import OPENING, PING, TEXT, close_code, frame, opened

pytestmark = pytest.mark.waits(12)


@pytest.fixture
async def plain(serve, echo):
    async with serve(echo, ClientLimits(drain_seconds=0)) as running:
        yield running


def uri(server):
    return "ws://{}:{}/".format(*server.address)


class TestOpenings:
    @pytest.mark.parametrize("size", [1, 5, 17, 33, 62])
    async def test_with_a_large_head_are_answered(self, plain, size):
        lines = b"".join(b"x-a: %s\r\n" % (b"b" * 1000) for _ in range(size))
        for _ in range(5):
            reader, writer = await asyncio.open_connection(*plain.address)
            writer.write(OPENING.replace(b"\r\n\r\n", b"\r\n" + lines + b"\r\n"))
            async with asyncio.timeout(10):
                assert (await reader.readline()).startswith((b"HTTP/1.1 101 ", b"HTTP/1.1 4"))
            writer.close()
        await _until(lambda: not plain.server_state.connections)


class TestFloods:
    async def test_of_pings_end_with_1008(self, plain, echo):
        reader, writer, _ = await opened(plain)
        writer.write(frame(PING, b"a") * 5000)
        assert await close_code(reader) in (1008, None)
        await _until(lambda: echo.paths)
        assert not plain.server_state.connections
        writer.close()

    async def test_of_pings_whose_answers_nobody_reads_are_not_remembered(self, plain, monkeypatch):
        """They may come as slowly as is allowed, so here any number of them is."""
        monkeypatch.setattr("crm.web.protocol.websocket._MOST_PINGS_A_TICK", 10**9)
        _, writer, _ = await opened(plain)
        writer.transport.pause_reading()
        (socket,) = plain.server_state.connections
        most = 0
        for _ in range(400):
            writer.write(frame(PING, b"a" * 125) * 200)
            await writer.drain()
            most = max(most, socket.transport.get_write_buffer_size())
        assert 0 < most < 200_000  # of 10 MB
        writer.transport.abort()

    async def test_of_messages_give_others_their_turn(self, plain, echo):
        """A read of 256 KB is 37,000 of the smallest messages: nothing else would run for most of a second."""
        reader, writer, _ = await opened(plain)
        writer.write(frame(TEXT, b"a") * 30_000)
        turns = 0
        while len(await reader.readexactly(3)) and turns < 100:
            await asyncio.sleep(0)
            turns += 1
        (socket,) = plain.server_state.connections
        assert socket.queue.qsize() < 2000
        writer.transport.abort()
        await _until(lambda: echo.paths)

    async def test_of_empty_pieces_end_with_1009(self, plain):
        reader, writer, _ = await opened(plain)
        writer.write(frame(TEXT, b"a", last=False) + frame(0, b"", last=False) * 20_000)
        assert await close_code(reader) in (1009, None)
        writer.close()

    async def test_many_pieces_are_fine(self, plain):
        reader, writer, _ = await opened(plain)
        writer.write(frame(TEXT, b"a", last=False) + frame(0, b"b", last=False) * 500 + frame(0, b"c"))
        kind, size = await reader.readexactly(2)
        assert (kind, size) == (0x80 | TEXT, 126)
        await reader.readexactly(2)
        assert await reader.readexactly(502) == b"a" + b"b" * 500 + b"c"
        writer.close()


class TestSizes:
    async def test_short_pieces_take_little_more_than_their_bytes(self, plain):
        """Those of a message whose last piece does not come are kept for as long as the client likes."""
        reader, writer, _ = await opened(plain)
        writer.write(frame(TEXT, b"a", last=False) + frame(0, b"b", last=False) * 1000)
        [connection] = plain.server_state.connections
        await eventually(lambda: sum(map(len, connection.frames)) == 1001)
        assert sum(map(sys.getsizeof, connection.frames)) < 2 * 1001
        writer.write(frame(0, b"c"))
        await reader.readuntil(b"a" + b"b" * 1000 + b"c")
        writer.close()

    async def test_a_message_is_refused_before_it_is_gathered(self, plain):
        reader, writer, _ = await opened(plain)
        writer.write(frame(TEXT, b"a", length=1 << 40))
        assert await close_code(reader) == 1009
        writer.close()

    async def test_nothing_is_compressed(self, plain):
        """1 KB would unpack to 1 MB, and 250 of them come in one read."""
        _, writer, head = await opened(plain)
        assert b"extensions" not in head.lower()
        writer.close()

    async def test_a_large_message_arrives_whole(self, plain):
        text = os.urandom(300_000).hex()
        async with connect(uri(plain), max_size=None) as socket:
            for _ in range(3):
                await socket.send(text)
            for _ in range(3):
                assert await socket.recv() == text

    @pytest.mark.parametrize(
        "data",
        [
            frame(3),
            frame(0x40 | TEXT),
            frame(PING, b"a" * 126),
            frame(PING, last=False),
            frame(0, b"a"),
            b"\x81\x01a",
            frame(TEXT, b"\xff"),
        ],
        ids=["kind", "bits", "long ping", "ping in pieces", "piece of nothing", "unmasked", "no UTF-8"],
    )
    async def test_nonsense_is_told_so(self, plain, data):
        reader, writer, _ = await opened(plain)
        writer.write(data)
        assert await close_code(reader) in (1002, 1007)
        writer.close()


class TestSilence:
    async def test_a_client_that_reads_nothing_is_gone_after_two_pings_time(self, serve):
        gone = asyncio.Event()

        async def talkative(_scope, receive, send):
            await receive()
            await send({"type": "websocket.accept"})
            try:
                while True:
                    await send({"type": "websocket.send", "text": "a" * 100_000})
            finally:
                gone.set()

        async with serve(talkative, ClientLimits(ping_seconds=0.5, drain_seconds=0)) as server:
            _, writer, _ = await opened(server)
            writer.transport.pause_reading()
            start = time.monotonic()
            await asyncio.wait_for(gone.wait(), 15)
            assert time.monotonic() - start >= 0.5
            assert not server.server_state.connections
            writer.transport.abort()

    async def test_a_client_that_answers_no_ping_is_told_1011(self, serve):
        async with serve(Echo(), ClientLimits(ping_seconds=0.3, drain_seconds=0)) as server:
            reader, writer, _ = await opened(server)
            assert await close_code(reader) == 1011
            writer.close()

    async def test_a_slow_reader_is_not_taken_for_dead(self, serve):
        async def generous(_scope, receive, send):
            await receive()
            await send({"type": "websocket.accept"})
            for _ in range(12):
                await send({"type": "websocket.send", "text": "a" * 1_000_000})
            await send({"type": "websocket.close"})

        async with serve(generous, ClientLimits(ping_seconds=1, drain_seconds=0)) as server:
            async with connect(uri(server), max_size=None, max_queue=1, ping_interval=None) as socket:
                found = 0
                async for message in socket:  # until it is closed with 1000; another code is an error
                    found += len(message)
                    await asyncio.sleep(0.25)
            assert found == 12_000_000

    async def test_a_client_that_answers_pings_stays(self, serve):
        limits = ClientLimits(ping_seconds=0.2, drain_seconds=0)
        async with serve(Echo(), limits) as server, connect(uri(server), ping_interval=None) as socket:
            await asyncio.sleep(1.5)
            await socket.send("here")
            assert await socket.recv() == "here"

    async def test_the_server_stops_all_the_same(self, serve):
        """A client that reads nothing cannot hold the stop up, nor one that answers no close."""

        async def talkative(_scope, receive, send):
            await receive()
            await send({"type": "websocket.accept"})
            while True:
                await send({"type": "websocket.send", "text": "a" * 100_000})

        async with serve(talkative, ClientLimits(drain_seconds=0)) as server:
            _, writer, _ = await opened(server)
            writer.transport.pause_reading()
            await asyncio.sleep(0.3)
            start = time.monotonic()
            server.should_exit = True
            await server.running
            assert time.monotonic() - start < 5
            writer.transport.abort()


async def _until(holds, within=5):
    async with asyncio.timeout(within):
        while not holds():
            await asyncio.sleep(0.02)
