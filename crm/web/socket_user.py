"""Whoever is at the other end of a socket: let in once, and looked at again for as long as they stay."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import psycopg

from crm.core import errors
from crm.core.identity import Viewer
from crm.web.http_io import Authenticator, Headers

_RECHECK_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 0.5
_LONGEST_TIMER: Final = 10**7
# Subscriptions that have something for the client: the others hold nothing but their places.
_SHOWN_AT_ONCE: Final = 4


class SocketUser:
    """A socket's user. `turn_out` is called with the reason when they may stay no longer."""

    def __init__(
        self, gate: Authenticator, patience: float, turn_out: Callable[[str], None], is_busy: Callable[[], bool]
    ) -> None:
        self._gate = gate
        self._patience = patience
        self._turn_out = turn_out
        self._is_busy = is_busy
        self._headers: Headers = {}
        self._expiry: asyncio.TimerHandle | None = None
        self._rechecking: asyncio.Task[None] | None = None
        self.viewer: Viewer | None = None

    async def enter(self, headers: Headers) -> Viewer:
        """Let them in, or say why not."""
        viewer = await self._gate.viewer(headers)
        self._headers, self.viewer = headers, viewer
        self._rechecking = asyncio.create_task(self._recheck())
        if viewer.expires_at is not None:
            seconds = min(max(viewer.expires_at - time.time(), 0), _LONGEST_TIMER)
            self._expiry = asyncio.get_running_loop().call_later(seconds, self._turn_out, "The token has expired")
        return viewer

    async def current(self) -> Viewer:
        """The viewer as of now. One who may do less than before is turned out: a client may open another socket."""
        assert self.viewer is not None
        try:
            async with asyncio.timeout(self._patience):
                found = await self._gate.viewer(self._headers)
        except errors.Unauthenticated as error:
            self._turn_out(error.message)
            raise
        if not found.role.includes(self.viewer.role):
            self._turn_out("Your role has changed")
            raise errors.Forbidden
        self.viewer = found
        return found

    async def confirm(self) -> None:
        """Before something is shown of what runs for long: raises if the viewer may see it no more.

        Mostly it is known from within the last seconds. While the database cannot tell, nothing is shown.
        """
        while True:
            try:
                await self.current()
            except (errors.Unauthenticated, errors.Forbidden):
                raise
            except (errors.CrmError, psycopg.Error, TimeoutError):
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return

    async def leave(self) -> None:
        """They are gone."""
        if self._expiry is not None:
            self._expiry.cancel()
        if self._rechecking is not None:
            self._rechecking.cancel()
            await asyncio.gather(self._rechecking, return_exceptions=True)

    async def _recheck(self) -> None:
        """What runs for long ends when its user is disabled, or may do less than when it began."""
        while True:
            await asyncio.sleep(_RECHECK_SECONDS)
            if self._is_busy():
                with suppress(errors.CrmError, psycopg.Error, TimeoutError):
                    await self.current()


class Room:
    """What a subscription enters before it takes something for the client, who must still be allowed to see it."""

    def __init__(self, guest: SocketUser) -> None:
        self._guest = guest
        self._places = asyncio.Semaphore(_SHOWN_AT_ONCE)

    async def __aenter__(self) -> None:
        await self._places.acquire()
        try:
            await self._guest.confirm()
        except BaseException:
            self._places.release()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._places.release()
