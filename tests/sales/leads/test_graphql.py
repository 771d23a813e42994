import asyncio
import json

import psycopg
import pytest

from tests.support.problems import brief
from tests.support.waiting import eventually

CREATE = "mutation($input: CreateLeadInput!) { createLead(input: $input) { id email version } }"
UPDATE = "mutation($id: Int!, $input: UpdateLeadInput!) { updateLead(id: $id, input: $input) { version } }"
DELETE = "mutation($id: Int!) { deleteLead(id: $id) { deletedAt version } }"
RESTORE = "mutation($id: Int!) { restoreLead(id: $id) { deletedAt version } }"
CREATE_MANY = """mutation($inputs: [CreateLeadInput!]!) {
  createLeads(inputs: $inputs) { index status message field duplicateOfId lead { id fullName } }
}"""
WAITING = "SELECT count(*) AS count FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
NOBODY = "0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f10"


@pytest.fixture
def refused(graphql, db):
    """Run an operation that must be refused without a trace; returns its first error."""

    async def run(query, **variables):
        before = db.execute("SELECT count(*) AS count FROM events").fetchone()["count"]
        answer = await graphql(query, expect_errors=True, **variables)
        assert answer.get("errors"), answer
        assert db.execute("SELECT count(*) AS count FROM events").fetchone()["count"] == before
        return answer["errors"][0]

    return run


def named(first="Åsa", last="Öberg", **values):
    return {"firstName": first, "lastName": last, **values}


class TestIndustry:
    """A column of one line in the model: it is in the type, the inputs, the filter and the order."""

    CREATE = "mutation($input: CreateLeadInput!) { createLead(input: $input) { id version industry } }"
    UPDATE = "mutation($id: Int!, $input: UpdateLeadInput!) { updateLead(id: $id, input: $input) { industry } }"
    LIST = "query($filter: LeadFilter) { leads(filter: $filter, orderBy: [{field: INDUSTRY}]) { industry } }"

    async def test_is_written_read_filtered_by_and_ordered_by(self, graphql):
        for industry in ("Verkstad", "Bageri", None, "Bageri och café"):
            await graphql(self.CREATE, input=named(industry=industry))
        assert (await graphql(self.LIST, filter={"industry": {"startsWith": "Bageri"}}))["leads"] == [
            {"industry": "Bageri"},
            {"industry": "Bageri och café"},
        ]
        assert (await graphql(self.LIST, filter={"industry": {"isNull": True}}))["leads"] == [{"industry": None}]
        assert [lead["industry"] for lead in (await graphql(self.LIST))["leads"]][:2] == ["Bageri", "Bageri och café"]

    async def test_is_changed_and_taken_away(self, graphql):
        lead = (await graphql(self.CREATE, input=named(industry="Bageri")))["createLead"]
        changed = {"expectedVersion": lead["version"], "industry": "Konditori"}
        assert (await graphql(self.UPDATE, id=int(lead["id"]), input=changed))["updateLead"] == {
            "industry": "Konditori"
        }
        gone = {"expectedVersion": lead["version"] + 1, "industry": None}
        assert (await graphql(self.UPDATE, id=int(lead["id"]), input=gone))["updateLead"] == {"industry": None}

    async def test_has_a_hundred_characters_at_most(self, refused):
        error = await refused(self.CREATE, input=named(industry="x" * 101))
        assert (error["extensions"]["code"], error["extensions"]["field"]) == ("BAD_USER_INPUT", "industry")


