"""HTTP as it goes over the socket: nothing is kept back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@asynccontextmanager
async def connected(serve: Any, app: Any) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to an application behind a real socket."""
    async with serve(app) as server:
        reader, writer = await asyncio.open_connection(*server.address)
        try:
            yield reader, writer
        finally:
            writer.close()


async def test_a_streamed_answer_arrives_piece_by_piece(serve):
    go_on = asyncio.Event()

    async def streaming(_scope: Any, _receive: Any, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        for number, piece in enumerate((b"one", b"two", b"six")):
            await send({"type": "http.response.body", "body": piece, "more_body": number < 2})
            if number < 2:
                await go_on.wait()
                go_on.clear()

    async with asyncio.timeout(10), connected(serve, streaming) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        for piece in (b"one", b"two", b"six"):
            assert await reader.readexactly(3) == piece
            go_on.set()


async def test_a_client_that_waits_for_100_continue_gets_it(serve):
    async def echo(_scope: Any, receive: Any, send: Send) -> None:
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": body})

    async with asyncio.timeout(10), connected(serve, echo) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hello")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        assert await reader.readexactly(5) == b"hello"
