"""The subscription `changes`, over real sockets."""

import asyncio
import json
from contextlib import asynccontextmanager
from functools import partial

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from tests.support.websockets import GRAPHQL_WS

pytestmark = pytest.mark.waits(25)

CHANGES = """
subscription Changes($after: String, $leadId: Int, $types: [String!]) {
  changes(after: $after, leadId: $leadId, types: $types) {
    cursor type entity entityId entityNodeId fields { name before after } task { title }
  }
}
"""
CREATE = "mutation($lead: Int!, $title: String!) { createTask(input: {leadId: $lead, title: $title}) { id nodeId } }"


class Socket:
    """A graphql-transport-ws client, in as few lines as it takes."""

    def __init__(self, raw):
        self.raw = raw

    async def send(self, **message):
        await self.raw.send(json.dumps(message))

    async def receive(self, timeout=5):
        return json.loads(await asyncio.wait_for(self.raw.recv(), timeout))

    async def subscribe(self, query=CHANGES, key="1", **variables):
        await self.send(id=key, type="subscribe", payload={"query": query, "variables": variables})

    async def change(self, timeout=5):
        message = await self.receive(timeout)
        assert message["type"] == "next", message
        return message["payload"]["data"]["changes"]

    async def closed(self, kinds=None):
        """The code that the server closes with, whatever it sends before; of what kinds that is."""
        kinds = [] if kinds is None else kinds
        try:
            while True:
                kinds.append((await self.receive(12))["type"])
        except ConnectionClosed as closed:
            return closed.rcvd.code

    async def silence(self, seconds=0.3):
        with pytest.raises(TimeoutError):
            await self.receive(seconds)


@pytest.fixture
def open_socket(server, db):  # noqa: ARG001
    @asynccontextmanager
    async def opened(*, token=None, init=True, **options):
        options.setdefault("subprotocols", ["graphql-transport-ws"])
        async with connect(server.url.replace("http", "ws") + "/graphql", **options) as raw:
            socket = Socket(raw)
            if init:
                await socket.send(
                    type="connection_init", payload={"Authorization": f"Bearer {token or server.token()}"}
                )
                assert (await socket.receive())["type"] == "connection_ack"
            yield socket

    return opened


async def _settle(*sockets):
    """Until the subscriptions that were just sent have their places in the stream: a query that came later is answered.

    A moment more, since nothing says so for certain.
    """
    for socket in sockets:
        await socket.subscribe("{ me { id } }", key="later")
        kinds = [(await socket.receive(30))["type"] for _ in range(2)]
        assert kinds == ["next", "complete"]
    await asyncio.sleep(0.15)


