"""The deadline of a request, which also ends when its client disconnects.

`asyncio.timeout` does only the first. It makes a timer for each request, and four system calls on Python 3.11 (to find
the running loop it asks for the process's id); with a second timer for the client that was 6 % of a small write.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Self

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_WATCH_AFTER_SECONDS: Final = 0.2  # most requests are done before there is anything to watch


class RequestDeadline:
    """A context that cancels its task when time is up, and raises TimeoutError on exit, as `asyncio.timeout` does.

    From `watch` on the client is watched too: when it disconnects, time is up, which cancels the request's statement.
    """

    __slots__ = ("_cancelling", "_end", "_is_up", "_loop", "_receive", "_task", "_timer", "_watching")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._end = loop.time() + seconds
        self._timer = loop.call_later(min(seconds, _WATCH_AFTER_SECONDS), self._look)
        self._receive: Receive | None = None
        self._watching: asyncio.Task[None] | None = None
        self._is_up = False

    def __enter__(self) -> Self:
        task = asyncio.current_task(self._loop)
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        return self

    def watch(self, receive: Receive) -> None:
        """Watch the client, now that the request has been read: the next message can only be a disconnect."""
        self._receive = receive

    def __exit__(self, error_type: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None  # its cancellation's traceback refers to this object: a cycle, kept for long
        if self._is_up and self._task.uncancel() <= self._cancelling and error_type is asyncio.CancelledError:
            raise TimeoutError from error

    def _look(self) -> None:
        """Expire if time is up; else start watching the client, since the request takes long."""
        left = self._end - self._loop.time()
        if left <= 0:
            self._expire()
            return
        if self._receive is not None and self._watching is None:
            self._watching = self._loop.create_task(self._watch(self._receive))
        self._timer = self._loop.call_later(left if self._watching else min(left, _WATCH_AFTER_SECONDS), self._look)

    def _expire(self) -> None:
        if not self._is_up:
            self._is_up = True
            self._task.cancel()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._expire()
