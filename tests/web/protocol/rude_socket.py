"""A WebSocket frame by frame: what no library would send."""

import asyncio
import struct

OPENING = (
    b"GET / HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)
TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9


def frame(kind, data=b"", *, last=True, length=None):
    """A client's frame; its mask is zero."""
    size = len(data) if length is None else length
    head = bytes([kind | (0x80 if last else 0)])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += bytes([0x80 | 126]) + struct.pack("!H", size)
    else:
        head += bytes([0x80 | 127]) + struct.pack("!Q", size)
    return head + bytes(4) + data


async def opened(server):
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(OPENING)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    return reader, writer, head


async def close_code(reader, within=10):
    """The code that the server closes with; None where the connection just ends."""
    async with asyncio.timeout(within):
        try:
            while True:
                kind, size = await reader.readexactly(2)
                if size == 126:
                    (size,) = struct.unpack("!H", await reader.readexactly(2))
                data = await reader.readexactly(size)
                if kind & 0x0F == CLOSE:
                    return int.from_bytes(data[:2], "big")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
