"""Requests that two programs could read in two ways, that never end, or that are not HTTP at all.

Each has the statuses that it is answered with, in order, and whether the connection is closed afterwards. A request
for /smuggled stands in a place where no request is.
"""

from dataclasses import dataclass, replace

HOST = b"Host: here\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: here\r\n\r\n"
KEY = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
SOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + KEY
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"


@dataclass(frozen=True)
class Case:
    name: str
    packets: tuple[bytes, ...]
    statuses: tuple[int, ...]
    closes: bool = True
    group: str = ""


def request(*headers, line=b"POST / HTTP/1.1", body=b"", host=HOST):
    return line + b"\r\n" + host + b"".join(headers) + b"\r\n" + body


def length(size):
    return b"Content-Length: %d\r\n" % size


CHUNKED = b"Transfer-Encoding: chunked\r\n"
GET = b"GET / HTTP/1.1"
OPEN = {"closes": False}


def case(name, packets, statuses, **options):
    packets = (packets,) if isinstance(packets, bytes) else tuple(packets)
    statuses = (statuses,) if isinstance(statuses, int) else tuple(statuses)
    return Case(name, packets, statuses, **options)


def upgrades():
    """`Upgrade:` ends a request at its head, as the parser sees it."""
    for name, kind in (("h2c", H2C), ("another", b"Connection: upgrade\r\nUpgrade: foo/2\r\n")):
        yield case(f"{name} with a body", request(kind, length(len(SMUGGLED)), body=SMUGGLED), 400)
        yield case(f"{name}, its body later", [request(kind, length(len(SMUGGLED))), SMUGGLED], 400)
        chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
        yield case(f"{name} with a chunked body", request(kind, CHUNKED, body=chunk), 400)
        yield case(f"{name} without a body", request(kind, line=GET), 200)
        yield case(f"{name} with an empty body", request(kind, length(0)), 200)
        yield case(f"{name}, and a request after it", request(kind, line=GET) + SMUGGLED, 200)
        yield case(f"{name}, and a request later", [request(kind, line=GET), SMUGGLED], 200)
        yield case(f"{name} that waits for leave", request(kind, length(3), b"Expect: 100-continue\r\n"), 400)
    many = b"Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n" + KEY
    yield case("two upgrades with a body", request(many, length(len(SMUGGLED)), body=SMUGGLED), 400)
    yield case("two upgrades", request(many, line=GET) + SMUGGLED, 400)
    twice = b"Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n" + KEY
    yield case("the same upgrade twice", request(twice, line=GET), 400)
    for offer in (b"websocket, h2c", b"h2c,websocket", b"h2c, WebSocket"):
        listed = b"Connection: upgrade\r\nUpgrade: " + offer + b"\r\n" + KEY
        yield case(f"a list of upgrades: {offer!r}", request(listed, line=GET), 400)
    shouted = b"CONNECTION: UPGRADE\r\nUPGRADE: H2C\r\n"
    yield case("in capitals, with a body", request(shouted, length(len(SMUGGLED)), body=SMUGGLED), 400)
    split = b"Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    yield case("two Connections, with a body", request(split, length(len(SMUGGLED)), body=SMUGGLED), 400)
    without = b"Upgrade: h2c\r\n"
    yield case("not named by Connection: a header like any", request(without, length(3), body=b"abc"), 200, **OPEN)
    yield case("not named by Connection, a websocket", request(b"Upgrade: websocket\r\n", KEY, line=GET), 200, **OPEN)
    old = request(H2C, length(len(SMUGGLED)), line=b"POST / HTTP/1.0", body=SMUGGLED)
    yield case("by HTTP/1.0, with a body", old, 400)
    yield case("a websocket by HTTP/1.0", request(SOCKET, line=b"GET / HTTP/1.0"), 200)