class TestCreateLead:
    async def test_shows_every_field_it_was_given(self, graphql, make_user):
        owner = make_user()
        given = named(
            email="asa@example.com",
            phone="+46 70 123 45 67",
            company="Björk & Söner AB",
            jobTitle="Inköpare",
            status="QUALIFIED",
            source="fair",
            budget="1250.50",
            currency="SEK",
            location="Malmö",
            tags=["vip", "nordics"],
            ownerId=str(owner["id"]),
        )
        names = " ".join(given)
        data = await graphql(
            f"mutation($input: CreateLeadInput!) {{ createLead(input: $input) {{ {names} fullName version }} }}",
            input=given,
        )
        assert data["createLead"] == {**given, "fullName": "Åsa Öberg", "version": 1}

    async def test_takes_defaults_from_the_database(self, graphql):
        data = await graphql(
            'mutation { createLead(input: {firstName: "A", lastName: "B"}) '
            "{ status tags email budget ownerId activityScore deletedAt summaryIsStale openTaskCount } }"
        )
        assert data["createLead"] == {
            "status": "NEW",
            "tags": [],
            "email": None,
            "budget": None,
            "ownerId": None,
            "activityScore": None,
            "deletedAt": None,
            "summaryIsStale": False,
            "openTaskCount": 0,
        }

    async def test_writes_one_event_that_says_who_what_and_how_the_api_spells_it(self, graphql, events, db):
        lead = (await graphql(CREATE, role="member", input=named(budget="10", jobTitle="CEO", status="WON")))[
            "createLead"
        ]
        (event,) = events()
        member = db.execute("SELECT id FROM users WHERE email = 'service-member@crm.invalid'").fetchone()["id"]
        shown = {name: event[name] for name in ("type", "entity", "entity_id", "lead_id", "actor_id")}
        assert shown == {
            "type": "lead.created",
            "entity": "lead",
            "entity_id": lead["id"],
            "lead_id": int(lead["id"]),
            "actor_id": member,
        }
        assert {field["name"]: (field["before"], field["after"]) for field in event["fields"]} == {
            "firstName": (None, "Åsa"),
            "lastName": (None, "Öberg"),
            "budget": (None, "10.00"),
            "jobTitle": (None, "CEO"),
            "status": (None, "WON"),
        }

    @pytest.mark.parametrize(
        ("taken", "wanted"), [("asa@example.com", "ASA@Example.COM"), ("åsa@höst.se", "ÅSA@HÖST.SE")]
    )
    async def test_refuses_an_address_that_a_living_lead_has_in_any_case(self, refused, make_lead, taken, wanted):
        other = make_lead(email=taken)
        error = await refused(CREATE, input=named(email=wanted))
        assert brief(error["extensions"]) == {
            "code": "CONFLICT",
            "conflict": "TAKEN",
            "field": "email",
            "existingId": str(other["id"]),
        }

    @pytest.mark.parametrize("address", ["İstanbul@example.com", "ΟΔΟΣ@example.com", "STRAẞE@example.com"])
    async def test_finds_the_other_where_python_and_postgresql_lower_letters_differently(
        self, refused, make_lead, address
    ):
        other = make_lead(email=address)
        error = await refused(CREATE, input=named(email=address))
        assert error["extensions"]["existingId"] == str(other["id"])

    async def test_refuses_an_address_with_an_invisible_character(self, refused):
        error = await refused(CREATE, input=named(email="asa\u200b@example.com"))
        assert error["message"] == "E-mail: an invisible character (U+200B) is not allowed."
        assert brief(error["extensions"]) == {"code": "BAD_USER_INPUT", "field": "email"}

    async def test_lets_a_deleted_lead_block_nobody(self, graphql, make_lead):
        make_lead(email="asa@example.com", deleted=True)
        assert (await graphql(CREATE, input=named(email="asa@example.com")))["createLead"]["email"] == "asa@example.com"

    async def test_names_the_winner_to_everyone_who_lost_a_race_for_an_address(self, graphql, db):
        racers = (graphql(CREATE, expect_errors=True, input=named(email="race@example.com")) for _ in range(20))
        answers = await asyncio.gather(*racers)
        (winner,) = [answer["data"]["createLead"]["id"] for answer in answers if "errors" not in answer]
        lost = [brief(answer["errors"][0]["extensions"]) for answer in answers if "errors" in answer]
        assert lost == [{"code": "CONFLICT", "conflict": "TAKEN", "field": "email", "existingId": winner}] * 19
        assert db.execute("SELECT count(*) AS count FROM events").fetchone()["count"] == 1

    async def test_names_the_field_when_the_owner_does_not_exist(self, refused):
        error = await refused(CREATE, input=named(ownerId=NOBODY))
        assert brief(error["extensions"]) == {"code": "BAD_USER_INPUT", "field": "ownerId"}
        assert error["message"] == "Owner: there is no user with this id."
        assert (await refused(CREATE, input=named(ownerId="7")))["extensions"]["field"] == "ownerId"

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("firstName", "   "),
            ("lastName", ""),
            ("firstName", "x" * 201),
            ("email", "not an address"),
            ("email", "a@b"),
            ("budget", "-1"),
            ("currency", "KRONOR"),
            ("tags", [str(number) for number in range(51)]),
            ("company", "nul \0 byte"),
        ],
    )
    async def test_refuses_what_makes_no_sense_and_says_where(self, refused, field, value):
        error = await refused(CREATE, input=named() | {field: value})
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
        assert field in error["extensions"]["field"]

    @pytest.mark.parametrize(
        "name",
        [
            "\u05d3\u05d5\u05d3",  # Hebrew
            "\u0645\u062d\u0645\u062f\u200f",  # Arabic, with a mark of its direction
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, whose spelling needs a non-joiner
            "\U0001f469\u200d\U0001f4bb",  # joined into one sign
            "A\tB",
        ],
    )
    async def test_takes_names_of_every_script(self, graphql, name):
        query = "mutation($input: CreateLeadInput!) { createLead(input: $input) { firstName } }"
        assert await graphql(query, input=named(name)) == {"createLead": {"firstName": name}}

    async def test_takes_what_cannot_be_seen_for_nothing(self, graphql):
        query = "mutation($input: CreateLeadInput!) { createLead(input: $input) { company tags } }"
        data = await graphql(query, input=named(company="\u200b", tags=["\u200b", "vip"]))
        assert data == {"createLead": {"company": None, "tags": ["vip"]}}

    async def test_is_not_for_viewers(self, graphql, db):
        answer = await graphql(CREATE, role="viewer", expect_errors=True, input=named())
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        assert db.execute("SELECT count(*) AS count FROM leads").fetchone()["count"] == 0