class TestChanges:
    async def test_shows_a_write_as_it_happens(self, open_socket, graphql, make_lead):
        lead = make_lead()
        async with open_socket() as socket:
            await socket.subscribe()
            await _settle(socket)
            created = (await graphql(CREATE, lead=lead["id"], title="Ring Åsa"))["createTask"]
            change = await socket.change()
        assert change["type"] == "task.created"
        assert (change["entity"], change["entityId"]) == ("TASK", created["id"])
        assert change["entityNodeId"] == created["nodeId"]
        assert {"name": "title", "before": None, "after": "Ring Åsa"} in change["fields"]
        assert change["task"] == {"title": "Ring Åsa"}

    async def test_a_client_that_was_away_misses_nothing(self, open_socket, graphql, make_lead):
        lead = make_lead()
        async with open_socket() as socket:
            await socket.subscribe()
            await _settle(socket)
            await graphql(CREATE, lead=lead["id"], title="0")
            last = (await socket.change())["cursor"]
        for number in range(1, 6):
            await graphql(CREATE, lead=lead["id"], title=str(number))
        async with open_socket() as socket:
            await socket.subscribe(after=last)
            titles = [(await socket.change())["task"]["title"] for _ in range(5)]
            await graphql(CREATE, lead=lead["id"], title="6")
            titles.append((await socket.change())["task"]["title"])
            await socket.silence()
        assert titles == ["1", "2", "3", "4", "5", "6"]

    async def test_begins_where_a_list_was_read_and_misses_nothing(self, open_socket, graphql, make_lead, database_url):
        """A transaction that was open at the read, and began before others that it shows, is told; nothing else."""
        import psycopg  # noqa: PLC0415

        lead = make_lead()
        read = "query($id: Int!) { lead(id: $id) { tasks { title } } changeStream { cursor } }"
        await graphql(CREATE, lead=lead["id"], title="before")
        idle = await graphql(read, id=lead["id"])
        async with open_socket() as socket, await psycopg.AsyncConnection.connect(database_url) as slow:
            await slow.execute("INSERT INTO tasks (title, lead_id) VALUES ('slow', %s)", (lead["id"],))
            await slow.execute(
                "INSERT INTO events (type, entity, entity_id, lead_id) VALUES ('task.created', 'task', '0', %s)",
                (lead["id"],),
            )
            await graphql(CREATE, lead=lead["id"], title="shown")
            shown = await graphql(read, id=lead["id"])
            assert {task["title"] for task in shown["lead"]["tasks"]} == {"before", "shown"}
            await slow.commit()
            for start in (idle, shown):
                await socket.subscribe(after=start["changeStream"]["cursor"], key=start["changeStream"]["cursor"])
                changes = [await socket.change() for _ in range(2)]
                assert [(change["task"] or {}).get("title") for change in changes] == [None, "shown"]
            await socket.silence()

    @pytest.mark.usefixtures("db")
    async def test_begins_at_the_end_of_an_empty_stream(self, open_socket, graphql, make_lead):
        start = (await graphql("{ changeStream { cursor } }"))["changeStream"]["cursor"]
        lead = make_lead()
        await graphql(CREATE, lead=lead["id"], title="first")
        async with open_socket() as socket:
            await socket.subscribe(after=start)
            assert (await socket.change())["task"]["title"] == "first"

    async def test_can_be_narrowed_to_a_lead_and_to_types(self, open_socket, graphql, make_lead):
        mine, other = make_lead(), make_lead()
        async with open_socket() as socket:
            await socket.subscribe(leadId=mine["id"], types=["task.created"])
            await _settle(socket)
            await graphql(CREATE, lead=other["id"], title="not mine")
            await graphql("mutation($id: Int!) { deleteLead(id: $id) { id } }", id=other["id"])
            await graphql(CREATE, lead=mine["id"], title="mine")
            assert (await socket.change())["task"]["title"] == "mine"
            await socket.silence()

    async def test_many_sockets_get_the_same(self, open_socket, graphql, make_lead):
        lead = make_lead()
        async with open_socket() as one, open_socket() as two:
            for socket in (one, two):
                await socket.subscribe()
            await _settle(one, two)
            for number in range(20):
                await graphql(CREATE, lead=lead["id"], title=str(number))
            for socket in (one, two):
                assert [(await socket.change())["task"]["title"] for _ in range(20)] == [str(n) for n in range(20)]

    async def test_waits_for_a_transaction_that_is_still_open(self, open_socket, graphql, make_lead, database_url):
        """An event that commits late must not fall behind a cursor that has passed it."""
        import psycopg  # noqa: PLC0415

        lead = make_lead()
        async with open_socket() as socket, await psycopg.AsyncConnection.connect(database_url) as slow:
            await socket.subscribe()
            await _settle(socket)
            await slow.execute(
                "INSERT INTO events (type, entity, entity_id, lead_id) VALUES ('lead.updated', 'lead', '1', %s)",
                (lead["id"],),
            )
            await graphql(CREATE, lead=lead["id"], title="overtakes")
            await socket.silence(0.5)
            await slow.commit()
            assert [(await socket.change())["type"] for _ in range(2)] == ["lead.updated", "task.created"]

    async def test_says_nothing_of_demo_data(self, open_socket, graphql, make_lead, db):
        """It did not happen when it was loaded; a timeline shows it."""
        lead = make_lead()["id"]
        async with open_socket() as socket:
            await socket.subscribe()
            await _settle(socket)
            db.execute(
                "INSERT INTO events (type, entity, entity_id, lead_id, via) "
                "VALUES ('lead.updated', 'lead', %s::text, %s, 'demo')",
                [lead, lead],
            )
            await graphql(CREATE, lead=lead, title="by hand")
            assert (await socket.change())["type"] == "task.created"
        data = await graphql("query($id: Int!) { lead(id: $id) { timeline { type via } } }", id=lead)
        assert {"type": "lead.updated", "via": "DEMO"} in data["lead"]["timeline"]

    async def test_refuses_a_cursor_that_is_none(self, open_socket):
        async with open_socket() as socket:
            await socket.subscribe(after="nonsense")
            message = await socket.receive()
        assert message["type"] == "error"
        assert message["payload"][0]["extensions"] == {"code": "BAD_USER_INPUT", "field": "after"}

    async def test_refuses_a_type_that_no_change_has_and_names_those_there_are(self, open_socket):
        async with open_socket() as socket:
            await socket.subscribe(types=["task.created", "task.made"])
            error = (await socket.receive())["payload"][0]
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "field": "types"}
        assert "`task.made`" in error["message"]
        assert "task.deleted" in error["message"]

    async def test_refuses_a_cursor_of_another_stream(self, open_socket):
        async with open_socket() as socket:
            await socket.subscribe(after="7e5ab7ba-52ee-4f25-9a1a-7cf8a70a1d21.1.1")
            message = await socket.receive()
        assert message["payload"][0]["extensions"]["code"] == "CURSOR_EXPIRED"

    async def test_ends_when_the_client_completes_it(self, open_socket, graphql, make_lead):
        lead = make_lead()
        async with open_socket() as socket:
            await socket.subscribe()
            await _settle(socket)
            await socket.send(id="1", type="complete")
            await asyncio.sleep(0.1)
            await graphql(CREATE, lead=lead["id"], title="unheard")
            await socket.silence()
            await socket.subscribe(key="1")
            await _settle(socket)
            await graphql(CREATE, lead=lead["id"], title="heard")
            assert (await socket.change())["task"]["title"] == "heard"


