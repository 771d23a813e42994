"""What clients of the API's WebSockets say to open one."""

from typing import Final

from websockets.typing import Subprotocol

GRAPHQL_WS: Final = Subprotocol("graphql-transport-ws")
