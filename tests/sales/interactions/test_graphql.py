from datetime import UTC, datetime, timedelta

import pytest

from tests.support.problems import brief

LOG = "mutation($input: LogInteractionInput!) { logInteraction(input: $input) { id version creator { email } } }"
UPDATE = """mutation($id: Int!, $input: UpdateInteractionInput!) {
  updateInteraction(id: $id, input: $input) { version }
}"""
DELETE = "mutation($id: Int!) { deleteInteraction(id: $id) { id subject lead { fullName } creator { name } } }"


class TestLogInteraction:
    async def test_records_who_logged_it_and_when_it_took_place(self, graphql, make_lead, events, db):
        lead = make_lead()["id"]
        given = {"leadId": lead, "type": "CALL", "subject": "Pris", "occurredAt": "2026-02-01T10:00:00+01:00"}
        data = await graphql(LOG, role="member", input={**given, "durationMinutes": 15})
        assert data["logInteraction"]["creator"] == {"email": "service-member@crm.invalid"}
        row = db.execute("SELECT * FROM interactions").fetchone()
        assert row["occurred_at"] == datetime(2026, 2, 1, 9, tzinfo=UTC)
        (event,) = events()
        assert (event["type"], event["lead_id"]) == ("interaction.created", lead)
        after = {field["name"]: field["after"] for field in event["fields"]}
        assert after["type"] == "CALL"
        assert after["occurredAt"] == "2026-02-01T09:00:00.000000Z"
        assert after["createdBy"] == str(row["created_by"])

    @pytest.mark.parametrize("given", [{}, {"occurredAt": None}])
    async def test_takes_place_now_unless_said_otherwise(self, graphql, make_lead, db, given):
        await graphql(LOG, input={"leadId": make_lead()["id"], "type": "NOTE", **given})
        age = db.execute("SELECT now() - occurred_at AS age FROM interactions").fetchone()["age"]
        assert abs(age) < timedelta(minutes=1)

    async def test_needs_a_living_lead(self, refused, make_lead):
        for key in (make_lead(deleted=True)["id"], 999_999):
            error = await refused(LOG, input={"leadId": key, "type": "CALL"})
            assert brief(error) == {"code": "NOT_FOUND", "entity": "lead", "id": str(key), "field": "leadId"}

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("subject", "x" * 301),
            ("notes", "x" * 20_001),
            ("durationMinutes", -1),
            ("durationMinutes", 1441),
            ("occurredAt", (datetime.now(UTC) + timedelta(hours=1)).isoformat()),
        ],
        ids=["subject", "notes", "negative", "too long", "future"],
    )
    async def test_refuses_what_makes_no_sense_and_says_where(self, refused, make_lead, field, value):
        error = await refused(LOG, input={"leadId": make_lead()["id"], "type": "CALL", field: value})
        assert (error["code"], error["field"]) == ("BAD_USER_INPUT", field)


class TestUpdateInteraction:
    async def test_keeps_what_is_left_out_and_clears_what_is_null(self, graphql, make_interaction, db, events):
        interaction = make_interaction(subject="Pris", notes="Lång", duration_minutes=5)
        await graphql(UPDATE, id=interaction["id"], input={"notes": None, "type": "MEETING"})
        row = db.execute("SELECT * FROM interactions").fetchone()
        assert (row["subject"], row["notes"], row["duration_minutes"], row["type"]) == ("Pris", None, 5, "meeting")
        (event,) = events()
        assert sorted(event["fields"], key=lambda field: field["name"]) == [
            {"name": "notes", "before": "Lång", "after": None},
            {"name": "type", "before": "CALL", "after": "MEETING"},
        ]

    async def test_changes_nothing_when_nothing_changes(self, graphql, make_interaction, events):
        interaction = make_interaction(subject="Pris", occurred_at="2026-01-01T00:00:00Z")
        given = {"subject": "Pris", "type": "CALL", "occurredAt": "2026-01-01T00:00:00Z"}
        assert (await graphql(UPDATE, id=interaction["id"], input=given))["updateInteraction"]["version"] == 1
        assert events() == []

    @pytest.mark.parametrize("field", ["type", "occurredAt"])
    async def test_does_not_clear_what_every_interaction_has(self, refused, make_interaction, field):
        error = await refused(UPDATE, id=make_interaction()["id"], input={field: None})
        assert brief(error) == {"code": "BAD_USER_INPUT", "field": field}

    async def test_refuses_a_stale_version(self, graphql, refused, make_interaction):
        key = make_interaction()["id"]
        await graphql(UPDATE, id=key, input={"subject": "A", "expectedVersion": 1})
        error = await refused(UPDATE, id=key, input={"subject": "B", "expectedVersion": 1})
        assert brief(error) == {
            "code": "CONFLICT",
            "conflict": "CHANGED",
            "field": "expectedVersion",
            "currentVersion": 2,
            "changed": [{"field": "subject", "yours": "B", "theirs": "A"}],
        }

    async def test_says_which_interaction_is_missing(self, refused, make_interaction, make_lead):
        hidden = make_interaction(lead_id=make_lead(deleted=True)["id"])
        for key in (hidden["id"], 999_999):
            error = await refused(UPDATE, id=key, input={"subject": "x"})
            assert brief(error) == {"code": "NOT_FOUND", "entity": "interaction", "id": str(key)}


class TestDeleteInteraction:
    async def test_removes_it_and_shows_what_it_was_with_its_lead(
        self, graphql, make_interaction, make_lead, make_user, events, db
    ):
        lead = make_lead(first_name="Åsa", last_name="Öberg")["id"]
        user = make_user(name="Karin")["id"]
        key = make_interaction(lead_id=lead, subject="Pris", notes="Dyrt", created_by=user)["id"]
        data = await graphql(DELETE, id=key)
        assert data["deleteInteraction"] == {
            "id": str(key),
            "subject": "Pris",
            "lead": {"fullName": "Åsa Öberg"},
            "creator": {"name": "Karin"},
        }
        assert db.execute("SELECT count(*) AS count FROM interactions").fetchone()["count"] == 0
        (event,) = events()
        assert (event["type"], event["lead_id"]) == ("interaction.deleted", lead)
        said = {field["name"]: (field["before"], field["after"]) for field in event["fields"]}
        assert said["notes"] == (None, None), "what was deleted for good leaves no text"
        assert said["id"] == (key, None)

    async def test_shows_plain_fields_alone(self, graphql, make_interaction):
        key = make_interaction(subject="Pris")["id"]
        data = await graphql("mutation($id: Int!) { deleteInteraction(id: $id) { subject } }", id=key)
        assert data["deleteInteraction"] == {"subject": "Pris"}

    async def test_says_which_interaction_is_missing(self, graphql, refused, make_interaction, make_lead):
        gone = make_interaction()["id"]
        await graphql(DELETE, id=gone)
        for key in (gone, make_interaction(lead_id=make_lead(deleted=True)["id"])["id"]):
            assert brief(await refused(DELETE, id=key)) == {
                "code": "NOT_FOUND",
                "entity": "interaction",
                "id": str(key),
            }