class TestProtocol:
    async def test_answers_queries_and_mutations(self, open_socket, make_lead):
        lead = make_lead(first_name="Åsa")
        async with open_socket() as socket:
            await socket.subscribe("query($id: Int!) { lead(id: $id) { firstName } }", id=lead["id"])
            assert (await socket.receive())["payload"] == {"data": {"lead": {"firstName": "Åsa"}}}
            assert await socket.receive() == {"id": "1", "type": "complete"}
            await socket.subscribe(CREATE, lead=lead["id"], title="By socket")
            assert (await socket.receive())["payload"]["data"]["createTask"]["id"]

    async def test_sends_errors_of_a_bad_operation(self, open_socket):
        async with open_socket() as socket:
            await socket.subscribe("{ nothing }")
            message = await socket.receive()
        assert (message["id"], message["type"]) == ("1", "error")
        assert message["payload"][0]["extensions"]["code"] == "BAD_USER_INPUT"

    async def test_answers_a_ping(self, open_socket):
        async with open_socket() as socket:
            await socket.send(type="ping")
            assert await socket.receive() == {"type": "pong"}

    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("[]", 4400),
            ("1", 4400),
            ("null", 4400),
            ("not json", 4400),
            ("{}", 4400),
            ('{"type": "hello"}', 4400),
            ('{"type": ["ping"]}', 4400),
            ('{"type": "connection_init"}', 4429),
            ('{"type": "subscribe", "id": [1], "payload": {"query": "{ me { id } }"}}', 4400),
            ('{"type": "subscribe", "id": "1", "payload": null}', 4400),
            ('{"type": "subscribe", "id": "1", "payload": {"query": 5}}', 4400),
            ('{"type": "subscribe", "id": "1", "payload": {"query": "{ me { id } }", "variables": []}}', 4400),
            ('{"type": "complete"}', 4400),
            ("[" * 100_000, 4400),
        ],
    )
    async def test_closes_on_garbage(self, open_socket, text, code):
        async with open_socket() as socket:
            await socket.raw.send(text)
            with pytest.raises(ConnectionClosed) as closed:
                await socket.receive()
        assert closed.value.rcvd.code == code

    async def test_closes_on_bytes(self, open_socket):
        async with open_socket() as socket:
            await socket.raw.send(b"\x00\xff")
            with pytest.raises(ConnectionClosed) as closed:
                await socket.receive()
        assert closed.value.rcvd.code == 4400

    async def test_closes_when_an_id_is_used_twice(self, open_socket):
        async with open_socket() as socket:
            await socket.subscribe()
            await socket.subscribe()
            closed = await socket.closed()
        assert closed == 4409

    @pytest.mark.parametrize("payload", [{}, {"payload": {"Authorization": "Bearer no.token.of.ours"}}])
    async def test_needs_a_token(self, open_socket, payload):
        """4401 is final for clients (npm's graphql-ws); after 4403 it tries again for 13 s."""
        async with open_socket(init=False) as socket:
            await socket.send(type="connection_init", **payload)
            with pytest.raises(ConnectionClosed) as closed:
                await socket.receive()
        assert closed.value.rcvd.code == 4401

    async def test_takes_no_expired_token(self, open_socket, server):
        async with open_socket(init=False) as socket:
            token = f"Bearer {server.token(lifetime=-60)}"
            await socket.send(type="connection_init", payload={"Authorization": token})
            with pytest.raises(ConnectionClosed) as closed:
                await socket.receive()
        assert closed.value.rcvd.code == 4401

    async def test_takes_the_token_from_the_upgrade(self, open_socket, server):
        headers = {"Authorization": f"Bearer {server.token()}"}
        async with open_socket(init=False, additional_headers=headers) as socket:
            await socket.send(type="connection_init")
            assert (await socket.receive())["type"] == "connection_ack"

    async def test_wants_the_init_first(self, open_socket):
        async with open_socket(init=False) as socket:
            await socket.subscribe()
            with pytest.raises(ConnectionClosed) as closed:
                await socket.receive()
        assert closed.value.rcvd.code == 4401

    async def test_closes_when_the_token_expires(self, open_socket, server):
        async with open_socket(token=server.token(lifetime=2)) as socket:
            with pytest.raises(ConnectionClosed) as closed:
                await socket.receive()
        assert closed.value.rcvd.code == 4401

    async def test_speaks_no_older_protocol(self, open_socket):
        async with open_socket(init=False, subprotocols=None) as socket:
            with pytest.raises(ConnectionClosed) as closed:
                await socket.receive()
        assert closed.value.rcvd.code == 4406

    async def test_refuses_pages_of_other_origins(self, server, db):  # noqa: ARG002
        with pytest.raises(Exception, match="403"):
            async with connect(
                server.url.replace("http", "ws") + "/graphql",
                subprotocols=[GRAPHQL_WS],
                origin=Origin("https://evil.example"),
            ):
                pass

    async def test_a_viewer_writes_nothing(self, open_socket, server, make_lead):
        async with open_socket(token=server.token("viewer")) as socket:
            await socket.subscribe(CREATE, lead=make_lead()["id"], title="no")
            message = await socket.receive()
        assert message["payload"]["errors"][0]["extensions"]["code"] == "FORBIDDEN"