def handshakes():
    """A WebSocket's opening that is more than an opening."""
    yield case("with a body", request(SOCKET, length(len(SMUGGLED)), line=GET, body=SMUGGLED), 400)
    yield case("with a body later", [request(SOCKET, length(5), line=GET), b"hello"], 400)
    yield case("with a chunked body", request(SOCKET, CHUNKED, line=GET, body=b"0\r\n\r\n"), 400)
    yield case("with frames before the answer", request(SOCKET, line=GET, body=b"\x81\x80aaaa"), 400)
    yield case("with a request after it", request(SOCKET, line=GET) + SMUGGLED, 400)
    yield case("by POST", request(SOCKET), 405)
    yield case("by POST with a body", request(SOCKET, length(len(SMUGGLED)), body=SMUGGLED), 400)
    yield case("without a key", request(b"Connection: Upgrade\r\nUpgrade: websocket\r\n", line=GET), 400)
    for key in (b"AAAA", b"AAAAAAAAAAAAAAAAAAAAAA", b"not base64 at all!!!!!!!", b"\xff" * 24, b""):
        opening = request(SOCKET.replace(b"AAAAAAAAAAAAAAAAAAAAAA==", key), line=GET)
        yield case(f"with the key {key!r}", opening, 400)
    yield case("with two keys", request(SOCKET, KEY, line=GET), 400)
    yield case("of another version", request(SOCKET.replace(b"13", b"8"), line=GET), 426)
    yield case("with a protocol that is none", request(SOCKET, b"Sec-WebSocket-Protocol: a\tb,\r\n", line=GET), 400)
    yield case("with a long line", request(SOCKET, b"Cookie: " + b"a" * 9000 + b"\r\n", line=GET), 431)
    yield case(
        "while an answer is awaited", request(line=b"GET /slow HTTP/1.1") + request(SOCKET, line=GET), (200, 400)
    )
    yield case("with leave to be waited for", request(SOCKET, length(3), b"Expect: 100-continue\r\n", line=GET), 400)


def framing():
    """How long a body is must be said once, and plainly."""
    both = request(length(4), CHUNKED, body=b"0\r\n\r\n" + SMUGGLED)
    yield case("length and chunks", both, 400)
    yield case("chunks and length", request(CHUNKED, length(4), body=b"0\r\n\r\n" + SMUGGLED), 400)
    yield case("two lengths", request(length(3), length(40), body=b"abc" + SMUGGLED), 400)
    yield case("the same length twice", request(length(3), length(3), body=b"abc"), 400)
    for text in (b"3, 3", b"+3", b"-3", b"0x3", b"3 3", b"", b"9" * 40, b"3;"):
        yield case(f"length {text[:5]!r}", request(b"Content-Length: " + text + b"\r\n", body=b"abc" + SMUGGLED), 400)
    for text in (b"gzip, chunked", b"identity", b"xchunked", b"chunked, identity", b"chunked, chunked", b""):
        found = case(
            f"coding {text!r}", request(b"Transfer-Encoding: " + text + b"\r\n", body=b"0\r\n\r\n" + SMUGGLED), (400,)
        )
        known = text.endswith(b"chunked") and text != b"chunked, chunked"  # to the parser
        yield Case(found.name, found.packets, (501,)) if known or text == b"identity" else found
    for text in (b" chunked", b"\tchunked", b"ChUnKeD"):
        body = b"3\r\nabc\r\n0\r\n\r\n"
        yield case(f"coding {text!r}", request(b"Transfer-Encoding: " + text + b"\r\n", body=body), 200, **OPEN)
    yield case("two codings", request(CHUNKED, b"Transfer-Encoding: identity\r\n", body=b"0\r\n\r\n" + SMUGGLED), 400)
    yield case("chunks by HTTP/1.0", request(CHUNKED, line=b"POST / HTTP/1.0", body=b"0\r\n\r\n" + SMUGGLED), 400)
    for size in (b"-1", b"0x1", b"1 1", b"fffffffffffffffff", b"", b"g"):
        body = size + b"\r\nx\r\n0\r\n\r\n" + SMUGGLED
        yield case(f"a chunk of {size!r}", request(CHUNKED, body=body), 400)
    yield case("a chunk longer than it says", request(CHUNKED, body=b"1\r\nxyz\r\n0\r\n\r\n" + SMUGGLED), 400)
    yield case("chunks with bare line feeds", request(CHUNKED, body=b"1\nx\n0\n\n" + SMUGGLED), 400)
    yield case("an endless extension", request(CHUNKED, body=b"1;" + b"a" * 200_000), 431)
    yield case("an endless trailer", request(CHUNKED, body=b"0\r\nA: " + b"a" * 200_000), 431)
    yield case("many trailers", request(CHUNKED, body=b"0\r\n" + b"a:b\r\n" * 40_000), 431)
    for name in (b"Connection", b"Proxy-Connection"):
        ends = request(CHUNKED, body=b"1\r\nx\r\n0\r\n" + name + b": close\r\n\r\n")
        yield case(f"{name!r} as a trailer", ends, 200)
        yield case(f"{name!r} as a trailer, and a request", [ends, SMUGGLED], 200)
    yield case("trailers", request(CHUNKED, body=b"1\r\nx\r\n0\r\nHost: there\r\nA: b\r\n\r\n"), 200, **OPEN)


