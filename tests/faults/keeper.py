"""A client that keeps a copy of all events, as the guide says: it follows the stream, and loads afresh when told to."""

import asyncio
import json
from contextlib import suppress

import psycopg
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.faults.follower import open_socket, subscribe

_FOLLOW = "subscription($after: String) { changes(after: $after) { cursor type entityId } }"
_ALL = """
SELECT epoch || '.' || xid || '.' || id, type, entity_id FROM events, event_epoch
WHERE entity IN ('lead', 'task', 'interaction', 'user') AND xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY xid, id
"""
Known = tuple[str, str, str]


class Keeper:
    """Its copy must be what the table holds, in the end: no event too few, none too many."""

    def __init__(self, server, pair) -> None:
        self.copy: list[Known] = []
        self.codes: list[str] = []
        self.loads = 0
        self._server, self._pair = server, pair
        self._token = server.token()
        self._cursor = ""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self):
        self._load()
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_):
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def _load(self) -> None:
        rows = table(self._pair.primary.url)
        self._cursor, self.copy = rows[-1][0], [_known(*row) for row in rows]
        self.loads += 1

    async def _follow(self) -> None:
        while True:
            with suppress(ConnectionClosed, InvalidHandshake, OSError, TimeoutError, psycopg.Error):
                await self._once()
            await asyncio.sleep(0.05)

    async def _once(self) -> None:
        async with open_socket(self._server, self._token) as socket:
            await socket.send(subscribe(_FOLLOW, after=self._cursor))
            async for text in socket:
                message = json.loads(text)
                if message["type"] == "error":
                    self.codes.append(message["payload"][0]["extensions"]["code"])
                    if self.codes[-1] == "CURSOR_EXPIRED":
                        await asyncio.to_thread(self._load)
                    return
                change = message["payload"]["data"]["changes"]
                self._cursor = change["cursor"]
                self.copy.append(_known(change["cursor"], change["type"], change["entityId"]))

    async def differences(self, seconds: float = 5) -> tuple[int, int]:
        """How many events of the table it does not have, and how many it has that are not in the table."""
        for _ in range(round(seconds / 0.1)):
            wanted = [_known(*row) for row in await asyncio.to_thread(table, self._pair.primary.url)]
            if self.copy == wanted:
                return 0, 0
            await asyncio.sleep(0.1)
        missing, extra = set(wanted) - set(self.copy), set(self.copy) - set(wanted)
        assert missing or extra, "in another order, or twice"
        return len(missing), len(extra)


def table(url: str) -> list[Known]:
    """What a client sees of the table of events: cursor, type, record."""
    with psycopg.connect(url, connect_timeout=5) as connection:
        return connection.execute(_ALL).fetchall()


def _known(cursor: str, kind: str, key: str) -> Known:
    """The same in each epoch."""
    return cursor.partition(".")[2], kind, key