class TestCreateLeads:
    async def test_says_of_each_what_became_of_it_and_saves_the_valid_ones(self, graphql, make_lead, make_user, db):
        taken, owner = make_lead(email="TAKEN@example.com"), make_user()
        data = await graphql(
            CREATE_MANY,
            inputs=[
                named("One", email="one@example.com", ownerId=str(owner["id"])),
                named("Two", email="taken@example.com"),
                named("Three", email="ONE@example.com"),
                named("  "),
                named("Five", ownerId=NOBODY),
                named("Six", ownerId="not an id"),
                named("Seven", budget="-5"),
                named("Eight"),
                named("Nine"),
            ],
        )
        results = data["createLeads"]
        assert [result["index"] for result in results] == list(range(9))
        assert [result["status"] for result in results] == [
            "CREATED",
            "DUPLICATE",
            "DUPLICATE",
            "INVALID",
            "INVALID",
            "INVALID",
            "INVALID",
            "CREATED",
            "CREATED",
        ]
        assert [result["field"] for result in results] == [
            None,
            "email",
            "email",
            "firstName",
            "ownerId",
            "ownerId",
            "budget",
            None,
            None,
        ]
        first = int(results[0]["lead"]["id"])
        assert [result["duplicateOfId"] for result in results[:3]] == [None, taken["id"], first]
        assert [bool(result["lead"]) for result in results] == [result["status"] == "CREATED" for result in results]
        assert all(result["message"] for result in results if result["status"] != "CREATED")
        saved = db.execute("SELECT first_name FROM leads WHERE id <> %s ORDER BY id", (taken["id"],)).fetchall()
        assert [row["first_name"] for row in saved] == ["One", "Eight", "Nine"]

    @pytest.mark.parametrize(
        ("values", "field"),
        [
            ({"firstName": "a\0b"}, "firstName"),
            ({"lastName": "\ud800"}, "lastName"),
            ({"company": "a\nb"}, "company"),
            ({"email": "\0@example.com"}, "email"),
            ({"currency": "S\0K"}, "currency"),
            ({"ownerId": "\0"}, "ownerId"),
            ({"ownerId": "\ud800"}, "ownerId"),
            ({"tags": ["ok", "\0"]}, "tags.1"),
        ],
    )
    async def test_refuses_what_is_no_text_for_its_own_index_only(self, client, db, values, field):
        # escaped by the standard library: halves of surrogate pairs are no UTF-8
        body = json.dumps({"query": CREATE_MANY, "variables": {"inputs": [named("One"), named() | values, named()]}})
        response = await client.post("/graphql", content=body, headers={"Content-Type": "application/json"})
        results = response.json()["data"]["createLeads"]
        assert [result["status"] for result in results] == ["CREATED", "INVALID", "CREATED"]
        assert results[1]["field"] == field
        assert db.execute("SELECT count(*) AS count FROM leads").fetchone()["count"] == 2

    @pytest.mark.parametrize("budget", ["abc", "1000000000000", "1.005"])
    async def test_names_the_index_of_a_value_that_is_not_of_its_type(self, refused, db, budget):
        error = await refused(CREATE_MANY, inputs=[named(), named(budget=budget)])
        assert brief(error["extensions"]) == {"code": "BAD_USER_INPUT", "field": "inputs.1.budget"}
        assert db.execute("SELECT count(*) AS count FROM leads").fetchone()["count"] == 0

    async def test_writes_an_event_for_each_that_was_saved(self, graphql, events):
        await graphql(CREATE_MANY, inputs=[named("One"), named(""), named("Three")])
        assert [event["type"] for event in events()] == ["lead.created"] * 2

    async def test_saves_the_second_of_two_twins_when_the_first_is_invalid(self, graphql):
        data = await graphql(
            CREATE_MANY, inputs=[named("", email="one@example.com"), named("Two", email="one@example.com")]
        )
        assert [result["status"] for result in data["createLeads"]] == ["INVALID", "CREATED"]

    async def test_takes_a_thousand_and_not_one_more(self, graphql, refused):
        thousand = [named(f"N{number}", email=f"n{number}@example.com") for number in range(1000)]
        data = await graphql(CREATE_MANY, inputs=thousand)
        assert {result["status"] for result in data["createLeads"]} == {"CREATED"}
        assert [result["lead"]["fullName"] for result in data["createLeads"]] == [f"N{n} Öberg" for n in range(1000)]
        error = await refused(CREATE_MANY, inputs=[named()] * 1001)
        assert brief(error["extensions"]) == {"code": "BAD_USER_INPUT", "field": "inputs", "limit": 1000}

    async def test_calls_what_another_took_meanwhile_a_duplicate(self, graphql, db):
        batch = [named(email=f"n{number}@example.com") for number in range(50)]
        answers = await asyncio.gather(*(graphql(CREATE_MANY, inputs=batch) for _ in range(4)))
        statuses = sorted({result["status"] for result in answer["createLeads"]} for answer in answers)
        assert sum(found == {"CREATED"} for found in statuses) == 1
        assert sum(found == {"DUPLICATE"} for found in statuses) == 3
        assert db.execute("SELECT count(*) AS count FROM leads").fetchone()["count"] == 50

    async def test_takes_addresses_in_one_order_so_that_no_two_batches_lock_each_other_out(
        self, graphql, database_url, db
    ):
        given = [named(email="B@example.com"), named(), named(email="a@example.com")]
        insert = "INSERT INTO leads (first_name, last_name, email) VALUES ('A', 'B', %s)"
        with psycopg.connect(database_url) as other:
            other.execute("SET lock_timeout = '500ms'")  # less than PostgreSQL takes to find a deadlock
            other.execute(insert, ["A@example.com"])
            batch = asyncio.create_task(graphql(CREATE_MANY, inputs=given))
            await eventually(lambda: db.execute(WAITING).fetchone()["count"])
            other.execute(insert, ["b@example.com"])
        found = (await batch)["createLeads"]
        assert [result["status"] for result in found] == ["DUPLICATE", "CREATED", "DUPLICATE"]

    async def test_gives_ids_in_the_order_asked(self, graphql, events):
        addresses = [f"{name}@example.com" for name in "cabBd"]
        found = (await graphql(CREATE_MANY, inputs=[named(email=one) for one in addresses]))["createLeads"]
        keys = [result["lead"]["id"] for result in found if result["lead"]]
        assert keys == sorted(keys, key=int)
        assert len(keys) == 4
        assert str(found[3]["duplicateOfId"]) == keys[2]
        assert all("id" not in {field["name"] for field in event["fields"]} for event in events())

    async def test_takes_none(self, graphql):
        assert await graphql(CREATE_MANY, inputs=[]) == {"createLeads": []}


