import asyncio
import time

import pytest

from tests.support.problems import brief, reasons

CREATE = "mutation($input: CreateUserInput!) { createUser(input: $input) { id email name role disabledAt } }"
UPDATE = "mutation($id: ID!, $input: UpdateUserInput!) { updateUser(id: $id, input: $input) { name role } }"
DISABLE = "mutation($id: ID!, $disabled: Boolean) { disableUser(id: $id, disabled: $disabled) { disabledAt } }"
NOBODY = "0b5c7c1e-7f0a-4b1e-9c57-0d3c1b2a4f10"


@pytest.fixture
def no_service_admin(db):
    """Without the service admin an admin may really be the last."""
    db.execute("UPDATE users SET role = 'member' WHERE email = 'service-admin@crm.invalid'")
    yield
    db.execute("UPDATE users SET role = 'admin' WHERE email = 'service-admin@crm.invalid'")


@pytest.fixture
def signed_in(server, client):
    """Run an operation as one particular user."""

    def as_user(user):
        headers = {"Authorization": f"Bearer {server.token(user['role'], email=user['email'])}"}

        async def run(query, **variables):
            response = await client.post("/graphql", json={"query": query, "variables": variables}, headers=headers)
            return response.json()

        return run

    return as_user


class TestMe:
    async def test_is_the_user_that_the_token_stands_for(self, graphql):
        data = await graphql("{ me { email role } }", role="viewer")
        assert data["me"] == {"email": "service-viewer@crm.invalid", "role": "VIEWER"}


class TestUsers:
    async def test_lists_people_by_name_for_pickers(self, graphql, make_user):
        for name in ("Örjan", "Anna"):
            make_user(name=name)
        data = await graphql('{ users(filter: {email: {endsWith: "@example.com"}}) { name } }', role="viewer")
        assert [user["name"] for user in data["users"]] == ["Anna", "Örjan"]


class TestCreateUser:
    async def test_adds_a_member_unless_said_otherwise(self, graphql, events):
        data = await graphql(CREATE, input={"email": " Anna@example.com ", "name": "Anna"})
        found = data["createUser"]
        key = found.pop("id")
        assert found == {"email": "Anna@example.com", "name": "Anna", "role": "MEMBER", "disabledAt": None}
        (event,) = events()
        assert (event["type"], event["entity_id"], event["lead_id"]) == ("user.created", key, None)

    async def test_refuses_an_address_that_another_has(self, refused, make_user):
        make_user(email="åsa@example.com")
        error = await refused(CREATE, input={"email": "ÅSA@example.com", "name": "Åsa"})
        assert (error["code"], error["field"]) == ("CONFLICT", "email")

    @pytest.mark.parametrize(
        ("field", "value"),
        [("email", "anna"), ("email", " "), ("email", "a\u200b@example.com"), ("name", ""), ("name", "x" * 201)],
    )
    async def test_refuses_what_makes_no_sense_and_says_where(self, refused, field, value):
        error = await refused(CREATE, input={"email": "a@example.com", "name": "A", field: value})
        assert (error["code"], error["field"]) == ("BAD_USER_INPUT", field)

    @pytest.mark.parametrize("role", ["member", "viewer"])
    async def test_is_for_admins_only(self, refused, make_user, role):
        user = str(make_user()["id"])
        given = {"email": "a@example.com", "name": "A"}
        assert (await refused(CREATE, role=role, input=given))["code"] == "FORBIDDEN"
        assert (await refused(UPDATE, role=role, id=user, input={"name": "A"}))["code"] == "FORBIDDEN"
        assert (await refused(DISABLE, role=role, id=user, disabled=True))["code"] == "FORBIDDEN"


