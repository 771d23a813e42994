"""The user of a WebSocket: signed in once, and checked again for as long as the socket is open."""

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
# Subscriptions of a client that hold an event for it at a time: the others keep only their positions.
_SHOWN_AT_ONCE: Final = 4


class SocketUser:
    """A socket's user. `on_expelled` is called with the reason when the user may no longer use the socket."""

    def __init__(
        self,
        authenticator: Authenticator,
        seconds: float,
        on_expelled: Callable[[str], None],
        is_busy: Callable[[], bool],
    ) -> None:
        self._authenticator = authenticator
        self._seconds = seconds
        self._on_expelled = on_expelled
        self._is_busy = is_busy
        self._headers: Headers = {}
        self._expiry: asyncio.TimerHandle | None = None
        self._rechecking: asyncio.Task[None] | None = None
        self.viewer: Viewer | None = None

    async def enter(self, headers: Headers) -> Viewer:
        """Sign the user in, or raise the reason against it."""
        viewer = await self._authenticator.viewer(headers)
        self._headers, self.viewer = headers, viewer
        self._rechecking = asyncio.create_task(self._recheck())
        if viewer.expires_at is not None:
            seconds_left = min(max(viewer.expires_at - time.time(), 0), _LONGEST_TIMER)
            self._expiry = asyncio.get_running_loop().call_later(
                seconds_left, self._on_expelled, "The token has expired"
            )
        return viewer

    async def current(self) -> Viewer:
        """The viewer as of now. A user whose role was reduced is expelled, and may open another socket."""
        assert self.viewer is not None
        try:
            async with asyncio.timeout(self._seconds):
                viewer = await self._authenticator.viewer(self._headers)
        except errors.Unauthenticated as error:
            self._on_expelled(error.message)
            raise
        if not viewer.role.includes(self.viewer.role):
            self._on_expelled("Your role has changed")
            raise errors.Forbidden
        self.viewer = viewer
        return viewer

    async def confirm(self) -> None:
        """Check, before an event of a long subscription is sent, that the viewer may still see it.

        Mostly this is known from a check within the last seconds. While the database is away, nothing is sent.
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
        """Stop checking: the socket is closed."""
        if self._expiry is not None:
            self._expiry.cancel()
        if self._rechecking is not None:
            self._rechecking.cancel()
            await asyncio.gather(self._rechecking, return_exceptions=True)

    async def _recheck(self) -> None:
        """End long subscriptions when their user is disabled, or has a lesser role than when they began."""
        while True:
            await asyncio.sleep(_RECHECK_SECONDS)
            if self._is_busy():
                with suppress(errors.CrmError, psycopg.Error, TimeoutError):
                    await self.current()


class Room:
    """The context in which a subscription takes an event and sends it, if the user may still see it."""

    def __init__(self, user: SocketUser) -> None:
        self._user = user
        self._slots = asyncio.Semaphore(_SHOWN_AT_ONCE)

    async def __aenter__(self) -> None:
        await self._slots.acquire()
        try:
            await self._user.confirm()
        except BaseException:
            self._slots.release()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._slots.release()
