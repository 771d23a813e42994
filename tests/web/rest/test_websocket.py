"""/ws/ai-tasks over real sockets."""

import asyncio
import json
import socket

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.rest_client import ECHO, NOBODY, TASKS, Live

pytestmark = pytest.mark.waits(25)

# What a worker does to tell how far it is, and to wake those who follow.
_PROGRESS = """
    WITH told AS (UPDATE ai_tasks SET progress = %s, version = version + 1 WHERE id = %s RETURNING id), woken AS (
      INSERT INTO events (type, entity, entity_id) SELECT 'ai_task.progressed', 'ai_task', id::text FROM told
    )
    SELECT pg_notify('crm_events', '')
"""


async def create(busy, **values):
    response = await busy.post(TASKS, json={**ECHO, **values})
    assert response.status_code == 201, response.text
    return response.json()["id"]


class TestEntry:
    async def test_by_the_header(self, live):
        async with live() as client:
            message = await client.receive()
        assert (message["type"], message["role"]) == ("ready", "ADMIN")

    async def test_by_a_subprotocol_as_browsers_must(self, live, working):
        offered = ["crm.ai-tasks", f"bearer.{working.token('member')}"]
        async with live(token=None, subprotocols=offered) as client:
            assert client.raw.subprotocol == "crm.ai-tasks"
            assert (await client.receive())["role"] == "MEMBER"

    async def test_the_token_is_never_sent_back(self, live, working):
        async with live(token=None, subprotocols=[f"bearer.{working.token()}"]) as client:
            assert client.raw.subprotocol is None
            assert (await client.receive())["type"] == "ready"

    async def test_the_header_goes_before_a_subprotocol(self, live, working):
        for offered in ("nonsense", working.token("admin")):
            subprotocols = ["crm.ai-tasks", f"bearer.{offered}"]
            async with live(token=working.token("member"), subprotocols=subprotocols) as client:
                assert client.raw.subprotocol == "crm.ai-tasks"
                assert (await client.receive())["role"] == "MEMBER"

    async def test_and_a_wrong_header_is_not_made_good_by_one(self, live, working):
        offered = ["crm.ai-tasks", f"bearer.{working.token()}"]
        async with live(token="nonsense", subprotocols=offered) as client:
            assert (await client.closed())[0] == 4401

    async def test_by_the_first_message(self, live, working):
        async with live(token=None) as client:
            await client.send(type="auth", token=working.token("viewer"))
            assert (await client.receive())["role"] == "VIEWER"
            await client.subscribe("all")

    @pytest.mark.parametrize(
        "how",
        [
            {"additional_headers": {"Authorization": "Bearer nonsense"}},
            {"additional_headers": {"Authorization": "Basic eDp5"}},
            {"subprotocols": ["crm.ai-tasks", "bearer.nonsense"]},
        ],
    )
    async def test_a_wrong_token_is_a_4401(self, live, how):
        async with live(token=None, **how) as client:
            assert (await client.closed())[0] == 4401

    @pytest.mark.parametrize(
        "message",
        [
            {"type": "auth", "token": "nonsense"},
            {"type": "auth", "token": "Å"},
            {"type": "auth", "token": None},
            {"type": "auth"},
            {"type": "subscribe", "channel": "all"},
        ],
    )
    async def test_so_is_a_wrong_first_message(self, live, message):
        async with live(token=None) as client:
            await client.send(**message)
            assert (await client.closed())[0] == 4401

    async def test_and_none_in_time(self, live):
        async with live(token=None) as client:
            await client.send(type="ping")
            assert await client.closed(timeout=4) == (4401, "No token came in time")

    async def test_a_page_of_another_origin_is_shut_out(self, live):
        with pytest.raises(InvalidStatus, match="403"):
            async with live(origin="https://evil.example"):
                pass

    async def test_ends_when_the_token_expires(self, live, working):
        async with live(token=working.token(lifetime=2)) as client:
            await client.subscribe("all")
            assert await client.closed(timeout=5) == (4401, "The token has expired")


