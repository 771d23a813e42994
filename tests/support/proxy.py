"""A wire to PostgreSQL that can be cut, and frozen: it accepts, and passes nothing on, like a server that hangs."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit


class Proxy:
    """Passes on what comes in at a port of 127.0.0.1 to a server's socket."""

    def __init__(self, database_url: str) -> None:
        folder = Path(parse_qs(urlsplit(database_url).query)["host"][0])
        self._socket = folder / ".s.PGSQL.5432"
        self._asking, self._answering = asyncio.Event(), asyncio.Event()
        self.thaw()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.down()

    @property
    def host(self) -> str:
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def url(self) -> str:
        """The URL of the usual database, by way of this proxy."""
        return f"postgresql://postgres@{self.host}/crm"

    def freeze(self) -> None:
        """Pass nothing on any more, in neither direction."""
        self._asking.clear()
        self.hold_answers()

    def hold_answers(self, after: bytes = b"") -> None:
        """Pass on what is asked, and none of the answers: from now on, or once this text has been asked."""
        self._last = after
        if not after:
            self._answering.clear()

    def thaw(self) -> None:
        """Pass everything on."""
        self._last = b""
        self._asking.set()
        self._answering.set()

    def cut(self) -> None:
        """Cut whatever is connected; new connections are let in."""
        for writer in self._open:
            writer.transport.abort()

    def refuse(self) -> None:
        """Accept nothing more; what is connected stays."""
        assert self._server is not None
        self._server.close()

    async def down(self) -> None:
        """Refuse, and cut whatever is connected."""
        self.refuse()
        self.cut()
        await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        server_reader, server_writer = await asyncio.open_unix_connection(str(self._socket))
        self._open |= {writer, server_writer}
        with suppress(asyncio.CancelledError):  # the test has ended
            await asyncio.gather(
                self._pass_on(reader, server_writer, self._asking),
                self._pass_on(server_reader, writer, self._answering),
            )
        self._open -= {writer, server_writer}

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, going: asyncio.Event) -> None:
        with suppress(ConnectionError):
            while found := await reader.read(65536):
                if self._last and going is self._asking and self._last in found:
                    self._answering.clear()
                await going.wait()
                writer.write(found)
                await writer.drain()
        writer.close()