class TestUpdateLead:
    async def test_keeps_what_is_left_out_and_clears_what_is_null(self, graphql, make_lead, db):
        lead = make_lead(company="Volvo", job_title="CEO", budget=10, tags=["a"], email="a@example.com")
        await graphql(UPDATE, id=lead["id"], input={"jobTitle": None, "budget": None, "tags": None, "email": None})
        row = db.execute("SELECT * FROM leads WHERE id = %s", (lead["id"],)).fetchone()
        assert (row["company"], row["job_title"], row["budget"], row["tags"], row["email"]) == (
            "Volvo",
            None,
            None,
            [],
            None,
        )

    async def test_writes_which_fields_changed_before_and_after(self, graphql, make_lead, events):
        lead = make_lead(company="Volvo", status="new", budget=10)
        given = {"company": "Saab", "status": "CONTACTED", "budget": "12.5", "firstName": lead["first_name"]}
        await graphql(UPDATE, id=lead["id"], input=given)
        (event,) = events()
        assert event["type"] == "lead.updated"
        assert sorted(event["fields"], key=lambda field: field["name"]) == [
            {"name": "budget", "before": "10.00", "after": "12.50"},
            {"name": "company", "before": "Volvo", "after": "Saab"},
            {"name": "status", "before": "NEW", "after": "CONTACTED"},
        ]

    async def test_changes_nothing_when_nothing_changes(self, graphql, make_lead, events, db):
        lead = make_lead(company="Volvo", budget=10, tags=["a"], email="Åsa@example.com", status="won")
        given = {
            "company": " Volvo ",
            "budget": "10.00",
            "tags": ["a", "a"],
            "email": "Åsa@example.com",
            "status": "WON",
        }
        data = await graphql(UPDATE, id=lead["id"], input=given)
        assert data["updateLead"]["version"] == 1
        assert events() == []
        now = db.execute("SELECT updated_at FROM leads WHERE id = %s", (lead["id"],)).fetchone()
        assert now["updated_at"] == lead["updated_at"]

    @pytest.mark.parametrize("field", ["firstName", "lastName", "status"])
    async def test_does_not_clear_what_every_lead_has(self, refused, make_lead, field):
        error = await refused(UPDATE, id=make_lead()["id"], input={field: None})
        assert brief(error["extensions"]) == {"code": "BAD_USER_INPUT", "field": field}

    async def test_refuses_a_stale_version_and_tells_the_current_one(self, graphql, refused, make_lead):
        lead = make_lead()
        await graphql(UPDATE, id=lead["id"], input={"company": "First", "expectedVersion": 1})
        error = await refused(UPDATE, id=lead["id"], input={"company": "Second", "expectedVersion": 1})
        assert brief(error["extensions"]) == {
            "code": "CONFLICT",
            "conflict": "CHANGED",
            "field": "expectedVersion",
            "currentVersion": 2,
            "changed": [{"field": "company", "yours": "Second", "theirs": "First"}],
        }

    async def test_refuses_an_address_of_another(self, refused, make_lead):
        other, lead = make_lead(email="a@example.com"), make_lead(email="b@example.com")
        error = await refused(UPDATE, id=lead["id"], input={"email": "A@example.com"})
        assert brief(error["extensions"]) == {
            "code": "CONFLICT",
            "conflict": "TAKEN",
            "field": "email",
            "existingId": str(other["id"]),
        }

    async def test_lets_a_lead_change_the_case_of_its_own_address(self, graphql, make_lead):
        lead = make_lead(email="a@example.com")
        assert (await graphql(UPDATE, id=lead["id"], input={"email": "A@example.com"}))["updateLead"]["version"] == 2

    async def test_names_the_winner_to_whoever_lost_a_race(self, graphql, make_lead):
        leads = [make_lead() for _ in range(10)]
        racers = (
            graphql(UPDATE, expect_errors=True, id=lead["id"], input={"email": "race@example.com"}) for lead in leads
        )
        answers = await asyncio.gather(*racers)
        lost = [brief(answer["errors"][0]["extensions"]) for answer in answers if "errors" in answer]
        assert len(lost) == 9
        assert {error["code"] for error in lost} == {"CONFLICT"}
        winner = next(lead for lead, answer in zip(leads, answers, strict=True) if "errors" not in answer)
        assert {error["existingId"] for error in lost} == {str(winner["id"])}

    async def test_says_which_lead_is_missing(self, refused, make_lead):
        deleted = make_lead(deleted=True)
        for key in (deleted["id"], 2_000_000_000):
            error = await refused(UPDATE, id=key, input={"company": "x"})
            assert brief(error["extensions"]) == {"code": "NOT_FOUND", "entity": "lead", "id": str(key)}

    async def test_names_the_field_when_the_owner_does_not_exist(self, refused, make_lead):
        error = await refused(UPDATE, id=make_lead()["id"], input={"ownerId": NOBODY})
        assert brief(error["extensions"]) == {"code": "BAD_USER_INPUT", "field": "ownerId"}

    async def test_shows_edges_as_they_are_after_the_change(self, graphql, make_lead, make_user):
        lead, owner = make_lead(), make_user(name="Karin")
        data = await graphql(
            "mutation($id: Int!, $owner: ID!) { updateLead(id: $id, input: {ownerId: $owner}) "
            "{ owner { name } timeline { type } } }",
            id=lead["id"],
            owner=str(owner["id"]),
        )
        assert data["updateLead"] == {"owner": {"name": "Karin"}, "timeline": [{"type": "lead.updated"}]}