class TestMessages:
    async def test_ping(self, live):
        async with live() as client:
            await client.receive()
            await client.send(type="ping")
            assert await client.receive() == {"type": "pong"}

    @pytest.mark.parametrize(
        ("text", "field"),
        [
            ("nonsense", None),
            ("[]", None),
            ("{}", None),
            ('{"type": 1}', None),
            ('{"type": "fly"}', "type"),
            ('{"type": "subscribe"}', "channel"),
            ('{"type": "subscribe", "channel": "everything"}', "channel"),
            ('{"type": "subscribe", "channel": ["all"]}', "channel"),
            ('{"type": "subscribe", "channel": "task"}', "id"),
            ('{"type": "subscribe", "channel": "task", "id": 7}', "id"),
            ('{"type": "subscribe", "channel": "task", "id": "7"}', "id"),
            ('{"type": "subscribe", "channel": "lead", "id": "7"}', "id"),
            ('{"type": "subscribe", "channel": "lead", "id": true}', "id"),
            ('{"type": "subscribe", "channel": "lead", "id": 4000000000}', "id"),
            ('{"type": "subscribe", "channel": "all", "id": 7}', "id"),
            ('{"type": "auth", "token": "x"}', None),
        ],
    )
    async def test_what_means_nothing_is_an_error_and_no_more(self, live, text, field):
        async with live() as client:
            await client.receive()
            await client.raw.send(text)
            error = await client.receive()
            assert (error["type"], error["code"], error.get("field")) == ("error", "BAD_USER_INPUT", field)
            await client.send(type="ping")
            assert await client.receive() == {"type": "pong"}

    @pytest.mark.parametrize("kind", ["subscribe", "unsubscribe"])
    @pytest.mark.parametrize(
        ("named", "echoed"),
        [
            ({"channel": "everything"}, {"channel": "everything"}),
            ({"channel": "everything", "id": "x"}, {"channel": "everything", "id": "x"}),
            ({"channel": "task", "id": 7}, {"channel": "task", "id": 7}),
            ({"channel": "lead", "id": "7"}, {"channel": "lead", "id": "7"}),
            ({"channel": "lead", "id": 1.5}, {"channel": "lead", "id": 1.5}),
            ({"channel": "lead", "id": 2**63}, {"channel": "lead", "id": 2**63}),
            ({"channel": "lead", "id": True}, {"channel": "lead"}),
            ({"channel": "lead", "id": None}, {"channel": "lead"}),
            ({"channel": "task", "id": ["x"]}, {"channel": "task"}),
            ({"channel": "task", "id": "x" * 101}, {"channel": "task"}),
            ({"channel": "x" * 101, "id": 1}, {"id": 1}),
            ({"channel": {"a": 1}, "id": 1}, {"id": 1}),
            ({"id": "x"}, {"id": "x"}),
        ],
    )
    async def test_an_error_names_what_it_is_about(self, live, kind, named, echoed):
        async with live() as client:
            await client.receive()
            await client.send(type=kind, **named)
            error = await client.receive()
            assert (error["type"], error["code"]) == ("error", "BAD_USER_INPUT")
            assert {name: error[name] for name in ("channel", "id") if name in error} == echoed

    @pytest.mark.parametrize(
        "text", ["nonsense", '{"type": "fly"}', '{"type": "subscribe", "channel": "task", "id": "%"}']
    )
    async def test_who_sends_nothing_but_nonsense_is_shown_the_door(self, live, text):
        async with live() as client:
            for number in range(100):
                await client.raw.send(text.replace("%", str(number)))
                await client.until("error")
            await client.raw.send(text)
            assert await client.closed() == (1008, "More than 100 messages that mean nothing")

    async def test_a_mistake_now_and_then_is_forgiven(self, live):
        async with live() as client:
            for _ in range(100):
                await client.raw.send("nonsense")
            await client.send(type="ping")
            _, before = await client.until("pong")
            assert [one["type"] for one in before] == ["ready"] + ["error"] * 100

    async def test_bytes_are_no_message(self, live):
        async with live() as client:
            await client.receive()
            await client.raw.send(b'{"type": "ping"}')
            assert (await client.receive())["type"] == "error"

    async def test_a_very_long_one_ends_it(self, live):
        async with live() as client:
            await client.send(type="subscribe", channel="x" * 20_000)
            assert (await client.closed())[0] == 1009

    async def test_a_task_that_is_not_there_is_an_error_with_its_id(self, live):
        async with live() as client:
            await client.receive()
            await client.send(type="subscribe", channel="task", id=NOBODY)
            error = await client.receive()
            assert (error["type"], error["code"], error["channel"], error["id"]) == (
                "error",
                "NOT_FOUND",
                "task",
                NOBODY,
            )


