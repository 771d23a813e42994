"""The WebSocket of AI tasks: `aiTaskUpdated` and `aiTaskQueueUpdated` for clients that speak no GraphQL.

The messages are written down in docs/guides/ai-tasks.md.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, suppress
from typing import Any, Final

import orjson

from crm.core import errors
from crm.core.identity import Viewer
from crm.core.pacing import Pace
from crm.graph.live.event_filter import Parts
from crm.graph.run.answers import known_error, rendered
from crm.graph.run.engine import Engine
from crm.web.graphql.websocket import UTF8, Closed
from crm.web.http_io import Authenticator, Receive, Scope, Send
from crm.web.rest.outbox import Outbox
from crm.web.rest.table import AI_TASKS
from crm.web.rest.topic import Topic, echoed
from crm.web.socket_user import Room, SocketUser

PROTOCOL: Final = "crm.ai-tasks"
_BEARER: Final = "bearer."
_UNAUTHORIZED: Final = 4401
_FORBIDDEN: Final = 4403
_TOO_SLOW: Final = 4408
_POLICY: Final = 1008
_TOO_LARGE: Final = 1009
_TRY_AGAIN: Final = 1013
_LARGEST_MESSAGE: Final = 16 * 1024
_MOST_MISTAKES: Final = 100
_FAREWELL_SECONDS: Final = 10.0
_MAX_REASON: Final = 120
_VERSION: Final = re.compile(rb'\{\s*"id"\s*:\s*"[^"]*"\s*,\s*"version"\s*:\s*([0-9]+)')


class AiTaskWebSocket:
    """Answers WebSockets at one address."""

    def __init__(self, engine: Engine, gate: Authenticator) -> None:
        self._engine = engine
        self._gate = gate
        self._feeds = Feeds(engine)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One socket, from its opening to its end."""
        headers = dict(scope["headers"])
        await receive()  # websocket.connect
        try:
            self._gate.check_origin(headers)
        except errors.CrmError:
            await send({"type": "websocket.close", "code": _FORBIDDEN})  # before accept: HTTP 403
            return
        offered = scope.get("subprotocols") or []
        token = next((one[len(_BEARER) :] for one in offered if one.startswith(_BEARER)), None)
        if token is not None and b"authorization" not in headers:
            headers[b"authorization"] = b"Bearer " + token.encode("ascii", "replace")
        # Never the one with the token: it would stand in the answer's headers.
        await send({"type": "websocket.accept", "subprotocol": PROTOCOL if PROTOCOL in offered else None})
        takes_utf8 = UTF8 in scope.get("extensions", {})
        await _Session(self._feeds, self._gate, headers, receive, send, takes_utf8=takes_utf8).run()


