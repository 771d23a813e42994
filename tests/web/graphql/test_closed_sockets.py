"""What a closed socket held is freed at its end: the collector comes by after a million objects."""

import asyncio
import gc

import pytest

from crm.access.tokens import Tokens
from crm.core.settings import Settings
from crm.db.database import Database
from crm.graph.run.engine import Engine
from crm.schema import schema
from crm.web.authentication import TokenAuthenticator
from crm.web.graphql.websocket import GraphQLWebSocket
from crm.web.protocol.websocket import WebSocket
from tests.support.servers import SECRET
from tests.support.waiting import eventually
from tests.support.websockets import signed_in
from tests.web.protocol.conftest import serving

SOCKETS = 20


@pytest.fixture
async def sockets(database_url):
    database = Database(database_url, size=2)
    app = GraphQLWebSocket(
        Engine(schema, database, Settings()), TokenAuthenticator(Tokens(SECRET, database), frozenset())
    )
    async with serving(app) as running:
        yield running
    database.close()


@pytest.mark.usefixtures("uncollected")
async def test_without_the_collector(sockets, server):
    url, token = "http://{}:{}".format(*sockets.address), server.token()
    clients = [await signed_in(url, token) for _ in range(SOCKETS)]
    for client in clients:
        client.transport.abort()
    clients.clear()
    del client
    await eventually(lambda: not sockets.server_state.connections)
    await asyncio.sleep(0.2)
    left = [one for one in gc.get_objects() if type(one) is WebSocket]
    assert len(left) <= 1  # the last that was looked at
