"""Input and output that all HTTP transports share: authentication, bodies, JSON and media types."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Final, NoReturn, Protocol, TypeVar

import orjson

from crm.core import errors
from crm.core.identity import Viewer
from crm.core.side_thread import SideThread

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Mapping[bytes, bytes]

T = TypeVar("T")

JSON: Final = b"application/json"
NO_SNIFFING: Final = (b"x-content-type-options", b"nosniff")
SAFE_HEADERS: Final = ((b"cache-control", b"no-store"), NO_SNIFFING)
# The bytes read of a body that is refused: enough for a mistake, too few to keep a server busy.
_MOST_DRAINED_BYTES: Final = 8 * 1024 * 1024
_MOST_DRAINED_SECONDS: Final = 2.0
MAX_PARTS: Final = 100_000
SMALL_BODY: Final = 16 * 1024
OWNER: Final = "owner"  # a body's or message's user, by whom the server shares out memory: crm/web/protocol/bodies.py
STREAM: Final = "stream"  # whether an answer goes on until the client ends it: crm/web/protocol/connection.py
_LONGEST_ACCEPT: Final = 1000
_CHARSETS: Final = frozenset({b"charset=utf-8", b'charset="utf-8"', b"charset=utf8"})


_Body = bytes | bytearray


class BrokenOff(errors.BadUserInput):
    """The request's body did not come to its end."""


class Authenticator(Protocol):
    """Identifies a request's viewer, and checks its origin."""

    async def viewer(self, headers: Headers) -> Viewer:
        """The request's viewer, or UNAUTHENTICATED."""

    def check_origin(self, headers: Headers) -> None:
        """Refuse a page of another origin, or a Host that is not this server's."""


async def body_of(scope: Scope, headers: Headers, receive: Receive, viewer: Viewer | None, most: int) -> _Body:
    """The request's body; one of more than `most` bytes is refused without being kept."""
    announced = headers.get(b"content-length", b"0").strip()
    if not announced.isdigit() or int(announced) > most:
        if headers.get(b"expect", b"").lower() != b"100-continue":  # else the client waits for a 100 before it sends
            await _drain(receive)
        refuse_size(most)
    message = await receive()
    if not message.get("more_body"):
        whole: bytes = message.get("body", b"")
        return whole
    scope.setdefault("state", {})[OWNER] = viewer and viewer.id
    body = bytearray(message.get("body", b""))
    while message.get("more_body") and len(body) <= most:
        message = await receive()
        body += message.get("body", b"")
    if len(body) > most:
        if message.get("more_body"):
            await _drain(receive)
        refuse_size(most)
    if message["type"] == "http.disconnect":
        raise BrokenOff
    return body


async def _drain(receive: Receive) -> None:
    """Read on without keeping anything: many clients read the answer only after they have sent everything."""
    left, more = _MOST_DRAINED_BYTES, True
    with suppress(TimeoutError):
        async with asyncio.timeout(_MOST_DRAINED_SECONDS):
            while more and left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                more = message.get("more_body", False)


def refuse_size(most: int) -> NoReturn:
    """Raise the error for a body that is too large."""
    message = f"The request is larger than {most:,} bytes."
    raise errors.TooLarge(message, limit=most)


def check_content_type(content_type: bytes) -> None:
    """Refuse any content type but JSON, which browsers do not send to another origin without asking first (CORS)."""
    if content_type == JSON:
        return
    media_type, *parameters = (part.strip() for part in content_type.lower().split(b";"))
    charsets = [part for part in parameters if part.startswith(b"charset")]
    if media_type != JSON or not _CHARSETS.issuperset(charsets):
        raise errors.UnsupportedMediaType


def has_many_parts(text: bytes | bytearray | str) -> bool:
    """Whether JSON takes long to parse: by the number of its braces, brackets and colons, in texts too.

    A list costs twenty times as much as a letter, and nothing can interrupt the parser.
    """
    if len(text) <= MAX_PARTS:
        return False
    counts = map(text.count, "{[:") if isinstance(text, str) else map(text.count, (b"{", b"[", b":"))
    return sum(counts) > MAX_PARTS


def loaded(text: bytes | bytearray, subject: str) -> Any:
    """The value of JSON text."""
    if has_many_parts(text):
        message = f"{subject} has more than {MAX_PARTS:,} braces, brackets and colons."
        raise errors.TooLarge(message, limit=MAX_PARTS)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        # orjson refuses halves of surrogate pairs, and numbers beyond a double; json accepts them, and a later check
        # names the field.
        return json.loads(text.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        message = f"{subject} is not JSON."
        raise errors.BadUserInput(message) from None


async def read_json(side: SideThread, viewer: Viewer, body: bytes | bytearray) -> Any:
    """The JSON of a large body. Parsing it takes some milliseconds, so large ones take turns on the event loop."""
    return await side.run_short(viewer.id, loaded, body, "The body")


def preferred(accept: bytes, offered: Mapping[bytes, T]) -> T | None:
    """What is offered for the client's preferred media type, the first of equals; None if it accepts none."""
    best, preferred_type = 0.0, None
    for accepted in (accept[:_LONGEST_ACCEPT] or b"*/*").lower().split(b","):
        media_type, *parameters = (part.strip() for part in accepted.split(b";"))
        weight = next((_weight(part[2:]) for part in parameters if part.startswith(b"q=")), 1.0)
        if media_type in offered and weight > best:
            best, preferred_type = weight, offered[media_type]
    return preferred_type


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _weight(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