def heads():
    """Heads that are none."""
    yield case("bare line feeds", b"GET / HTTP/1.1\nHost: here\n\n" + SMUGGLED, 400)
    yield case("a folded header", request(b"X: a\r\n b\r\n", line=GET) + SMUGGLED, 400)
    yield case("a folded first header", b"GET / HTTP/1.1\r\n Host: here\r\n\r\n" + SMUGGLED, 400)
    yield case("a space before the colon", request(b"Content-Length : 3\r\n", body=b"abc"), 400)
    yield case("a name with a zero", request(b"X\x00: a\r\n", line=GET), 400)
    yield case("a value with a zero", request(b"X: a\x00b\r\n", line=GET), 400)
    yield case("a value with a carriage return", request(b"X: a\rb\r\n", line=GET), 400)
    yield case("a header without a colon", request(b"nonsense\r\n", line=GET), 400)
    yield case("no host", request(line=GET, host=b""), 400)
    yield case("two hosts", request(line=GET, host=HOST + b"Host: there\r\n"), 400)
    yield case("two tokens", request(b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n", line=GET), 400)
    yield case("two content types", request(b"Content-Type: a/b\r\ncontent-type: c/d\r\n", length(0)), 400)
    yield case("two cookies are fine", request(b"Cookie: a\r\nCookie: b\r\n", line=GET), 200, **OPEN)
    yield case("a head of 200 KB", request(b"X: " + b"a" * 200_000 + b"\r\n", line=GET), 431)
    yield case("a head of 70 KB", request(b"X: " + b"a" * 70_000 + b"\r\n", line=GET), 431)
    pieces = [GET + b"\r\n" + HOST, *[b"X: " + b"a" * 30_000 + b"\r\n"] * 3, b"\r\n"]
    yield case("a head of 90 KB in pieces", pieces, 431)
    yield case("a head of 90 KB in pieces, without its end", pieces[:-1], 431)
    trickle = [GET + b"\r\n" + HOST + b"X: ", *[b"a" * 30_000] * 3]
    yield case("a header of 90 KB in pieces, without its end", trickle, 431)
    yield case("an address of 70 KB", request(line=b"GET /" + b"a" * 70_000 + b" HTTP/1.1"), 414)
    yield case("a head of 60 KB is fine", request(b"X: " + b"a" * 60_000 + b"\r\n", line=GET), 200, **OPEN)
    yield case("10,000 headers", request(b"a:b\r\n" * 10_000, line=GET), 431)
    yield case("129 headers", request(b"a:b\r\n" * 128, line=GET), 431)
    yield case("128 headers are fine", request(b"a:b\r\n" * 127, line=GET), 200, **OPEN)
    yield case("empty lines without end", b"\r\n" * 50_000, 431)
    for line in (
        b"GET / HTTP/2.0",
        b"GET / HTTP/0.9",
        b"GET / HTTP/1.1 ",
        b"GET /",
        b"GET /\x00 HTTP/1.1",
        b"GET nowhere HTTP/1.1",
        b"NONSENSE / HTTP/1.1",
        b"get / HTTP/1.1",
    ):
        yield case(f"line {line!r}", request(line=line) + SMUGGLED, 400)
    yield case(
        "the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", 400
    )
    yield case("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 300, 400)
    yield case("CONNECT", request(line=b"CONNECT there:443 HTTP/1.1") + SMUGGLED, 400)
    yield case("CONNECT, and a request later", [request(line=b"CONNECT there:443 HTTP/1.1"), SMUGGLED], 400)
    yield case("CONNECT with a body", request(length(3), line=b"CONNECT there:443 HTTP/1.1", body=b"abc"), 400)
    for coding in (b"gzip", b"br", b"identity, gzip", b"GZIP"):
        packed = request(b"Content-Encoding: " + coding + b"\r\n", length(len(SMUGGLED)), body=SMUGGLED)
        yield case(f"content coding {coding!r}", packed, 415)
    for coding in (b"identity", b"Identity ", b""):
        plain = request(b"Content-Encoding: " + coding + b"\r\n", length(3), body=b"abc")
        yield case(f"content coding {coding!r}", plain, 200, **OPEN)
    yield case("two spaces", request(line=b"GET  / HTTP/1.1"), 200, **OPEN)
    yield case("OPTIONS of everything", request(line=b"OPTIONS * HTTP/1.1"), 200, **OPEN)
    yield case("the whole address", request(line=b"GET http://here/path?a=b HTTP/1.1"), 200, **OPEN)


def lines():
    """Requests one after the other."""
    yield case("three at once", request(line=GET) * 3, (200, 200, 200), **OPEN)
    yield case("three slow ones", request(line=b"GET /slow HTTP/1.1") * 3, (200, 200, 200), **OPEN)
    yield case("100 at once", request(line=b"GET /fast HTTP/1.1") * 100, (200,) * 5 + (503,))
    yield case("nonsense after a slow one", request(line=b"GET /slow HTTP/1.1") + b"nonsense\r\n\r\n", (200, 400))
    yield case(
        "a bad body after a slow one", request(line=b"GET /slow HTTP/1.1") + request(CHUNKED, body=b"zz"), (200, 400)
    )
    yield case("after the last one", request(b"Connection: close\r\n", line=GET) + SMUGGLED, 200)
    yield case("after the last one, later", [request(b"Connection: close\r\n", line=GET), SMUGGLED], 200)
    yield case("after one of HTTP/1.0", request(line=b"GET / HTTP/1.0") + SMUGGLED, 200)
    yield case(
        "HTTP/1.0 that would stay", request(b"Connection: keep-alive\r\n", line=b"GET / HTTP/1.0") + SMUGGLED, 200
    )
    yield case("HTTP/1.0 without a host", request(line=b"GET / HTTP/1.0", host=b""), 200)
    yield case("empty lines before it", b"\r\n\r\n" + request(line=GET), 200, **OPEN)
    yield case("a body by GET", request(length(len(SMUGGLED)), line=GET, body=SMUGGLED), 200, **OPEN)
    yield case("a body by HEAD", request(length(len(SMUGGLED)), line=b"HEAD / HTTP/1.1", body=SMUGGLED), 200, **OPEN)
    early = request(length(3), b"Expect: 100-continue\r\n")
    yield case("leave, and the body with it", early + b"abc", (100, 200), **OPEN)
    yield case("leave, and the body later", [early, b"abc"], (100, 200), **OPEN)


CORPUS = [
    replace(found, group=group.__name__) for group in (upgrades, handshakes, framing, heads, lines) for found in group()
]