class TestFollowing:
    async def test_a_task_from_the_start_to_the_end(self, live, busy):
        key = await create(busy, input={"message": "Hej", "seconds": 1})
        async with live() as client:
            await client.subscribe("task", key)
            done, before = await client.until("task.updated", status="COMPLETED")
        assert done["task"]["result"] == {"message": "Hej"}
        assert (done["channel"], done["id"]) == ("task", key)
        tasks = [message["task"] for message in before if message["type"] == "task.updated"]
        assert tasks[0]["status"] in {"QUEUED", "RUNNING"}
        versions = [task["version"] for task in tasks]
        assert versions == sorted(set(versions))
        steps = [task["progress"] for task in tasks if task["status"] == "RUNNING"]
        assert steps == sorted(steps)
        assert any(0 < step < 1 for step in steps)

    async def test_a_task_that_has_ended_is_shown_at_once(self, live, busy, ended):
        key = await create(busy)
        await ended(key)
        async with live() as client:
            await client.subscribe("task", key)
            message = await client.receive()
        assert (message["type"], message["task"]["status"]) == ("task.updated", "COMPLETED")

    async def test_a_lead_and_no_other(self, live, busy, make_lead):
        mine, other = make_lead()["id"], make_lead()["id"]
        async with live() as client:
            await client.subscribe("lead", mine)
            await create(busy, leadId=other)
            key = await create(busy, leadId=mine)
            done, before = await client.until("task.updated", status="COMPLETED")
        assert (done["channel"], done["id"], done["task"]["id"]) == ("lead", mine, key)
        assert {message["task"]["leadId"] for message in before} <= {mine}

    async def test_all_until_no_more(self, live, busy):
        async with live() as client:
            await client.subscribe("all")
            keys = {await create(busy) for _ in range(5)}
            ended = set()
            while ended != keys:
                message, _ = await client.until("task.updated", status="COMPLETED")
                ended.add(message["task"]["id"])
            await client.send(type="unsubscribe", channel="all")
            await client.until("unsubscribed")
            await create(busy)
            with pytest.raises(TimeoutError):
                await client.receive(1)

    async def test_a_user_sees_their_own(self, live, busy, working, make_user):
        user = make_user(role="member")
        token = working.token("member", email=user["email"])
        async with live(token=token) as client, live() as admin:
            await client.subscribe("all")
            await admin.subscribe("all")
            theirs = await create(busy)
            mine = (await busy.post(TASKS, json=ECHO, headers={"Authorization": f"Bearer {token}"})).json()["id"]
            _, before = await client.until("task.updated", id=mine, status="COMPLETED")
            assert {message["task"]["id"] for message in before} <= {mine}
            await client.send(type="subscribe", channel="task", id=theirs)
            error, _ = await client.until("error")
            assert error["code"] == "NOT_FOUND"
            seen = set()
            while seen != {theirs, mine}:
                seen.add((await admin.until("task.updated", status="COMPLETED"))[0]["task"]["id"])

    async def test_twice_is_once(self, live, busy):
        async with live() as client:
            await client.subscribe("all")
            await client.subscribe("all")
            key = await create(busy)
            _, before = await client.until("task.updated", id=key, status="COMPLETED")
            versions = [message["task"]["version"] for message in before if message["type"] == "task.updated"]
            assert versions == sorted(set(versions))

    async def test_a_hundred_things_at_most(self, live):
        async with live() as client:
            await client.receive()
            for lead in range(1, 101):
                await client.subscribe("lead", lead)
            await client.send(type="subscribe", channel="all")
            error, _ = await client.until("error")
            assert (error["code"], error["limit"]) == ("TOO_COMPLEX", 100)


