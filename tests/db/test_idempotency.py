"""Creates that are sent again with their key: one record, whatever became of the first answer."""

import asyncio

import pytest

from crm.db.database import Database
from crm.jobs.idempotency import forget

LEAD = """mutation($input: CreateLeadInput!, $key: String) {
  createLead(input: $input, idempotencyKey: $key) { id fullName version }
}"""
TASK = """mutation($input: CreateTaskInput!, $key: String) {
  createTask(input: $input, idempotencyKey: $key) { id title lead { fullName } }
}"""
CALL = """mutation($input: LogInteractionInput!, $key: String) {
  logInteraction(input: $input, idempotencyKey: $key) { id subject }
}"""
ADA = {"firstName": "Ada", "lastName": "Ek", "email": "ada@example.com"}


@pytest.fixture
def count(db):
    return lambda table: db.execute(f"SELECT count(*) AS count FROM {table}").fetchone()["count"]


class TestTheSameAgain:
    async def test_gives_the_record_that_was_made(self, graphql, make_lead, events, count):
        lead = make_lead(first_name="Bo", last_name="Berg")["id"]
        creates = {
            "leads": (LEAD, ADA),  # whose address is taken by now: by itself
            "tasks": (TASK, {"leadId": lead, "title": "Call"}),
            "interactions": (CALL, {"leadId": lead, "type": "CALL", "subject": "First"}),
        }
        for table, (query, values) in creates.items():
            before = count(table)
            first, again = [await graphql(query, input=values, key="one") for _ in range(2)]
            assert first == again
            assert count(table) == before + 1
        assert [event["type"] for event in events()] == ["lead.created", "task.created", "interaction.created"]

    async def test_shows_it_as_it_is_now(self, graphql):
        made = (await graphql(LEAD, input=ADA, key="one"))["createLead"]
        rename = 'mutation($id: ID!) { updateLead(id: $id, input: {firstName: "Eva"}) { id } }'
        await graphql(rename, id=made["id"])
        again = (await graphql(LEAD, input={**ADA, "firstName": " Ada "}, key=" one "))["createLead"]
        assert again == {"id": made["id"], "fullName": "Eva Ek", "version": 2}

    async def test_at_the_same_time(self, graphql, count):
        sent = await asyncio.gather(*(graphql(LEAD, input=ADA, key="one") for _ in range(10)))
        assert len({answer["createLead"]["id"] for answer in sent}) == 1
        assert count("leads") == 1

    async def test_after_a_mistake_makes_it(self, graphql, refused, count):
        """A create that fails leaves no key, wherever it fails."""
        for wrong in ({**ADA, "lastName": " "}, {**ADA, "ownerId": "5f1c0a9e-3b0e-4a53-9d7c-1f2f6b7f8a10"}):
            assert (await refused(LEAD, input=wrong, key="one"))["code"] in {"BAD_USER_INPUT", "NOT_FOUND"}
        assert (await refused(TASK, input={"leadId": 4711, "title": "Call"}, key="one"))["code"] == "NOT_FOUND"
        assert count("idempotency_keys") == 0
        assert (await graphql(LEAD, input=ADA, key="one"))["createLead"]["fullName"] == "Ada Ek"

    async def test_says_when_the_record_is_gone(self, graphql, refused):
        made = (await graphql(LEAD, input=ADA, key="one"))["createLead"]
        await graphql("mutation($id: ID!) { deleteLead(id: $id) { id } }", id=made["id"])
        assert await refused(LEAD, input=ADA, key="one") == {"code": "NOT_FOUND", "entity": "lead", "id": made["id"]}


class TestAnother:
    async def test_input_is_a_conflict(self, graphql, refused):
        made = (await graphql(LEAD, input=ADA, key="one"))["createLead"]
        found = await refused(LEAD, input={"firstName": "Eva", "lastName": "Ek"}, key="one")
        assert (found["code"], found["conflict"], found["field"], found["existingId"]) == (
            "CONFLICT", "KEY_REUSED", "idempotencyKey", made["id"]
        )  # fmt: skip

    async def test_user_mutation_or_key_makes_another(self, graphql, make_lead, count):
        values = {"leadId": make_lead()["id"], "title": "Call"}
        await graphql(CALL, input={"leadId": values["leadId"], "type": "CALL"}, key="one")
        for role, key in (("admin", "one"), ("member", "one"), ("member", "two"), ("member", None), ("member", None)):
            await graphql(TASK, role=role, input=values, key=key)
        assert count("tasks") == 5
        assert count("idempotency_keys") == 4

    @pytest.mark.parametrize(("key", "reason"), [(" ", "BLANK"), ("k" * 201, "TOO_LONG")])
    async def test_key_must_be_one(self, refused, key, reason):
        [problem] = (await refused(LEAD, input=ADA, key=key))["problems"]
        assert (problem["field"], problem["reason"]) == ("idempotencyKey", reason)


async def test_keys_are_forgotten_after_a_day(graphql, database_url, db, count):
    await graphql(LEAD, input=ADA, key="old")
    db.execute("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
    db.execute(
        """INSERT INTO idempotency_keys SELECT created_by, record_type, 'old ' || number, record_id, fingerprint, 1,
        created_at FROM idempotency_keys, generate_series(1, 2500) AS number"""
    )
    await graphql(LEAD, input={**ADA, "email": None}, key="new")
    database = Database(database_url)
    await forget(database, 24)
    database.close()
    assert [row["key"] for row in db.execute("SELECT key FROM idempotency_keys").fetchall()] == ["new"]
    assert count("leads") == 2
