"""psycopg's connections with a time limit, for procrastinate: closed when a statement gets no answer for too long.

A server that is frozen keeps its connections open. A client without a limit would wait for ever, though another server
has taken its place. (The connections of `crm/db/connection.py` have `crm/db/liveness.py` for that.)
"""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus

Connection = psycopg.AsyncConnection[Any]


def impatient(seconds: float, on_silence: Callable[[], object] = lambda: None) -> type[Connection]:
    """A class of connections that are closed when a statement takes longer than `seconds`."""

    class ImpatientConnection(Connection):
        async def wait(self, gen: PQGen[RV], *arguments: Any, **options: Any) -> RV:
            """Wait for the server; waiting for notifications is no statement, and has no limit."""
            timer = asyncio.get_running_loop().call_later(seconds, self._give_up)
            try:
                return await super().wait(gen, *arguments, **options)
            finally:
                timer.cancel()

        def _give_up(self) -> None:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                on_silence()
                with suppress(OSError), socket.socket(fileno=os.dup(self.pgconn.socket)) as ours:
                    ours.shutdown(socket.SHUT_RDWR)  # the waiting coroutine finds the connection closed

    return ImpatientConnection
