"""Checks of a request's head: it is refused if two programs could read it in two ways, or if it cannot be answered."""

from base64 import b64decode
from binascii import Error
from collections.abc import Sequence
from typing import Final

from websockets.exceptions import InvalidHeaderFormat
from websockets.headers import parse_subprotocol

from crm.web.protocol import refusal as refusals
from crm.web.protocol.refusal import Refused

Headers = Sequence[tuple[bytes, bytes]]

_VERSIONS: Final = frozenset({"1.0", "1.1"})
_SINGLE: Final = frozenset({b"host", b"authorization", b"origin", b"content-type"})
_NOT_ENCODED: Final = frozenset({b"", b"identity"})
# The websockets library takes no longer line.
_LONGEST_HANDSHAKE_LINE: Final = 8000
_KEY_BYTES: Final = 16
_WEBSOCKET: Final = b"websocket"


def check(headers: Headers, version: str) -> None:
    """Refuse a head that is ambiguous, or in an encoding that is not supported."""
    names = dict(headers)
    if len(names) != len(headers) and any(len(values(headers, name)) > 1 for name in _SINGLE):
        raise Refused(refusals.TWICE)
    if version not in _VERSIONS:
        raise Refused(refusals.NOT_HTTP)
    if b"host" not in names and version != "1.0":
        raise Refused(refusals.NO_HOST)
    if b"transfer-encoding" in names:
        if version == "1.0":
            raise Refused(refusals.NOT_HTTP)
        if values(headers, b"transfer-encoding") != [b"chunked"]:
            raise Refused(refusals.TRANSFER_ENCODED)
    if b"content-encoding" in names and not _NOT_ENCODED.issuperset(values(headers, b"content-encoding")):
        raise Refused(refusals.CONTENT_ENCODED)


def check_upgrade(headers: Headers, version: str) -> None:
    """Refuse an upgrade to a protocol other than WebSocket alone, unless the request can be answered without it."""
    if has_body(headers):
        raise Refused(refusals.UPGRADE_WITH_BODY)
    if version != "1.0" and _WEBSOCKET in offered(headers):
        raise Refused(refusals.OTHERS_OFFERED)


def check_opening(method: bytes, url: bytes, headers: Headers) -> None:
    """Refuse a WebSocket's opening that is invalid, or has a body."""
    if has_body(headers):
        raise Refused(refusals.EARLY_FRAMES)
    if method != b"GET":
        raise Refused(refusals.OPENED_BY_ANOTHER_METHOD)
    if max(len(url), *(len(name) + len(value) for name, value in headers)) > _LONGEST_HANDSHAKE_LINE:
        raise Refused(refusals.HEAD_TOO_LARGE)
    if not _is_key(values(headers, b"sec-websocket-key")):
        raise Refused(refusals.NO_KEY)
    if not all(map(_is_list, values(headers, b"sec-websocket-protocol"))):
        raise Refused(refusals.NO_LIST)
    if values(headers, b"sec-websocket-version") != [b"13"]:
        raise Refused(refusals.ANOTHER_VERSION)


def is_opening(headers: Headers, version: str) -> bool:
    """Whether a request asks for a WebSocket, and for no other protocol besides."""
    return offered(headers) == [_WEBSOCKET] and version == "1.1"


def offered(headers: Headers) -> list[bytes]:
    """The protocols in the Upgrade header."""
    return [protocol.strip() for value in values(headers, b"upgrade") for protocol in value.split(b",")]


def has_body(headers: Headers) -> bool:
    """Whether a body follows, or is announced."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 \t")) for name, value in headers
    )


def size(url: bytes, headers: Headers) -> int:
    """About the number of bytes of a head."""
    return len(url) + sum(len(name) + len(value) + 4 for name, value in headers)


def values(headers: Headers, wanted: bytes) -> list[bytes]:
    """A header's values, in lower case; names of headers are in lower case already."""
    return [value.strip().lower() for name, value in headers if name == wanted]


def _is_key(keys: Sequence[bytes]) -> bool:
    try:
        return len(keys) == 1 and len(b64decode(keys[0], validate=True)) == _KEY_BYTES
    except Error:
        return False


def _is_list(protocols: bytes) -> bool:
    """Whether the websockets library can read a list of protocols; its error would quote an invalid one."""
    try:
        parse_subprotocol(protocols.decode("latin-1"))
    except InvalidHeaderFormat:
        return False
    return True