class Feeds:
    """The operations behind the topics."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.tasks = AI_TASKS["AiTaskFeed"].checked(engine)
        self.queue = AI_TASKS["AiTaskQueueFeed"].checked(engine)


class _Session:
    """One connection."""

    def __init__(  # noqa: PLR0913
        self,
        feeds: Feeds,
        gate: Authenticator,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        send: Send,
        *,
        takes_utf8: bool,
    ) -> None:
        self._feeds = feeds
        self._settings = feeds.engine.settings
        self._headers = headers
        self._receive = receive
        self._raw_send = send
        self._outbox = Outbox(
            send,
            self._settings.websocket_buffer_bytes,
            lambda: self._close_with(Closed(_TOO_SLOW, "You read more slowly than things happen")),
            takes_utf8=takes_utf8,
        )
        self._guest = SocketUser(
            gate,
            self._settings.request_timeout_seconds,
            lambda reason: self._close_with(Closed(_UNAUTHORIZED, reason)),
            lambda: bool(self._followed),
        )
        self._room = Room(self._guest)
        self._followed: dict[Topic, asyncio.Task[None]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._closing: Closed | None = None
        self._mistakes = 0

    async def run(self) -> None:
        """Read messages until either side closes."""
        self._reading = asyncio.create_task(self._read())
        sending = asyncio.create_task(self._outbox.run())
        timer = asyncio.get_running_loop().call_later(self._settings.websocket_init_seconds, self._close_unless_in)
        try:
            await self._reading
        except Closed as closed:
            self._closing = closed
        except asyncio.CancelledError:
            if self._closing is None:
                raise
        finally:
            timer.cancel()
            tasks = [sending, *self._followed.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, self._guest.leave(), return_exceptions=True)
            if self._closing is not None:
                await self._say_why(self._closing)

    async def _say_why(self, closed: Closed) -> None:
        """A client that does not read gets the code when it reads again, if that is soon."""
        with suppress(Exception):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._raw_send(
                    {"type": "websocket.close", "code": closed.code, "reason": closed.reason[:_MAX_REASON]}
                )

    async def _read(self) -> None:
        if b"authorization" in self._headers:
            await self._enter(self._headers)
        pace = Pace()
        while True:
            await pace.keep()
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text") or ""
            if len(text) > _LARGEST_MESSAGE:
                raise Closed(_TOO_LARGE, f"A message has {_LARGEST_MESSAGE:,} characters at most")
            await self._hear(text)

    async def _hear(self, text: str) -> None:
        message: dict[str, Any] = {}
        try:
            message = _parsed(text)
            await self._handle(message)
        except errors.CrmError as error:
            self._refuse(error, echoed(message))

    async def _handle(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "ping":
            self._put({"type": "pong"})
            return
        if kind == "pong":
            return
        if self._guest.viewer is None:
            await self._enter(_with_token(self._headers, message))
        elif kind == "auth":
            msg = "You are signed in already; open another socket for another token."
            raise errors.BadUserInput(msg)
        if kind == "subscribe":
            self._subscribe(Topic.of(message))
        elif kind == "unsubscribe":
            self._unsubscribe(Topic.of(message))
        elif kind != "auth":
            text = f"There is no message type {kind[:40]!r}; there are: auth, subscribe, unsubscribe, ping."
            raise errors.BadUserInput(text, field="type")

    async def _enter(self, headers: Mapping[bytes, bytes]) -> None:
        try:
            viewer = await self._guest.enter(headers)
        except errors.Unauthenticated as error:
            raise Closed(_UNAUTHORIZED, error.message) from None
        except errors.CrmError as error:
            raise Closed(_TRY_AGAIN, error.message) from None
        self._put({"type": "ready", "user": str(viewer.id), "role": viewer.role.name})

    def _subscribe(self, topic: Topic) -> None:
        if topic in self._followed:
            self._put({"type": "subscribed", **topic.named})
        elif len(self._followed) >= self._settings.websocket_operations:
            most = self._settings.websocket_operations
            msg = f"At most {most} subscriptions on one socket."
            raise errors.TooComplex(msg, limit=most)
        else:
            self._followed[topic] = asyncio.create_task(self._follow(topic))

    def _unsubscribe(self, topic: Topic) -> None:
        task = self._followed.pop(topic, None)
        if task is not None:
            task.cancel()
        self._put({"type": "unsubscribed", **topic.named})

    async def _follow(self, topic: Topic) -> None:
        try:
            viewer = await self._guest.current()
            if topic.channel == "queue":
                await self._follow_queue(topic, viewer)
            else:
                await self._follow_tasks(topic, viewer)
        except Exception as error:  # noqa: BLE001  (whatever it is, the client gets a clear error)
            self._refuse(known_error(error), topic.named)
        finally:
            if self._followed.get(topic) is asyncio.current_task():
                del self._followed[topic]

    async def _follow_queue(self, topic: Topic, viewer: Viewer) -> None:
        feed = self._feeds.queue
        self._put({"type": "subscribed", **topic.named})
        async with aclosing(self._feeds.engine.subscribe(feed.named.request(), viewer, room=self._room)) as answers:
            async for _, figures, _ in answers:
                self._outbox.put(*topic.message("queue.status", "queue", figures))

    async def _follow_tasks(self, topic: Topic, viewer: Viewer) -> None:
        engine, feed = self._feeds.engine, self._feeds.tasks
        since = await engine.feed.now()
        shown = engine.subscribe(feed.named.request(topic.variables), viewer, since=since, room=self._room)
        async with aclosing(shown) as answers:
            if topic.channel == "task":
                await self._follow_one(topic, answers)
                return
            self._put({"type": "subscribed", **topic.named})
            async for _, task, _ in answers:
                self._outbox.put(*topic.message("task.updated", "task", task))

    async def _follow_one(self, topic: Topic, answers: AsyncIterator[Parts]) -> None:
        """It is shown at once, as it is now: so it is there, and may be followed. No state is shown twice."""
        seen = -1
        async for _, task, _ in answers:
            if seen < 0:
                self._put({"type": "subscribed", **topic.named})
            if _version(task) > seen:
                seen = _version(task)
                self._outbox.put(*topic.message("task.updated", "task", task))

    def _refuse(self, error: errors.CrmError, named: Mapping[str, Any]) -> None:
        problem = rendered(error)
        if problem["extensions"]["code"] == errors.BadUserInput.code:
            self._mistakes += 1
        if self._mistakes > _MOST_MISTAKES:
            self._close_with(Closed(_POLICY, f"More than {_MOST_MISTAKES} messages that mean nothing"))
        else:
            self._put({"type": "error", "message": problem["message"], **named, **problem["extensions"]})

    def _put(self, message: dict[str, Any]) -> None:
        self._outbox.put(orjson.dumps(message))

    def _close_unless_in(self) -> None:
        if self._guest.viewer is None:
            self._close_with(Closed(_UNAUTHORIZED, "No token came in time"))

    def _close_with(self, closed: Closed) -> None:
        if self._reading is not None and not self._reading.done():
            self._closing = self._closing or closed
            self._reading.cancel()


def _with_token(headers: Mapping[bytes, bytes], message: Mapping[str, Any]) -> Mapping[bytes, bytes]:
    if message["type"] != "auth":
        return headers
    token = message.get("token")
    if not isinstance(token, str):
        raise Closed(_UNAUTHORIZED, "`token` must be text")
    return {**headers, b"authorization": b"Bearer " + token.encode("ascii", "replace")}


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        message = 'Send JSON objects with a `type`, like {"type": "subscribe", "channel": "all"}.'
        raise errors.BadUserInput(message)
    return found


def _version(task: bytes) -> int:
    found = _VERSION.match(task)
    assert found is not None
    return int(found[1])