class TestSize:
    async def test_refuses_a_message_that_is_larger_than_a_body_may_be(self, open_socket, make_lead):
        async with open_socket() as socket:
            await socket.subscribe(CREATE, lead=make_lead()["id"], title="x" * 300_000)
            message = await socket.receive()
            assert (message["id"], message["type"]) == ("1", "error")
            assert message["payload"][0]["extensions"]["code"] == "TOO_LARGE"
            await socket.subscribe("{ me { id } }")
            assert (await socket.receive())["type"] == "next"

    async def test_lets_many_leads_be_larger(self, open_socket):
        leads = [{"firstName": "Åsa", "lastName": "y" * 90, "company": "x" * 150} for _ in range(1000)]
        async with open_socket() as socket:
            await socket.subscribe(
                "mutation($leads: [CreateLeadInput!]!) { createLeads(inputs: $leads) { index } }", leads=leads
            )
            message = await socket.receive(20)
        assert message["type"] == "next", message
        assert len(message["payload"]["data"]["createLeads"]) == 1000


class TestWhoseUserChanges:
    """A user is looked at every 5 s: those of one test wait for it at once, each on a socket of their own."""

    @pytest.fixture
    def sign_in(self, server, make_user):
        def run():
            user = make_user(role="member")
            return user["id"], server.token("member", email=user["email"])

        return run

    async def test_ends_what_runs_and_shows_nothing_more(self, open_socket, sign_in, make_lead, client, graphql, db):
        leads = [make_lead()["id"] for _ in range(2)]
        write = partial(graphql, CREATE, lead=leads[1], title="not for you")
        async with asyncio.TaskGroup() as together:
            together.create_task(self._writes_no_more(open_socket, sign_in(), leads[0], db))
            for change in ("disabled_at = now()", "role = 'viewer'"):
                together.create_task(self._subscription_ends(open_socket, sign_in(), change, db))
            together.create_task(self._shows_nothing_more(open_socket, sign_in(), client, write, db))
        assert [row["title"] for row in db.execute("SELECT title FROM tasks WHERE lead_id = %s", (leads[0],))] == [
            "allowed"
        ]

    @staticmethod
    async def _writes_no_more(open_socket, signed_in, lead, db):
        user, token = signed_in
        async with open_socket(token=token) as socket:
            await socket.subscribe(CREATE, lead=lead, title="allowed")
            assert (await socket.receive())["type"] == "next"
            db.execute("UPDATE users SET disabled_at = now() WHERE id = %s", (user,))
            await asyncio.sleep(5.2)
            await socket.send(
                id="2", type="subscribe", payload={"query": CREATE, "variables": {"lead": lead, "title": "no"}}
            )
            assert await socket.closed() == 4401

    @staticmethod
    async def _subscription_ends(open_socket, signed_in, change, db):
        user, token = signed_in
        async with open_socket(token=token) as socket:
            await socket.subscribe(types=["lead.deleted"])  # of what the others write it hears nothing
            await _settle(socket)
            db.execute(f"UPDATE users SET {change} WHERE id = %s", (user,))
            with pytest.raises(ConnectionClosed) as closed:
                await socket.receive(12)
        assert closed.value.rcvd.code == 4401

    @staticmethod
    async def _shows_nothing_more(open_socket, signed_in, client, write, db):
        """Here a request finds out 3 s before the socket's own look would."""
        user, token = signed_in
        mine = {"headers": {"Authorization": f"Bearer {token}"}}
        ask = partial(client.post, "/graphql", json={"query": "{ me { role } }"}, **mine)
        assert (await ask()).status_code == 200
        await asyncio.sleep(3)
        async with open_socket(token=token) as socket:
            await socket.subscribe()
            await _settle(socket)
            db.execute("UPDATE users SET disabled_at = now() WHERE id = %s", (user,))
            async with asyncio.timeout(15):
                while (await ask()).status_code == 200:
                    await asyncio.sleep(0.05)
            await write()
            kinds = []
            assert await socket.closed(kinds) == 4401
        assert "next" not in kinds


