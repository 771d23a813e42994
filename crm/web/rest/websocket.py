"""The WebSocket of AI tasks: `aiTaskUpdated` and `aiTaskQueueUpdated` for clients that speak no GraphQL.

docs/guides/ai-tasks.md describes the messages.
"""

import re
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import aclosing
from typing import Any, ClassVar, Final

import orjson

from crm.core import errors
from crm.core.identity import Viewer
from crm.graph.live.event_filter import Parts
from crm.graph.run.answers import known_error, rendered
from crm.graph.run.engine import Engine
from crm.web.http_io import Authenticator, Headers, Message, Receive, Scope, Send
from crm.web.rest.outbox import Outbox
from crm.web.rest.table import AI_TASKS
from crm.web.rest.topic import Topic, echoed
from crm.web.session import TOO_LARGE, UNAUTHORIZED, Closed, Session, Socket

PROTOCOL: Final = "crm.ai-tasks"
_BEARER: Final = "bearer."
_TOO_SLOW: Final = 4408
_POLICY: Final = 1008
_LARGEST_MESSAGE: Final = 16 * 1024
_MOST_MISTAKES: Final = 100
_VERSION: Final = re.compile(rb'\{\s*"id"\s*:\s*"[^"]*"\s*,\s*"version"\s*:\s*([0-9]+)')


class AiTaskWebSocket:
    """Answers WebSockets at one address."""

    def __init__(self, engine: Engine, authenticator: Authenticator) -> None:
        self._engine = engine
        self._authenticator = authenticator
        self._feeds = Feeds(engine)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket, from its opening to its end."""
        socket = await Socket.accepted(scope, receive, send, self._authenticator, PROTOCOL)
        if socket is not None:
            _take_offered_token(socket)
            await _AiTaskSession(self._feeds, self._authenticator, socket).run()


class Feeds:
    """The operations behind the topics."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.tasks = AI_TASKS["AiTaskFeed"].checked(engine)
        self.queue = AI_TASKS["AiTaskQueueFeed"].checked(engine)


