"""Requests that are not what they seem get exactly the answers that they must, and never a second one."""

import asyncio
import re

import pytest

from tests.web.protocol.hostile import CORPUS, SMUGGLED, request

LAST = request(b"Connection: close\r\n", line=b"GET /last HTTP/1.1")
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*(.*?)\r\n\r\n", re.DOTALL)


def answers(data):
    """The statuses of the answers that this is, one after the other."""
    found = []
    while data:
        head = STATUS.match(data)
        assert head, data[:200]
        status = int(head[1])
        length = re.search(rb"content-length: (\d+)", head[2], re.IGNORECASE)
        data = data[head.end() :]
        if length and not data.startswith(b"HTTP/1.1 "):  # else it is the answer to a HEAD
            data = data[int(length[1]) :]
        found.append(status)
    return tuple(found)


async def everything(reader):
    """What comes until the connection ends; that it ends by a reset is fine."""
    data = b""
    try:
        while piece := await reader.read(65536):
            data += piece
    except ConnectionError:
        pass
    return data


async def said_to(address, case):
    """The statuses that it is answered with; an error where the connection stays open, or what came is no HTTP."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        for packet in (*case.packets, *(() if case.closes else (LAST,))):
            writer.write(packet)
            await asyncio.sleep(0.05 if len(case.packets) > 1 else 0)
            for _ in range(3):  # what is answered is read before more is sent: a reset would discard it
                await asyncio.sleep(0)
        async with asyncio.timeout(4):  # less than the 5 s after which an idle connection is closed anyway
            return answers(await everything(reader))
    except (TimeoutError, AssertionError) as error:
        return repr(error)
    finally:
        writer.close()


@pytest.mark.parametrize("group", sorted({case.group for case in CORPUS}))
async def test_are_answered_as_they_must_be(group, server, echo):
    cases = [case for case in CORPUS if case.group == group]
    found = await asyncio.gather(*(said_to(server.address, case) for case in cases))
    expected = [case.statuses if case.closes else (*case.statuses, 200) for case in cases]
    names = [case.name for case in cases]
    assert dict(zip(names, found, strict=True)) == dict(zip(names, expected, strict=True))
    assert "/smuggled" not in echo.paths


def test_there_are_many():
    assert len(CORPUS) >= 60
    assert sum(SMUGGLED in b"".join(case.packets) for case in CORPUS) >= 30
