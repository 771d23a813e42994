"""A socket between the program and PostgreSQL that counts what is said, whatever the code claims."""

import asyncio
import shutil
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_SOCKET = ".s.PGSQL.5432"


class Tap:
    """Passes bytes on, and reads the client's messages on their way."""

    def __init__(self, url: str) -> None:
        self._target = Path(parse_qs(urlsplit(url).query)["host"][0]) / _SOCKET
        self._folder = Path(tempfile.mkdtemp(prefix="crm-tap-"))
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = f"postgresql://postgres@/crm?host={self._folder}"
        self.executed: list[str] = []  # the SQL of every execution
        self.parsed: list[str] = []
        self.round_trips = 0

    async def start(self) -> "Tap":
        self._server = await asyncio.start_unix_server(self._serve, self._folder / _SOCKET)
        return self

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        shutil.rmtree(self._folder)

    def reset(self) -> None:
        self.executed.clear()
        self.parsed.clear()
        self.round_trips = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_unix_connection(self._target)
        for task in (self._forward(reader, back_writer), self._back(back_reader, writer)):
            running = asyncio.create_task(task)
            self._tasks.add(running)
            running.add_done_callback(self._tasks.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        statements: dict[bytes, str] = {}
        try:
            length = await reader.readexactly(4)  # the start-up message has no letter
            writer.write(length + await reader.readexactly(int.from_bytes(length) - 4))
            while True:
                letter = await reader.readexactly(1)
                length = await reader.readexactly(4)
                body = await reader.readexactly(int.from_bytes(length) - 4)
                self._heard(letter, body, statements)
                writer.write(letter + length + body)
        except asyncio.IncompleteReadError:
            writer.close()

    def _heard(self, letter: bytes, body: bytes, statements: dict[bytes, str]) -> None:
        """Parse names a text, Bind picks a name, Execute runs it, Sync ends the round trip; Query is all in one."""
        if letter == b"P":
            name, text, _ = body.split(b"\0", 2)
            statements[name] = text.decode()
            self.parsed.append(text.decode())
        elif letter == b"B":
            _, name, _ = body.split(b"\0", 2)
            statements[b"bound"] = statements[name]
        elif letter == b"E":
            self.executed.append(statements[b"bound"])
        elif letter == b"Q":
            self.executed.append(body[:-1].decode())
        self.round_trips += letter in (b"Q", b"S")

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            writer.write(chunk)
        writer.close()