class TestDeleteLead:
    async def test_shows_what_it_deleted_with_its_tasks(self, graphql, make_lead, make_task, make_interaction):
        lead = make_lead()
        make_task(lead_id=lead["id"], title="Call")
        make_interaction(lead_id=lead["id"], subject="Hello")
        data = await graphql(
            "mutation($id: Int!) { deleteLead(id: $id) "
            "{ deletedAt openTaskCount tasks { title lead { id } } interactions { subject } } }",
            id=lead["id"],
        )
        found = data["deleteLead"]
        assert found.pop("deletedAt")
        assert found["openTaskCount"] == 1
        assert found["tasks"][0]["title"] == "Call"
        assert found["interactions"] == [{"subject": "Hello"}]

    async def test_hides_the_lead_and_all_that_belongs_to_it(
        self, graphql, make_lead, make_task, make_interaction, events
    ):
        lead = make_lead()
        task, interaction = make_task(lead_id=lead["id"]), make_interaction(lead_id=lead["id"])
        await graphql(DELETE, id=lead["id"])
        data = await graphql(
            "query($lead: Int!, $task: Int!, $interaction: Int!) { lead(id: $lead) { id } task(id: $task) { id } "
            "interaction(id: $interaction) { id } tasksByLeadId(leadId: $lead) { id } tasks { id } leads { id } }",
            lead=lead["id"],
            task=task["id"],
            interaction=interaction["id"],
        )
        assert data == {
            "lead": None,
            "task": None,
            "interaction": None,
            "tasksByLeadId": [],
            "tasks": [],
            "leads": [],
        }
        assert [event["type"] for event in events()] == ["lead.deleted"]

    async def test_does_not_delete_twice(self, graphql, refused, make_lead):
        lead = make_lead()
        await graphql(DELETE, id=lead["id"])
        error = await refused(DELETE, id=lead["id"])
        assert brief(error["extensions"]) == {"code": "NOT_FOUND", "entity": "lead", "id": str(lead["id"])}

    async def test_shows_deleted_leads_to_admins_who_ask_and_to_nobody_else(self, graphql, make_lead):
        lead = make_lead(deleted=True)
        query = "query($id: Int!) { lead(id: $id, includeDeleted: true) { id } }"
        assert (await graphql(query, id=lead["id"]))["lead"] == {"id": str(lead["id"])}
        answer = await graphql(query, role="member", expect_errors=True, id=lead["id"])
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"