class TestUpdateUser:
    async def test_keeps_what_is_left_out(self, graphql, make_user, events):
        user = make_user(name="Anna", role="viewer")
        data = await graphql(UPDATE, id=str(user["id"]), input={"role": "MEMBER"})
        assert data["updateUser"] == {"name": "Anna", "role": "MEMBER"}
        (event,) = events()
        assert event["fields"] == [{"name": "role", "before": "VIEWER", "after": "MEMBER"}]

    async def test_changes_nothing_when_nothing_changes(self, graphql, make_user, events):
        user = make_user(name="Anna")
        await graphql(UPDATE, id=str(user["id"]), input={"name": "Anna", "email": user["email"], "role": "MEMBER"})
        assert events() == []

    @pytest.mark.parametrize("field", ["name", "email", "role"])
    async def test_does_not_clear_what_every_user_has(self, refused, make_user, field):
        error = await refused(UPDATE, id=str(make_user()["id"]), input={field: None})
        assert brief(error) == {"code": "BAD_USER_INPUT", "field": field}

    async def test_says_which_user_is_missing(self, refused):
        error = await refused(UPDATE, id=NOBODY, input={"name": "A"})
        assert brief(error) == {"code": "NOT_FOUND", "entity": "user", "id": NOBODY}
        error = await refused(UPDATE, id="7", input={"name": "A"})
        assert brief(error) == {"code": "BAD_USER_INPUT", "field": "id"}
        assert reasons(error) == [("id", "NOT_AN_ID")]

    @pytest.mark.usefixtures("no_service_admin")
    async def test_keeps_the_last_admin(self, signed_in, make_user):
        last = make_user(role="admin")
        make_user(role="admin", disabled_at="2026-01-01T00:00:00Z")
        answer = await signed_in(last)(UPDATE, id=str(last["id"]), input={"role": "MEMBER"})
        assert answer["errors"][0]["extensions"]["code"] == "CONFLICT"

    @pytest.mark.usefixtures("no_service_admin")
    async def test_keeps_an_admin_when_all_step_down_at_once(self, signed_in, make_user, db):
        admins = [make_user(role="admin") for _ in range(6)]
        await asyncio.gather(*(signed_in(one)(UPDATE, id=str(one["id"]), input={"role": "MEMBER"}) for one in admins))
        left = db.execute("SELECT count(*) AS count FROM users WHERE role = 'admin'").fetchone()["count"]
        assert left == 1

    async def test_lets_an_admin_step_down_when_another_stays(self, graphql, make_user):
        user = make_user(role="admin")
        assert (await graphql(UPDATE, id=str(user["id"]), input={"role": "VIEWER"}))["updateUser"]["role"] == "VIEWER"


class TestDisableUser:
    async def test_shuts_a_user_out_within_seconds_and_lets_them_in_again(self, graphql, signed_in, make_user):
        user = make_user()
        theirs = signed_in(user)
        assert (await theirs("{ me { id } }"))["data"]["me"] == {"id": str(user["id"])}
        data = await graphql(DISABLE, id=str(user["id"]), disabled=True)
        assert data["disableUser"]["disabledAt"]
        deadline = time.monotonic() + 6
        answer = await theirs("{ me { id } }")
        while "errors" not in answer and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
            answer = await theirs("{ me { id } }")
        assert answer["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
        assert (await graphql(DISABLE, id=str(user["id"]), disabled=False))["disableUser"] == {"disabledAt": None}
        assert (await theirs("{ me { id } }"))["data"]["me"] == {"id": str(user["id"])}

    async def test_changes_nothing_when_nothing_changes(self, graphql, make_user, events):
        user = make_user(disabled_at="2026-01-01T00:00:00Z")
        data = await graphql(DISABLE, id=str(user["id"]), disabled=True)
        assert data["disableUser"] == {"disabledAt": "2026-01-01T00:00:00.000000Z"}
        assert events() == []

    async def test_leaves_their_leads_and_tasks_to_them(self, graphql, make_user, make_lead, make_task):
        user = make_user(name="Anna")
        lead = make_lead(owner_id=user["id"])
        make_task(lead_id=lead["id"], assignee_id=user["id"])
        await graphql(DISABLE, id=str(user["id"]), disabled=True)
        data = await graphql("{ leads { owner { name } tasks { assignee { name } } } }")
        assert data["leads"] == [{"owner": {"name": "Anna"}, "tasks": [{"assignee": {"name": "Anna"}}]}]

    async def test_does_not_let_you_disable_yourself(self, signed_in, make_user):
        user = make_user(role="admin")
        answer = await signed_in(user)(DISABLE, id=str(user["id"]), disabled=True)
        assert answer["errors"][0]["extensions"]["code"] == "CONFLICT"


class TestFormerAdmin:
    """A server knows a user's role as it was some seconds ago; users are changed by those who are admins now."""

    @pytest.fixture(params=["demoted", "disabled"])
    async def former(self, request, graphql, signed_in, make_user):
        user = make_user(role="admin")
        assert (await signed_in(user)("{ me { role } }"))["data"]["me"]["role"] == "ADMIN"
        if request.param == "demoted":
            await graphql(UPDATE, id=str(user["id"]), input={"role": "VIEWER"})
        else:
            await graphql(DISABLE, id=str(user["id"]), disabled=True)
        return user

    async def test_cannot_undo_it(self, former, signed_in, db):
        theirs = signed_in(former)
        answers = [
            await theirs(UPDATE, id=str(former["id"]), input={"role": "ADMIN"}),
            await theirs(DISABLE, id=str(former["id"]), disabled=False),
            await theirs(CREATE, input={"email": "back@example.com", "name": "Back", "role": "ADMIN"}),
        ]
        codes = {answer["errors"][0]["extensions"]["code"] for answer in answers}
        assert codes <= {"FORBIDDEN", "UNAUTHENTICATED"}  # the latter once the server has looked again
        found = db.execute("SELECT role, disabled_at FROM users WHERE id = %s", (former["id"],)).fetchone()
        assert found["role"] == "viewer" or found["disabled_at"]
        assert not db.execute("SELECT FROM users WHERE email = 'back@example.com'").fetchall()