class TestCursor:
    @pytest.mark.parametrize(
        "place", [f"1.{2**63}", f"{2**64}.1", "-1.1", "1.-1", "1_0.1", " 1.1", "٣.1", "1." + "9" * 5000]
    )
    async def test_refuses_numbers_beyond_their_range(self, open_socket, db, place):
        epoch = db.execute("SELECT epoch FROM event_epoch").fetchone()["epoch"]
        async with open_socket() as socket:
            await socket.subscribe(after=f"{epoch}.{place}")
            message = await socket.receive()
        assert message["payload"][0]["extensions"] == {"code": "BAD_USER_INPUT", "field": "after"}


class TestDeletedLeads:
    async def test_the_deletion_arrives_and_what_the_lead_was_does_not(self, open_socket, server, graphql, make_lead):
        lead = make_lead(company="Volvo")["id"]
        async with open_socket(token=server.token("viewer")) as socket:
            await socket.subscribe()
            await _settle(socket)
            await graphql(f'mutation {{ updateLead(id: {lead}, input: {{company: "Saab"}}) {{ id }} }}')
            updated = await socket.change()
            assert {"name": "company", "before": "Volvo", "after": "Saab"} in updated["fields"]
            await graphql("mutation($id: Int!) { deleteLead(id: $id) { id } }", id=lead)
            deleted = await socket.change()
            assert (deleted["type"], deleted["entityId"], deleted["fields"]) == ("lead.deleted", str(lead), [])
        async with open_socket(token=server.token("viewer")) as socket:
            await socket.subscribe(after=_before(updated["cursor"]))
            again = await socket.change()
        assert (again["type"], again["fields"]) == ("lead.updated", [])


def _before(cursor):
    epoch, xid, key = cursor.split(".")
    return f"{epoch}.{xid}.{int(key) - 1}"


class TestManyChannels:
    async def test_each_gets_its_own_and_all_of_it(self, open_socket, graphql, make_lead):
        leads = [make_lead()["id"] for _ in range(40)]
        async with open_socket() as socket:
            for lead in leads:
                await socket.subscribe(key=f"lead {lead}", leadId=lead)
            await socket.subscribe(key="deleted", types=["task.deleted"])
            await socket.subscribe(key="all", types=["task.created", "task.deleted"])
            await asyncio.sleep(0.5)
            for _ in range(2):
                for lead in leads:
                    await graphql(CREATE, lead=lead, title=f"of {lead}")
            found = [await socket.receive() for _ in range(len(leads) * 4)]
            await socket.silence()
        titles = {}
        for message in found:
            change = message["payload"]["data"]["changes"]
            titles.setdefault(message["id"], []).append(change["task"]["title"])
        in_order = [f"of {lead}" for lead in leads] * 2
        assert titles == {"all": in_order, **{f"lead {lead}": [f"of {lead}"] * 2 for lead in leads}}