class TestTheQueue:
    async def test_is_told_at_once_on_change_and_every_five_seconds(self, live, busy):
        loop = asyncio.get_running_loop()
        async with live() as client:
            await client.subscribe("queue")
            first, _ = await client.until("queue.status", timeout=2)
            assert first["channel"] == "queue"
            while True:  # what other tests left
                try:
                    await client.receive(1.5)
                except TimeoutError:
                    break
            started = loop.time()
            await client.until("queue.status", timeout=7)
            assert loop.time() - started < 5.5
            started = loop.time()
            await create(busy, scheduledFor="2027-01-01T00:00:00Z")
            await client.until("queue.status", timeout=2)
            assert loop.time() - started < 2


class TestWhoseUserChanges:
    """A user is looked at every 5 s: those of the test wait for it at once, each on a socket of their own."""

    async def test_is_cut_and_sees_nothing_more(self, live, working, busy, make_user, db):
        async with asyncio.TaskGroup() as together:
            disabled, lowered = (
                together.create_task(self._closed(live, working, make_user(role="member"), channel, change, db))
                for channel, change in (("all", "disabled_at = now()"), ("queue", "role = 'viewer'"))
            )
            together.create_task(self._sees_nothing_more(live, working, busy, make_user(role="admin"), db))
        assert disabled.result()[0] == 4401
        assert lowered.result() == (4401, "Your role has changed")

    @staticmethod
    async def _closed(live, working, user, channel, change, db):
        """With what a socket is closed that follows this channel, when its user has changed."""
        async with live(token=working.token("member", email=user["email"])) as client:
            await client.subscribe(channel)
            db.execute(f"UPDATE users SET {change} WHERE id = %s", (user["id"],))
            return await client.closed(timeout=13)

    @staticmethod
    async def _sees_nothing_more(live, working, busy, user, db):
        """Here a request finds out 3 s before the socket's own look would."""
        token = working.token("admin", email=user["email"])
        mine = {"headers": {"Authorization": f"Bearer {token}"}}

        async def may():
            answer = await busy.post("/graphql", json={"query": "{ aiStatus { model } }"}, **mine)
            return "errors" not in answer.json()

        assert await may()
        await asyncio.sleep(3)
        async with live(token=token) as client:
            await client.subscribe("all")
            db.execute("UPDATE users SET role = 'viewer' WHERE id = %s", (user["id"],))
            async with asyncio.timeout(15):
                while await may():
                    await asyncio.sleep(0.05)
            await create(busy)
            kinds = []
            assert (await client.closed(13, kinds))[0] == 4401
        assert "task.updated" not in kinds


class TestASlowReader:
    async def test_is_dropped_with_a_code_and_others_are_not(self, live, busy, working, db):
        """It stops reading; what waits for it grows beyond the bound (64 KiB here)."""
        logged = len(working.log())
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", working.port))
        raw.setblocking(False)
        url = working.url.replace("http", "ws") + "/ws/ai-tasks"
        headers = {"Authorization": f"Bearer {working.token()}"}
        async with (
            live() as quick,
            connect(url, sock=raw, additional_headers=headers, max_queue=1, compression=None) as slow,
        ):
            await quick.subscribe("all")
            await slow.send(json.dumps({"type": "subscribe", "channel": "all"}))
            await asyncio.sleep(0.3)
            key = await create(busy, input={"message": "😀" * 9900})
            await quick.until("task.updated", id=key, status="COMPLETED")
            for number in range(500):
                db.execute(_PROGRESS, (number / 1000, key))
                await quick.until("task.updated", id=key, progress=number / 1000)
            assert (await Live(slow).closed(timeout=15))[0] == 4408
        assert '"error"' not in working.log()[logged:]
