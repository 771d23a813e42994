"""A client of the subscription that comes back, with its last cursor, whenever it was cut off."""

import asyncio
import json
import time
from contextlib import asynccontextmanager, suppress

import psycopg
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.support.websockets import narrow, signed_in

CHANGES = "subscription($after: String) { changes(after: $after) { cursor type fields { name after } } }"


class Follower:
    """Collects cursors, from `start` on."""

    def __init__(self, server, start: str, query: str = CHANGES) -> None:
        self.cursors: list[str] = []
        self.times: list[float] = []
        self.connections = 0
        self.refusals: list[str] = []
        self._server, self._start, self._query = server, start, query
        self._token = server.token()
        self._socket: ClientConnection | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self):
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_):
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def drop(self) -> None:
        """Break the connection, without a word."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def reach(self, cursors: list[str], seconds: float = 15) -> None:
        """Until this many have come, and then a moment in which one too many would."""
        deadline = time.monotonic() + seconds
        while len(self.cursors) < len(cursors) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        assert self.cursors == cursors, _difference(self.cursors, cursors)

    async def _follow(self) -> None:
        while True:
            with suppress(ConnectionClosed, InvalidHandshake, OSError, TimeoutError):
                await self._once()
            await asyncio.sleep(0.05)

    async def _once(self) -> None:
        async with open_socket(self._server, self._token) as self._socket:
            self.connections += 1
            after = self.cursors[-1] if self.cursors else self._start
            await self._socket.send(subscribe(self._query, after=after))
            async for text in self._socket:
                message = json.loads(text)
                if message["type"] == "error":
                    self.refusals.append(message["payload"][0]["extensions"]["code"])
                    return
                self.cursors.append(message["payload"]["data"]["changes"]["cursor"])
                self.times.append(time.monotonic())


@asynccontextmanager
async def open_socket(server, token, *, receive_buffer=None, **options):
    """Open a socket that is signed in; with a receive buffer, it has little room for what is not read."""
    if receive_buffer:
        options["sock"] = narrow(server.port, receive_buffer)
    async with await signed_in(server.url, token, open_timeout=5, close_timeout=1, **options) as found:
        yield found


def subscribe(query, **variables):
    return json.dumps({"id": "1", "type": "subscribe", "payload": {"query": query, "variables": variables}})


def stream(database_url: str, after: str | None = None) -> list[str]:
    """The cursors of all events in the stream's order, or of those after one."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT epoch || '.' || xid || '.' || id FROM events, event_epoch ORDER BY xid, id"
        ).fetchall()
    found = [row[0] for row in rows]
    return found[found.index(after) + 1 :] if after else found


def first_event(database_url: str) -> str:
    """Write one event and return its cursor."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO events (type, entity, entity_id) VALUES ('lead.noted', 'lead', '0')")
    return stream(database_url)[-1]


def _difference(got: list[str], wanted: list[str]) -> str:
    missing, extra = set(wanted) - set(got), set(got) - set(wanted)
    counts = f"got {len(got)} ({len(set(got))} different), wanted {len(wanted)}"
    return f"{counts}; missing {sorted(missing)[:5]}, extra {sorted(extra)[:5]}"