class TestRestoreLead:
    async def test_brings_a_deleted_lead_back(self, graphql, make_lead, events):
        lead = make_lead(deleted=True)
        data = await graphql(RESTORE, id=lead["id"])
        assert data == {"restoreLead": {"deletedAt": None, "version": 2}}
        assert [event["type"] for event in events(entity_id=str(lead["id"]))] == ["lead.restored"]

    async def test_brings_its_tasks_back_but_not_those_deleted_before(self, graphql, make_lead, make_task):
        lead = make_lead(deleted=True)
        make_task(lead_id=lead["id"], title="Kept")
        make_task(lead_id=lead["id"], title="Gone", deleted=True)
        data = await graphql("mutation($id: Int!) { restoreLead(id: $id) { tasks { title } } }", id=lead["id"])
        assert data["restoreLead"]["tasks"] == [{"title": "Kept"}]

    async def test_refuses_when_another_took_the_address(self, refused, make_lead):
        lead, other = make_lead(email="a@example.com", deleted=True), make_lead(email="A@example.com")
        error = await refused(RESTORE, id=lead["id"])
        assert brief(error["extensions"]) == {
            "code": "CONFLICT",
            "conflict": "TAKEN",
            "field": "email",
            "existingId": str(other["id"]),
        }

    async def test_has_nothing_to_restore_of_a_living_lead(self, refused, make_lead):
        lead = make_lead()
        error = await refused(RESTORE, id=lead["id"])
        assert brief(error["extensions"]) == {"code": "NOT_FOUND", "entity": "lead", "id": str(lead["id"])}


