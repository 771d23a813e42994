"""What stays readable of records that were deleted: for admins the fields, for good nobody the texts."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from tests.support.websockets import signed_in

TIMELINE = """query($id: Int!, $deleted: Boolean) {
  lead(id: $id, includeDeleted: $deleted) { timeline { type cursor fields { name before after } } }
}"""
CHANGES = """subscription($after: String) {
  changes(after: $after) { type cursor entityId fields { name before after } }
}"""
ROLES = ["viewer", "member"]


@pytest.fixture
def timeline(graphql):
    async def read(lead, role, *, deleted=False):
        found = (await graphql(TIMELINE, role=role, id=lead, deleted=deleted))["lead"]["timeline"]
        return {change["type"]: change["fields"] for change in found}

    return read


@pytest.fixture
def follow(server):
    """Follow `changes` as a role; gives a function for the next change."""

    @asynccontextmanager
    async def opened(role, after=None):
        async with await signed_in(server.url, server.token(role)) as raw:
            payload = {"query": CHANGES, "variables": {"after": after}}
            await raw.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
            if after is None:  # until it has its place in the stream: a query that came later is answered
                later = {"id": "later", "type": "subscribe", "payload": {"query": "{ me { id } }"}}
                await raw.send(json.dumps(later))
                answers = [json.loads(await asyncio.wait_for(raw.recv(), 30)) for _ in range(2)]
                assert [one["id"] for one in answers] == ["later", "later"]
                await asyncio.sleep(0.15)

            async def following():
                message = json.loads(await asyncio.wait_for(raw.recv(), 10))
                return message["payload"]["data"]["changes"]

            yield following

    return opened


@pytest.fixture
async def lead(graphql, make_lead):
    """A lead with a task and an interaction that say something."""
    key = make_lead(company="Volvo")["id"]
    await graphql(f'mutation {{ createTask(input: {{leadId: {key}, title: "Secret task"}}) {{ id }} }}')
    await graphql(
        f'mutation {{ logInteraction(input: {{leadId: {key}, type: CALL, notes: "Secret", durationMinutes: 5}}) '
        "{ id } }"
    )
    await graphql(f'mutation {{ updateLead(id: {key}, input: {{company: "Saab"}}) {{ id }} }}')
    return key


@pytest.fixture
def delete(graphql, db):
    async def record(noun):
        key = db.execute(f"SELECT max(id) AS id FROM {noun}s").fetchone()["id"]
        await graphql(f"mutation {{ delete{noun.title()}(id: {key}) {{ id }} }}")

    return record


def names(fields):
    return {field["name"] for field in fields}


class TestTimeline:
    @pytest.mark.parametrize("role", [*ROLES, "admin"])
    async def test_shows_the_fields_of_what_is_there(self, lead, timeline, role):
        found = await timeline(lead, role)
        assert {kind: bool(fields) for kind, fields in found.items()} == {
            "lead.updated": True,
            "task.created": True,
            "interaction.created": True,
        }

    @pytest.mark.parametrize("role", ROLES)
    @pytest.mark.parametrize(("noun", "other"), [("task", "interaction"), ("interaction", "task")])
    async def test_shows_no_fields_of_what_was_deleted(self, lead, timeline, delete, role, noun, other):
        await delete(noun)
        found = await timeline(lead, role)
        assert found[f"{noun}.created"] == found[f"{noun}.deleted"] == []
        assert found[f"{other}.created"]

    async def test_shows_them_again_when_it_is_restored(self, lead, timeline, delete, graphql, db):
        await delete("task")
        task = db.execute("SELECT id FROM tasks").fetchone()["id"]
        await graphql(f"mutation {{ restoreTask(id: {task}) {{ id }} }}")
        assert "title" in names((await timeline(lead, "viewer"))["task.created"])

    async def test_shows_admins_what_can_still_be_restored(self, lead, timeline, delete):
        await delete("task")
        await delete("lead")
        found = await timeline(lead, "admin", deleted=True)
        assert {"name": "title", "before": None, "after": "Secret task"} in found["task.created"]
        assert {"name": "company", "before": "Volvo", "after": "Saab"} in found["lead.updated"]


class TestDeletedForGood:
    async def test_an_interaction_leaves_no_text_in_its_events(self, lead, timeline, delete, db):
        await delete("interaction")
        assert "Secret" not in str(db.execute("SELECT * FROM events WHERE entity = 'interaction'").fetchall())
        found = await timeline(lead, "admin")
        assert {"notes", "type", "durationMinutes"} <= names(found["interaction.created"])
        assert {"name": "durationMinutes", "before": 5, "after": None} in found["interaction.deleted"]
        assert {"name": "title", "before": None, "after": "Secret task"} in found["task.created"]

    async def test_a_lead_takes_its_children_with_it(self, lead, make_lead, graphql, db):
        other = make_lead()["id"]
        await graphql(f'mutation {{ createTask(input: {{leadId: {other}, title: "Another lead"}}) {{ id }} }}')
        db.execute("DELETE FROM leads WHERE id = %s", (lead,))
        left = str(db.execute("SELECT fields FROM events").fetchall())
        assert not [text for text in ("Secret", "Volvo", "Saab") if text in left]
        assert "Another lead" in left

    async def test_many_at_once_leave_none_either(self, make_lead, graphql, db):
        for number in range(3):
            key = make_lead()["id"]
            await graphql(f'mutation {{ updateLead(id: {key}, input: {{company: "Secret {number}"}}) {{ id }} }}')
        db.execute("DELETE FROM leads")
        assert "Secret" not in str(db.execute("SELECT fields FROM events").fetchall())


class TestSubscription:
    @pytest.mark.usefixtures("lead")
    async def test_the_deletion_arrives_without_what_the_record_was(self, delete, follow):
        async with follow("member") as change:
            await delete("task")
            deleted = await change()
        assert (deleted["type"], deleted["fields"]) == ("task.deleted", [])

    @pytest.mark.usefixtures("lead")
    async def test_admins_are_shown_what_changed(self, delete, follow):
        async with follow("admin") as change:
            await delete("task")
            deleted = await change()
        assert names(deleted["fields"]) == {"deletedAt"}

    @pytest.mark.parametrize("noun", ["task", "interaction", "lead"])
    async def test_who_comes_back_is_not_shown_what_was_deleted_meanwhile(
        self, make_lead, graphql, delete, follow, noun
    ):
        """The server keeps what it has just shown for those who come back a moment later."""
        key = make_lead()["id"]
        async with follow("member") as staying:
            await graphql(f'mutation {{ updateLead(id: {key}, input: {{company: "First"}}) {{ id }} }}')
            first = await staying()
            await graphql(f'mutation {{ createTask(input: {{leadId: {key}, title: "Secret"}}) {{ id }} }}')
            await graphql(
                f'mutation {{ logInteraction(input: {{leadId: {key}, type: CALL, notes: "Secret"}}) {{ id }} }}'
            )
            seen = [await staying(), await staying()]
            assert str(seen).count("Secret") == 2
            await delete(noun)
            assert (await staying())["type"] == f"{noun}.deleted"
            await asyncio.sleep(0.3)
            async with follow("member", after=first["cursor"]) as returning:
                again = [await returning() for _ in range(3)]
        assert [change["type"] for change in again] == ["task.created", "interaction.created", f"{noun}.deleted"]
        hidden = {change["type"] for change in again if not change["fields"]}
        expected = {"task.created", "interaction.created"} if noun == "lead" else {f"{noun}.created"}
        assert hidden == {*expected, f"{noun}.deleted"}
