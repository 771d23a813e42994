"""Answers to bytes that never become a request: the protocol sends them itself, and closes the connection."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import orjson

from crm.core import errors

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refusal:
    """An HTTP status, a stable code, and a message with advice."""

    status: HTTPStatus
    code: str
    message: str
    headers: tuple[bytes, ...] = ()

    def written(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The whole answer as bytes."""
        body = orjson.dumps({"errors": [{"message": self.message, "extensions": {"code": self.code}}]})
        lines = [b"HTTP/1.1 %d %s" % (self.status, self.status.phrase.encode())]
        lines += [name + b": " + value for name, value in headers]
        lines += [
            *self.headers,
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"connection: close",
            b"",
            body,
        ]
        return b"\r\n".join(lines)


class Refused(Exception):
    """Raised within the parser's callbacks to end the parsing."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.message)


def log_refusal(refusal: Refusal, client: object) -> None:
    """Log a refusal; a filter passes few of these lines (crm/core/logs.py)."""
    _log.warning("connection refused", extra={"status": int(refusal.status), "why": refusal.message, "client": client})


_BAD: Final = errors.BadUserInput.code
_LARGE: Final = errors.TooLarge.code
_BAD_REQUEST: Final = HTTPStatus.BAD_REQUEST

NOT_HTTP = Refusal(_BAD_REQUEST, _BAD, "This is not a valid HTTP/1.1 request.")
NO_HOST = Refusal(_BAD_REQUEST, _BAD, "A request of HTTP/1.1 has one Host header.")
TWICE = Refusal(_BAD_REQUEST, _BAD, "Host, Authorization, Origin and Content-Type may be sent once each.")
CONNECT = Refusal(_BAD_REQUEST, _BAD, "This is no proxy: CONNECT is not taken.")
UPGRADE_WITH_BODY = Refusal(
    _BAD_REQUEST,
    _BAD,
    "A request with a body cannot ask for another protocol: leave out the Upgrade header (or turn HTTP/2 off).",
)
EARLY_FRAMES = Refusal(
    _BAD_REQUEST, _BAD, "The opening of a WebSocket has no body, and nothing follows before it is answered."
)
HANDSHAKE_IN_LINE = Refusal(_BAD_REQUEST, _BAD, "Open a WebSocket on a connection of its own.")
TOO_MANY_IN_LINE = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE, errors.Unavailable.code, "Too many requests wait for an answer on one connection."
)
OTHERS_OFFERED = Refusal(
    _BAD_REQUEST, _BAD, "To open a WebSocket, send `Upgrade: websocket` once, and nothing beside it."
)
OPENED_BY_ANOTHER_METHOD = Refusal(
    HTTPStatus.METHOD_NOT_ALLOWED, errors.MethodNotAllowed.code, "A WebSocket is opened by GET.", (b"allow: GET",)
)
NO_KEY = Refusal(_BAD_REQUEST, _BAD, "The opening of a WebSocket has one Sec-WebSocket-Key: 16 bytes in base64.")
NO_LIST = Refusal(_BAD_REQUEST, _BAD, "Sec-WebSocket-Protocol is a list of names, with commas between them.")
ANOTHER_VERSION = Refusal(
    HTTPStatus.UPGRADE_REQUIRED,
    _BAD,
    "The opening of a WebSocket has one Sec-WebSocket-Version: 13.",
    (b"upgrade: websocket", b"sec-websocket-version: 13"),
)
TRANSFER_ENCODED = Refusal(
    HTTPStatus.NOT_IMPLEMENTED,
    errors.UnsupportedMediaType.code,
    "Transfer-Encoding may be `chunked`, and nothing else.",
)
CONTENT_ENCODED = Refusal(
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.UnsupportedMediaType.code,
    "Send the body as it is: no Content-Encoding is taken.",
    (b"accept-encoding: identity",),
)
HEAD_TOO_LARGE = Refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _LARGE, "The request's head is too large: send fewer, shorter headers."
)
ADDRESS_TOO_LONG = Refusal(
    HTTPStatus.REQUEST_URI_TOO_LONG, _LARGE, "The request's address is too long: send a long document by POST or QUERY."
)
HEAD_TOO_LATE = Refusal(HTTPStatus.REQUEST_TIMEOUT, errors.Timeout.code, "The request's head did not come in time.")
BODY_TOO_LATE = Refusal(HTTPStatus.REQUEST_TIMEOUT, errors.Timeout.code, "The request's body did not come in time.")
NO_ROOM = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    errors.Unavailable.code,
    "Too many request bodies are under way (CRM_MAX_KEPT_BODY_BYTES): send fewer at once, each without a pause.",
)
UNWANTED = Refusal(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _LARGE, "The request was answered, and yet its body goes on: send less."
)
FULL = Refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    errors.Unavailable.code,
    "This server holds as many connections as it may (CRM_MAX_CONNECTIONS). Try again in a moment.",
)