class TestLeadBy:
    QUERY = "query($input: LeadKey!) { leadBy(input: $input) { id } }"

    @pytest.mark.parametrize(
        "key",
        [{"email": "ÅSA@example.com"}, {"phone": "0046701234567"}, {"phone": "+46 (70) 123-45 67"}],
        ids=str,
    )
    async def test_finds_a_lead_however_the_key_is_spelled(self, graphql, make_lead, key):
        make_lead(email="someone@example.com", phone="08-123 456")
        lead = make_lead(email="åsa@example.com", phone="+46 70 123 45 67")
        assert (await graphql(self.QUERY, input=key))["leadBy"] == {"id": str(lead["id"])}
        assert (await graphql(self.QUERY, input={"id": lead["id"]}))["leadBy"] == {"id": str(lead["id"])}

    @pytest.mark.parametrize(
        "key", [{"id": 99}, {"email": "x@example.com"}, {"phone": "123456"}, {"phone": "-"}], ids=str
    )
    async def test_finds_nobody(self, graphql, make_lead, key):
        make_lead(email="someone@example.com", phone=None)
        make_lead(phone="ask")
        assert (await graphql(self.QUERY, input=key))["leadBy"] is None

    async def test_does_not_find_the_deleted(self, graphql, make_lead):
        make_lead(email="a@example.com", phone="070-1234567", deleted=True)
        assert (await graphql(self.QUERY, input={"email": "a@example.com"}))["leadBy"] is None
        assert (await graphql(self.QUERY, input={"phone": "070-1234567"}))["leadBy"] is None

    async def test_does_not_take_one_country_for_another(self, graphql, make_lead):
        async def found(number):
            lead = (await graphql(self.QUERY, input={"phone": number}))["leadBy"]
            return lead and int(lead["id"])

        swedish, egyptian = make_lead(phone="+46 (0)70 555 12 34")["id"], make_lead(phone="0020 100 123 4567")["id"]
        for number in ("+4670 5551234", "0046 070-555 12 34", "070-5551234", "+46705551234 (mobile)"):
            assert await found(number) == swedish
        for number in ("+47 70 555 12 34", "+1705551234", "0035870 555 12 34"):
            assert await found(number) is None
        assert [await found(number) for number in ("+201001234567", "100 1234567")] == [egyptian, egyptian]
        norwegian, plain = make_lead(phone="+47 70 555 12 34")["id"], make_lead(phone="070 555 12 34")["id"]
        numbers = ("+46705551234", "+4770 5551234", "0705551234", "+358705551234")
        assert [await found(number) for number in numbers] == [swedish, norwegian, plain, plain]

    @pytest.mark.parametrize("key", [{}, {"id": 1, "email": "a@example.com"}, {"email": None}], ids=str)
    async def test_takes_exactly_one_key(self, refused, key):
        assert (await refused(self.QUERY, input=key))["extensions"]["code"] == "BAD_USER_INPUT"


