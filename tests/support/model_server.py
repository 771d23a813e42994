"""A model's server on a real socket: OpenAI's Chat Completions over HTTP, saying (or doing) what a test tells it to.

model_server.will(good({"tasks": []}))              # for every request from now on
model_server.will(status(500), good("..."))         # one after another; the last one stays
model_server.requests                               # what was asked: .body (parsed), .headers, .path
OPENAI_BASE_URL=model_server.url                    # where it listens
"""

import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# A hanging server lets go after this long at the latest, so that no thread outlives the tests.
LONGEST = 60.0


@dataclass
class Asked:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float = field(default_factory=time.monotonic)


Behaviour = Callable[["_Handler"], None]


class ModelServer:
    def __init__(self, port: int = 0) -> None:
        self.requests: list[Asked] = []
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._behaviours: list[Behaviour] = []
        self._http = _Http(("127.0.0.1", port), _Handler)
        self._http.owner = self
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def will(self, *behaviours: Behaviour) -> None:
        with self._lock:
            self._behaviours = list(behaviours)

    def reset(self) -> None:
        """Forget what was asked, and let those go that hang."""
        self.stopping.set()
        with self._lock:
            self.requests = []
            self._behaviours = []
        self.stopping = threading.Event()

    def stop(self) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._http.server_close()

    def next(self, asked: Asked) -> Behaviour:
        with self._lock:
            self.requests.append(asked)
            if not self._behaviours:
                return status(501, "this test did not say what to answer")
            return self._behaviours.pop(0) if len(self._behaviours) > 1 else self._behaviours[0]


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    owner: ModelServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.owner.next(Asked(self.path, headers, json.loads(body)))(self)

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def answer(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def wait(self, seconds: float) -> None:
        self.server.owner.stopping.wait(min(seconds, LONGEST))


# What it may do


def completion(
    content: Any,
    *,
    finish_reason: str | None = "stop",
    refusal: str | None = None,
    usage: dict[str, Any] | None = None,
    model: str = "test-model",
) -> dict[str, Any]:
    """The body of a completion; `content` that is not text is written as JSON."""
    text = content if isinstance(content, str) or content is None else json.dumps(content)
    return {
        "id": "gen-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [
            {
                "index": 0,
                "finish_reason": finish_reason,
                "message": {"role": "assistant", "content": text, "refusal": refusal},
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120} if usage is None else usage,
    }


def good(content: Any, *, cost: float | None = 0.001, after: float = 0, **options: Any) -> Behaviour:
    """A completion, as OpenRouter bills it (`cost=None`: as others do, without a price)."""

    def behave(handler: _Handler) -> None:
        handler.wait(after)
        body = completion(content, **options)
        if cost is not None and isinstance(body["usage"], dict):
            body["usage"]["cost"] = cost
        handler.answer(200, json.dumps(body).encode())

    return behave


CALL = {"title": "Call them", "reasoning": "They have waited for a week.", "dueDate": "2030-01-01"}


class Thinking:
    """A behaviour: take the question, and answer well once told to."""

    def __init__(self, content: Any) -> None:
        self.asked = threading.Event()
        self.go_on = threading.Event()
        self._answer = good(content)

    def __call__(self, handler: _Handler) -> None:
        self.asked.set()
        self.go_on.wait(LONGEST)
        self._answer(handler)


def raw(body: Any, status: int = 200, kind: str = "application/json", **headers: str) -> Behaviour:
    """Any body: bytes as they are, else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda handler: handler.answer(status, content, kind, **headers)


def status(code: int, message: str = "no", **headers: str) -> Behaviour:
    """An HTTP error, as OpenAI and OpenRouter word them."""
    return raw({"error": {"code": code, "message": message}}, code, **headers)


def error_in_200(code: int | str, message: str = "upstream is gone", usage: dict[str, Any] | None = None) -> Behaviour:
    """An error that came too late for a status."""
    return raw({"error": {"code": code, "message": message}, "choices": None, "usage": usage})


def hang(seconds: float = LONGEST) -> Behaviour:
    """Take the question, and say nothing."""
    return lambda handler: handler.wait(seconds)


def drip(content: Any, every: float = 0.1) -> Behaviour:
    """A good answer, byte by byte: something always comes, and it never ends."""

    def behave(handler: _Handler) -> None:
        body = json.dumps(completion(content)).encode()
        stopping = handler.server.owner.stopping
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        for byte in body:
            if stopping.wait(every):
                return
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()

    return behave


def endless(part: bytes = b" " * 65536) -> Behaviour:
    """A body that never ends, as fast as it will go."""

    def behave(handler: _Handler) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(10**12))
        handler.end_headers()
        while not handler.server.owner.stopping.is_set():
            handler.wfile.write(part)

    return behave


def reset(after: bytes = b"") -> Behaviour:
    """Reset the connection (RST), after these bytes of an answer."""

    def behave(handler: _Handler) -> None:
        if after:
            handler.wfile.write(after)
            handler.wfile.flush()
            time.sleep(0.05)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(handler.connection.detach())  # `close` would wait for the files made of it

    return behave


def garbage(content: bytes = b"\x00\xff\xfe not HTTP at all \x80\r\n\r\n") -> Behaviour:
    """Bytes that are not HTTP."""

    def behave(handler: _Handler) -> None:
        handler.wfile.write(content)
        handler.wfile.flush()
        handler.close_connection = True

    return behave