class _AiTaskSession(Session[Topic]):
    """One client's session."""

    # A client that does not read gets the code if it reads again within this time.
    farewell_seconds: ClassVar[float | None] = 10.0

    def __init__(self, feeds: Feeds, authenticator: Authenticator, socket: Socket) -> None:
        super().__init__(socket, authenticator, feeds.engine.settings)
        self._feeds = feeds
        self._outbox = Outbox(
            socket.send,
            self.settings.websocket_buffer_bytes,
            lambda: self.close_with(Closed(_TOO_SLOW, "You read more slowly than things happen")),
            takes_utf8=socket.takes_utf8,
        )
        self._mistakes = 0

    def helpers(self) -> Iterable[Coroutine[Any, Any, None]]:
        """Send messages while others are received."""
        return (self._outbox.run(),)

    async def opened(self) -> None:
        """Sign the user in, if the token came with the opening."""
        if b"authorization" in self.socket.headers:
            await self._sign_in(self.socket.headers)

    async def hear(self, message: Message) -> None:
        """Act on a message; an error in it is sent to the client."""
        text = message.get("text") or ""
        if len(text) > _LARGEST_MESSAGE:
            raise Closed(TOO_LARGE, f"A message has {_LARGEST_MESSAGE:,} characters at most")
        parsed: dict[str, Any] = {}
        try:
            parsed = _parsed(text)
            await self._handle(parsed)
        except errors.CrmError as error:
            self._refuse(error, echoed(parsed))

    async def _handle(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "ping":
            self._put({"type": "pong"})
            return
        if kind == "pong":
            return
        if self.user.viewer is None:
            await self._sign_in(_with_token(self.socket.headers, message))
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

    async def _sign_in(self, headers: Headers) -> None:
        viewer = await self.enter(headers)
        self._put({"type": "ready", "user": str(viewer.id), "role": viewer.role.name})

    def _subscribe(self, topic: Topic) -> None:
        if topic in self.operations:
            self._put({"type": "subscribed", **topic.named})
        elif len(self.operations) >= self.settings.websocket_operations:
            most = self.settings.websocket_operations
            msg = f"At most {most} subscriptions on one socket."
            raise errors.TooComplex(msg, limit=most)
        else:
            self.begin(topic, self._follow(topic))

    def _unsubscribe(self, topic: Topic) -> None:
        self.cancel(topic)
        self._put({"type": "unsubscribed", **topic.named})

    async def _follow(self, topic: Topic) -> None:
        try:
            viewer = await self.user.current()
            if topic.channel == "queue":
                await self._follow_queue(topic, viewer)
            else:
                await self._follow_tasks(topic, viewer)
        except Exception as error:  # noqa: BLE001  (whatever it is, the client gets a clear error)
            self._refuse(known_error(error), topic.named)
        finally:
            self.ended(topic)

    async def _follow_queue(self, topic: Topic, viewer: Viewer) -> None:
        feed = self._feeds.queue
        self._put({"type": "subscribed", **topic.named})
        async with aclosing(self._feeds.engine.subscribe(feed.named.request(), viewer, room=self.room)) as answers:
            async for _, figures, _ in answers:
                self._outbox.put(*topic.message("queue.status", "queue", figures))

    async def _follow_tasks(self, topic: Topic, viewer: Viewer) -> None:
        engine, feed = self._feeds.engine, self._feeds.tasks
        since = await engine.feed.now()
        events = engine.subscribe(feed.named.request(topic.variables), viewer, since=since, room=self.room)
        async with aclosing(events) as answers:
            if topic.channel == "task":
                await self._follow_one(topic, answers)
                return
            self._put({"type": "subscribed", **topic.named})
            async for _, task, _ in answers:
                self._outbox.put(*topic.message("task.updated", "task", task))

    async def _follow_one(self, topic: Topic, answers: AsyncIterator[Parts]) -> None:
        """Send the task's present state first, which shows that it exists and is visible. No state is sent twice."""
        sent_version = -1
        async for _, task, _ in answers:
            if sent_version < 0:
                self._put({"type": "subscribed", **topic.named})
            if _version(task) > sent_version:
                sent_version = _version(task)
                self._outbox.put(*topic.message("task.updated", "task", task))

    def _refuse(self, error: errors.CrmError, named: Mapping[str, Any]) -> None:
        problem = rendered(error)
        if problem["extensions"]["code"] == errors.BadUserInput.code:
            self._mistakes += 1
        if self._mistakes > _MOST_MISTAKES:
            self.close_with(Closed(_POLICY, f"More than {_MOST_MISTAKES} messages that mean nothing"))
        else:
            self._put({"type": "error", "message": problem["message"], **named, **problem["extensions"]})

    def _put(self, message: dict[str, Any]) -> None:
        self._outbox.put(orjson.dumps(message))


def _take_offered_token(socket: Socket) -> None:
    """Take a token offered as a subprotocol: pages cannot send a header with a WebSocket's opening."""
    offered = socket.scope.pop("subprotocols", None) or []
    token = next((name.removeprefix(_BEARER) for name in offered if name.startswith(_BEARER)), None)
    if token is not None and b"authorization" not in socket.headers:
        socket.headers[b"authorization"] = b"Bearer " + token.encode("ascii", "replace")


def _with_token(headers: Headers, message: Mapping[str, Any]) -> Headers:
    if message["type"] != "auth":
        return headers
    token = message.get("token")
    if not isinstance(token, str):
        raise Closed(UNAUTHORIZED, "`token` must be text")
    return {**headers, b"authorization": b"Bearer " + token.encode("ascii", "replace")}


def _parsed(text: str) -> dict[str, Any]:
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        parsed = None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("type"), str):
        message = 'Send JSON objects with a `type`, like {"type": "subscribe", "channel": "all"}.'
        raise errors.BadUserInput(message)
    return parsed


def _version(task: bytes) -> int:
    match = _VERSION.match(task)
    assert match is not None
    return int(match[1])