class TestCounts:
    async def test_counts_what_is_to_be_done_and_suggestions_apart(self, graphql, make_lead, make_task):
        lead = make_lead()["id"]
        make_task(lead_id=lead)
        make_task(lead_id=lead, source="manual", generated_by="llm")
        make_task(lead_id=lead, completed=True)
        make_task(lead_id=lead, deleted=True)
        make_task(lead_id=lead, source="dismissed")
        make_task(lead_id=lead, source="ai_suggested", generated_by="playbook")
        make_task(lead_id=lead, source="ai_suggested", generated_by="playbook", completed=True)
        make_task()
        data = await graphql("query($id: Int!) { lead(id: $id) { openTaskCount suggestedTaskCount } }", id=lead)
        assert data["lead"] == {"openTaskCount": 2, "suggestedTaskCount": 1}

    async def test_tells_when_they_were_last_in_touch(self, graphql, make_lead, make_interaction):
        lead = make_lead()["id"]
        make_interaction(lead_id=lead, occurred_at="2026-03-01T10:00:00+01:00")
        make_interaction(lead_id=lead, occurred_at="2026-02-01T10:00:00Z")
        data = await graphql("query($id: Int!) { lead(id: $id) { lastInteractionAt } }", id=lead)
        assert data["lead"]["lastInteractionAt"] == "2026-03-01T09:00:00.000000Z"


class TestSummaryIsStale:
    QUERY = "query($id: Int!) { lead(id: $id) { summaryIsStale } }"

    async def test_turns_true_when_something_happens(self, graphql, make_lead):
        lead = make_lead(summary="All is well.", summary_generated_at="2026-01-01T00:00:00Z")["id"]
        assert (await graphql(self.QUERY, id=lead))["lead"] == {"summaryIsStale": False}
        await graphql(f"mutation {{ logInteraction(input: {{leadId: {lead}, type: CALL}}) {{ id }} }}")
        assert (await graphql(self.QUERY, id=lead))["lead"] == {"summaryIsStale": True}

    async def test_is_false_without_a_summary(self, graphql, make_lead):
        lead = make_lead()["id"]
        await graphql(UPDATE, id=lead, input={"company": "x"})
        assert (await graphql(self.QUERY, id=lead))["lead"] == {"summaryIsStale": False}


class TestSeveralFields:
    async def test_an_earlier_one_stands_when_a_later_one_fails(self, graphql, make_lead, db):
        one, two = make_lead(), make_lead()
        answer = await graphql(
            "mutation($one: Int!, $two: Int!) { "
            'first: updateLead(id: $one, input: {company: "A"}) { id } '
            "second: deleteLead(id: 999) { id } "
            'third: updateLead(id: $two, input: {company: "C"}) { id } }',
            expect_errors=True,
            one=one["id"],
            two=two["id"],
        )
        assert answer["data"] is None
        (error,) = answer["errors"]
        assert error["path"] == ["second"]
        assert error["extensions"]["code"] == "NOT_FOUND"
        companies = db.execute("SELECT company FROM leads ORDER BY id").fetchall()
        assert companies[0] == {"company": "A"}

    async def test_they_run_one_after_another(self, graphql, make_lead):
        lead = make_lead()["id"]
        data = await graphql(
            "mutation($id: Int!) { "
            + " ".join(f'm{n}: updateLead(id: $id, input: {{company: "{n}"}}) {{ company version }}' for n in range(20))
            + " }",
            id=lead,
        )
        assert [data[f"m{n}"] for n in range(20)] == [{"company": str(n), "version": n + 2} for n in range(20)]
