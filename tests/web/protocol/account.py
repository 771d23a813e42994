"""What a server keeps of bodies and messages, which is bounded."""

from crm.web.protocol import ClientLimits
from tests.support.waiting import eventually

KIB = 1024
SIZE = 256 * KIB
MOST = 16 * SIZE
# Of one user, and of a request that has not said yet whose it is.
HALF = MOST // 2 + SIZE
USUAL = ClientLimits(drain_seconds=0, body_bytes=MOST)


def kept(server):
    """What is counted, which is what the connections hold."""
    bodies = server.server_state.bodies
    assert bodies._total == sum(share.size for share in bodies._shares.values())  # noqa: SLF001
    return bodies._total  # noqa: SLF001


async def closed(server, connections):
    for _, writer in connections:
        writer.close()
    await eventually(lambda: not server.server_state.connections, 20)
    assert kept(server) == 0
    assert server.server_state.bodies._shares == {}  # noqa: SLF001
