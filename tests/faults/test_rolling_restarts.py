"""Two servers behind a balancer, restarted in turn under load: no request fails, and no client tries one twice."""

import asyncio
import json
import random

import pytest

pytestmark = pytest.mark.waits(12)

QUERY = json.dumps({"query": "{ me { name } }"}).encode()


class Balancer:
    """Gives each new connection to the next server that is ready; it does not look into requests and repeats none."""

    def __init__(self, servers):
        self._servers = servers
        self._turn = 0

    async def connect(self):
        """As a balancer does: a server that refuses the connection is passed over, nothing was sent yet."""
        self._turn += 1
        first = self._turn % len(self._servers)
        for server in self._servers[first:] + self._servers[:first]:
            try:
                return await asyncio.open_connection("127.0.0.1", server.port)
            except ConnectionRefusedError:
                continue
        msg = "no server is there"
        raise RuntimeError(msg)


class Client:
    """Keeps a connection until the server says that it closes it; a request that fails has failed."""

    def __init__(self, balancer, token):
        self._balancer = balancer
        self._request = (
            b"POST /graphql HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s" % (token.encode(), len(QUERY), QUERY)
        )
        self.answered = 0
        self.connections = 0
        self.failed = []

    async def run(self, stop):
        while not stop.is_set():
            reader, writer = await self._balancer.connect()
            self.connections += 1
            try:
                while not stop.is_set() and await self._ask(reader, writer):
                    await asyncio.sleep(random.choice([0, 0, 0.01, 0.3]))
            except (OSError, EOFError, AssertionError) as error:
                self.failed.append(repr(error))
            writer.close()

    async def _ask(self, reader, writer):
        """Whether the connection may be used again."""
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200 "), head
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        assert b'"data"' in await reader.readexactly(length)
        self.answered += 1
        return b"connection: close" not in head


@pytest.mark.timeout(900)
async def test_no_request_fails(start_server, repeats, report):
    servers = [start_server(CRM_DRAIN_SECONDS="2"), start_server(CRM_DRAIN_SECONDS="2")]
    balancer, stop = Balancer(servers), asyncio.Event()
    clients = [Client(balancer, servers[0].token()) for _ in range(12)]
    running = [asyncio.create_task(client.run(stop)) for client in clients]
    for number in range(2 * repeats):
        await asyncio.sleep(random.uniform(0.3, 0.8))
        server = servers[number % 2]
        assert await asyncio.to_thread(server.stop) == 0
        await asyncio.to_thread(server.start)
    await asyncio.sleep(0.5)
    stop.set()
    await asyncio.gather(*running)
    answered = sum(client.answered for client in clients)
    report("rolling restarts", stops=2 * repeats, answered=answered, failed=sum(len(one.failed) for one in clients))
    assert [one for client in clients for one in client.failed] == []
    assert answered > 100
    assert sum(client.connections for client in clients) >= len(clients) * 2


async def test_readiness_turns_red_before_the_server_is_gone(start_server):
    server = start_server(CRM_DRAIN_SECONDS="2")
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    assert await _status_of(reader, writer, "/readyz") == 200
    stopping = asyncio.create_task(asyncio.to_thread(server.stop))
    await asyncio.sleep(0.5)
    assert await _status_of(reader, writer, "/readyz") == 503
    assert await stopping == 0
    writer.close()


async def test_health_is_asked_for_without_a_token(start_server):
    server = start_server()
    for path in ("/healthz", "/readyz"):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await _status_of(reader, writer, path) == 200
        writer.close()


async def _status_of(reader, writer, path):
    writer.write(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
    return int(head.split()[1])
