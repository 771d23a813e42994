"""Messages to many followers, sent in portions, so that the event loop runs other tasks in between."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

# The bytes sent in one turn of the loop: some hundred small messages, or a large one.
_BYTES_A_TURN: Final = 256 * 1024
# The cost of a message besides its bytes, as bytes: some 20 microseconds.
_EACH: Final = 2048

Future = asyncio.Future[None]


class Portions:
    """Lets senders of messages go on in order: some hundred, or some hundred KiB, in one turn of the loop."""

    def __init__(self) -> None:
        self.round = 0
        self._left = _BYTES_A_TURN
        self._waiting: deque[tuple[deque[Future], int] | Callable[[], object]] = deque()
        self._timer: asyncio.Handle | None = None

    async def turn(self, size: int) -> None:
        """Wait until a message of that size may be sent."""
        if self._waiting or self._left <= 0:
            future: Future = asyncio.get_running_loop().create_future()
            self.wake([future], size)
            await future
        else:
            self._spend(size)
            self._go_on()

    def wake(self, futures: Iterable[Future], size: int) -> None:
        """Set each future when its owner may send a message of that size; in the same `round` it needs no `turn`."""
        self._waiting.append((deque(futures), size))
        self._go_on()

    def then(self, callback: Callable[[], object]) -> None:
        """Call a function after the futures queued so far have been set."""
        self._waiting.append(callback)
        self._go_on()

    async def quiet(self) -> None:
        """Wait until no sender waits for a turn."""
        while self._waiting:
            future: Future = asyncio.get_running_loop().create_future()
            self.then(lambda future=future: future.done() or future.set_result(None))  # type: ignore[misc]
            await future

    def _spend(self, size: int) -> None:
        self._left -= size + _EACH

    def _go_on(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._timer = None
        self._left = _BYTES_A_TURN
        self.round += 1
        while self._waiting and self._left > 0:
            first = self._waiting[0]
            if not isinstance(first, tuple):
                asyncio.get_running_loop().call_soon(first)
                self._waiting.popleft()
            elif not first[0]:
                self._waiting.popleft()
            else:
                self._wake(*first)
        if self._waiting:
            self._go_on()

    def _wake(self, futures: deque[Future], size: int) -> None:
        future = futures.popleft()
        if not future.done():
            future.set_result(None)
            self._spend(size)


class News:
    """A condition that followers wait for: `tell` wakes all of them, some in each turn of the loop."""

    def __init__(self, portions: Portions) -> None:
        self._portions = portions
        self._waiting: dict[Future, None] = {}

    async def wait(self) -> int:
        """Wait for news, and return the round in which a message about them may be sent."""
        future: Future = asyncio.get_running_loop().create_future()
        self._waiting[future] = None
        try:
            await future
        finally:
            self._waiting.pop(future, None)
        return self._portions.round

    def tell(self, size: int) -> None:
        """Wake the followers: there is a new message of that size."""
        waiting, self._waiting = self._waiting, {}
        if waiting:
            self._portions.wake(waiting, size)
