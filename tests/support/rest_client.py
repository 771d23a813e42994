"""Clients of AI tasks: over REST, and at /ws/ai-tasks."""

import asyncio
import json

from websockets.exceptions import ConnectionClosed

from crm.core.errors import ErrorCode

TASKS = "/api/ai/tasks"
NOBODY = "0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f10"
ECHO = {"taskType": "echo", "input": {"message": "Hej Åsa"}}


def refused(response, status, code="BAD_USER_INPUT"):
    """The problem document, which must have this status and code."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    problem = response.json()
    assert (problem["type"], problem["status"], problem["code"]) == (f"urn:crm:problem:{code}", status, code)
    assert code in ErrorCode.__members__
    assert 0 < len(problem["title"]) < 50
    assert problem["detail"]
    return problem


class Live:
    """A client of /ws/ai-tasks, in as few lines as it takes."""

    def __init__(self, raw):
        self.raw = raw

    async def send(self, **message):
        await self.raw.send(json.dumps(message))

    async def receive(self, timeout=8):
        return json.loads(await asyncio.wait_for(self.raw.recv(), timeout))

    async def until(self, kind, timeout=10, **wanted):
        """The first message of a type (whose task has these values), and all before it."""
        before = []
        async with asyncio.timeout(timeout):
            while True:
                message = json.loads(await self.raw.recv())
                task = message.get("task", {})
                if message["type"] == kind and all(task.get(name) == value for name, value in wanted.items()):
                    return message, before
                before.append(message)

    async def subscribe(self, channel, key=None):
        await self.send(type="subscribe", channel=channel, **({} if key is None else {"id": key}))
        message, _ = await self.until("subscribed")
        assert message["channel"] == channel
        assert message.get("id") == key

    async def closed(self, timeout=10, kinds=None):
        """The code and the reason that the server closes with, whatever it sends before; of what kinds that is."""
        kinds = [] if kinds is None else kinds
        async with asyncio.timeout(timeout):
            try:
                while True:
                    kinds.append(json.loads(await self.raw.recv())["type"])
            except ConnectionClosed as closed:
                return closed.rcvd.code, closed.rcvd.reason
