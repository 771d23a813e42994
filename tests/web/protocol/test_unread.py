"""Answers that clients do not read are bounded: on each connection, and on all of them together."""

import asyncio
import socket

import pytest

from crm.web.protocol import ClientLimits
from tests.support.waiting import eventually
from tests.web.protocol.echo import answer
from tests.web.protocol.rude_socket import OPENING, TEXT, frame

MIB = 1024 * 1024
GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
# The systems on both sides keep some of it themselves.
ONE = 12 * MIB


class Generous:
    """Answers with much."""

    def __init__(self, size=ONE):
        self.asked = 0
        self._size = size

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            self.asked += 1
            await answer(send, bytes(self._size))
            return
        await receive()
        await send({"type": "websocket.accept"})
        sending = set()
        while (await receive())["type"] == "websocket.receive":
            self.asked += 1
            text = b"a" * ONE if "crm.utf8" in scope["extensions"] else "a" * ONE
            sending.add(asyncio.create_task(send({"type": "websocket.send", "text": text})))
        await asyncio.gather(*sending, return_exceptions=True)


@pytest.fixture
def generous():
    return Generous()


def deaf(server):
    """A connection that reads nothing, and has little room for what it does not read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(server.address)
    client.setblocking(False)
    return client


def unread(server):
    return sum(one.transport.get_write_buffer_size() for one in server.server_state.connections)


async def asked(app, number):
    """Until the application has been asked once more than so often."""
    await eventually(lambda: app.asked > number, 10)


class TestAllConnections:
    async def test_keep_no_more_than_a_process_may(self, serve, generous):
        async with serve(generous, ClientLimits(drain_seconds=0, unread_bytes=4 * ONE)) as server:
            clients = [deaf(server) for _ in range(12)]
            for number, client in enumerate(clients):
                client.sendall(GET)
                await asked(generous, number)
                await asyncio.sleep(0.02)
                assert unread(server) <= 4 * ONE
            await eventually(lambda: len(server.server_state.connections) <= 6, 10)  # the systems keep some
            assert len(server.server_state.connections) >= 3
            for client in clients:
                client.close()

    async def test_count_an_answer_until_its_last_byte_is_sent(self, serve):
        """It stays in memory as a whole, however much of it the system has taken."""
        size = 8 * MIB
        generous = Generous(size)
        async with serve(generous, ClientLimits(drain_seconds=0, unread_bytes=4 * size)) as server:
            clients = [deaf(server) for _ in range(8)]
            for number, client in enumerate(clients):
                client.sendall(GET)
                await asked(generous, number)
            await eventually(lambda: len(server.server_state.connections) <= 4, 10)
            assert unread(server) > 2 * size
            for client in clients:
                client.close()

    async def test_count_an_answer_of_which_little_is_left(self, serve):
        """So little that the transport takes more: it was not asked how much it had taken."""
        generous = Generous(3 * MIB)
        async with serve(generous, ClientLimits(drain_seconds=0)) as server:
            client = deaf(server)
            client.sendall(GET)
            await eventually(lambda: unread(server) > 0, 10)
            taken = 3 * MIB - unread(server)
            client.close()
        little = Generous(taken + 32 * 1024)
        async with serve(little, ClientLimits(drain_seconds=0, unread_bytes=4 * MIB)) as server:
            clients = [deaf(server) for _ in range(60)]
            for client in clients:
                client.sendall(GET)
            await eventually(lambda: little.asked == 60, 10)
            # Each is counted with what was taken.
            await eventually(lambda: len(server.server_state.connections) <= 32, 10)
            for client in clients:
                client.close()

    async def test_a_reader_stays_when_others_stand_still(self, serve, generous):
        async with serve(generous, ClientLimits(drain_seconds=0, unread_bytes=2 * ONE)) as server:
            reader, writer = await asyncio.open_connection(sock=deaf(server), limit=16 * 1024)
            writer.write(GET)
            await reader.readuntil(b"\r\n\r\n")
            clients = []
            for number in range(6):
                # So much that it is seen behind what the system keeps.
                assert len(await reader.readexactly(ONE // 8)) == ONE // 8
                clients.append(deaf(server))
                clients[-1].sendall(GET)
                await asked(generous, number + 1)
            assert len(await reader.readexactly(ONE // 4)) == ONE // 4
            assert len(server.server_state.connections) <= 4
            writer.close()
            for client in clients:
                client.close()

    async def test_one_alone_may_have_more(self, serve, generous):
        async with serve(generous, ClientLimits(drain_seconds=0, unread_bytes=MIB)) as server:
            reader, writer = await asyncio.open_connection(*server.address, limit=1024)
            writer.write(GET)
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.5)
            assert len(await reader.readexactly(ONE)) == ONE
            writer.close()

    async def test_nobody_is_remembered(self, serve, generous):
        async with serve(generous, ClientLimits(drain_seconds=0)) as server:
            clients = [deaf(server) for _ in range(3)]
            for client in clients:
                client.sendall(GET)
            await eventually(lambda: unread(server) > 3 * MIB, 10)
            for client in clients:
                client.close()
            await eventually(lambda: not server.server_state.connections, 10)
            assert server.server_state.unread._readers == {}  # noqa: SLF001
            assert server.server_state.unread._total == 0  # noqa: SLF001


class TestOneConnection:
    async def test_has_one_answer_at_a_time(self, serve, generous):
        """What is asked while an answer is unread waits, also where it comes after that answer was written."""
        async with serve(generous, ClientLimits(drain_seconds=0)) as server:
            reader, writer = await asyncio.open_connection(*server.address, limit=1024)
            for _ in range(3):
                writer.write(GET)
                await asyncio.sleep(0.2)
            assert generous.asked == 1
            for _ in range(3):
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(ONE)
            assert generous.asked == 3
            writer.close()

    async def test_is_told_what_is_wrong_after_what_it_asked_before(self, serve, generous):
        async with serve(generous, ClientLimits(drain_seconds=0)) as server:
            reader, writer = await asyncio.open_connection(*server.address, limit=1024)
            for data in (GET, GET, b"nonsense\r\n\r\n"):
                writer.write(data)
                await asyncio.sleep(0.1)
            for _ in range(2):
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
                await reader.readexactly(ONE)
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
            writer.close()


class TestWebSockets:
    async def test_write_one_message_when_the_client_took_the_one_before(self, serve, generous):
        async with serve(generous, ClientLimits(drain_seconds=0)) as server:
            client = deaf(server)
            client.sendall(OPENING)
            await asyncio.sleep(0.1)
            client.sendall(frame(TEXT, b"more") * 6)
            await eventually(lambda: generous.asked == 6, 10)
            await asyncio.sleep(0.2)
            assert 0 < unread(server) <= ONE + MIB
            [one] = server.server_state.connections
            assert one.unread() > 5 * ONE  # what waits is counted, too
            await asyncio.to_thread(read_all, client, 6 * ONE)
            await eventually(lambda: one.unread() == 0, 10)
            assert server.server_state.unread._readers == {}  # noqa: SLF001
            client.close()

    async def test_whose_messages_wait_are_dropped_when_it_is_too_much(self, serve, generous):
        async with serve(generous, ClientLimits(drain_seconds=0, unread_bytes=4 * ONE)) as server:
            clients = [deaf(server) for _ in range(2)]
            for client in clients:
                client.sendall(OPENING)
                await asyncio.sleep(0.1)
                client.sendall(frame(TEXT, b"more") * 3)
            await eventually(lambda: len(server.server_state.connections) == 1, 10)
            for client in clients:
                client.close()


class Sharing(Generous):
    """Answers everybody with the same."""

    async def __call__(self, _scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        sending = set()
        while (message := await receive())["type"] == "websocket.receive":
            self.asked += 1
            shared = SHARED[int(message["text"])]
            text = {"type": "websocket.send", "text": (b"[", shared, b"]")}
            sending.add(asyncio.create_task(send(text)))
        await asyncio.gather(*sending, return_exceptions=True)


SHARED = [bytes([48 + number]) * ONE for number in range(4)]


class TestSharedMessages:
    async def test_are_counted_once(self, serve):
        async with serve(Sharing(), ClientLimits(drain_seconds=0, unread_bytes=2 * ONE)) as server:
            clients = [await asking(server, 0, 0) for _ in range(6)]
            unread = server.server_state.unread
            await eventually(lambda: len(unread._readers) == 6, 10)  # noqa: SLF001
            await asyncio.sleep(0.3)
            assert len(server.server_state.connections) == 6
            assert unread.parts.bytes == ONE
            for client in clients:
                said = await asyncio.to_thread(read, client, 2 * (ONE + 12))
                assert said == 2 * (b"\x81\x7f" + (ONE + 2).to_bytes(8) + b"[" + SHARED[0] + b"]")
            await eventually(lambda: not unread._readers, 10)  # noqa: SLF001
            assert unread.parts.bytes == 0
            for client in clients:
                client.close()

    async def test_whoever_keeps_something_alone_is_dropped_first(self, serve):
        async with serve(Sharing(), ClientLimits(drain_seconds=0, unread_bytes=2 * ONE + MIB)) as server:
            sharers = [await asking(server, 0) for _ in range(3)]
            await asyncio.sleep(0.2)
            others = [await asking(server, number) for number in (1, 2)]
            await eventually(lambda: len(server.server_state.connections) == 4, 10)
            assert server.server_state.unread.parts.bytes == 2 * ONE
            for client in sharers:
                assert len(await asyncio.to_thread(read, client, ONE)) == ONE
            for client in (*sharers, *others):
                client.close()
            await eventually(lambda: not server.server_state.connections, 10)
            assert server.server_state.unread.parts.bytes == 0
            assert server.server_state.unread._total == 0  # noqa: SLF001


async def asking(server, *numbers):
    """A client that asks for so many messages, and reads nothing."""
    client = deaf(server)
    client.sendall(OPENING)
    head = b""
    while b"\r\n\r\n" not in head:
        head += await asyncio.get_running_loop().sock_recv(client, 1)
    for number in numbers:
        client.sendall(frame(TEXT, b"%d" % number))
    await asyncio.sleep(0.1)
    return client


def let_read(client):
    """Give it room: piece by piece it would take ten times the time."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB)
    client.setblocking(True)


def read(client, size):
    let_read(client)
    found = bytearray()
    while len(found) < size:
        found += client.recv(min(MIB, size - len(found)))
    return bytes(found)


def read_all(client, least):
    let_read(client)
    while least > 0:
        least -= len(client.recv(MIB))
