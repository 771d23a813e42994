"""An application that answers with what it was asked, and remembers it."""

import asyncio
import json

from crm.web.protocol.bodies import OWNER

SECONDS = {"/slow": 0.2, "/fast": 0.01}


class Echo:
    def __init__(self):
        self.paths = []
        self.go_on = asyncio.Event()

    async def __call__(self, scope, receive, send):
        if scope["type"] == "websocket":
            scope["state"][OWNER] = "somebody"  # whose messages may be large
            await self._socket(receive, send)
            return
        self.paths.append(scope["path"])
        await asyncio.sleep(SECONDS.get(scope["path"], 0))
        if scope["path"] == "/waits":
            await self.go_on.wait()
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.paths.append("gone")
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        shown = {
            "path": scope["path"],
            "body": body.decode("latin-1"),
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
        }
        await answer(send, json.dumps(shown).encode())

    async def _socket(self, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.paths.append(f"closed {message.get('code')}")
                return
            await send({"type": "websocket.send", "text": message.get("text") or "bytes"})


async def answer(send, body, status=200):
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
