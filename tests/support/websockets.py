"""What clients of the API's WebSockets say to open one."""

import json
import socket
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

GRAPHQL_WS: Final = Subprotocol("graphql-transport-ws")


async def signed_in(url: str, token: str, **options: Any) -> ClientConnection:
    """Open a WebSocket of the GraphQL API, and say who it is."""
    client = await connect(f"{url.replace('http', 'ws')}/graphql", subprotocols=[GRAPHQL_WS], **options)
    await client.send(json.dumps({"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}}))
    message = json.loads(await client.recv())
    assert message["type"] == "connection_ack", message
    return client


def narrow(port: int, room: int = 4096) -> socket.socket:
    """Connect to a server of this machine, with little room for what is not read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    client.connect(("127.0.0.1", port))
    client.setblocking(False)
    return client
