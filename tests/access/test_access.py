"""Who may come in, and what each role may do there."""

import asyncio
import json
import socket
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    get_named_type,
    is_leaf_type,
    is_required_argument,
    is_required_input_field,
)

from crm.access.tokens import AUDIENCE, ISSUER
from crm.core.identity import Role
from crm.db.embedded import create_database
from crm.graph.declare.ids import IS_NUMBER
from crm.schema import schema
from tests.support.servers import SECRET, Server

TYPES: dict[str, Any] = schema._schema.type_map  # noqa: SLF001
ME = {"query": "{ me { role } }"}

# Who may use what. A new root field has to be added here, with the least role that may.
RULES = {
    "Query": {
        "aiStatus": Role.MEMBER,
        "aiTask": Role.VIEWER,
        "aiTaskQueueStatus": Role.VIEWER,
        "aiTaskStatistics": Role.VIEWER,
        "aiTasks": Role.VIEWER,
        "aiUsage": Role.ADMIN,
        "changeStream": Role.VIEWER,
        "interaction": Role.VIEWER,
        "interactions": Role.VIEWER,
        "interactionsConnection": Role.VIEWER,
        "lead": Role.VIEWER,
        "leadBy": Role.VIEWER,
        "interactionStats": Role.VIEWER,
        "leadStats": Role.VIEWER,
        "tagCounts": Role.VIEWER,
        "taskStats": Role.VIEWER,
        "leads": Role.VIEWER,
        "leadsConnection": Role.VIEWER,
        "me": Role.VIEWER,
        "node": Role.VIEWER,
        "nodes": Role.VIEWER,
        "search": Role.VIEWER,
        "task": Role.VIEWER,
        "taskAnalytics": Role.VIEWER,
        "tasks": Role.VIEWER,
        "tasksByLeadId": Role.VIEWER,
        "tasksConnection": Role.VIEWER,
        "users": Role.VIEWER,
    },
    "Mutation": {
        "cancelAiTask": Role.MEMBER,
        "cancelAiTasks": Role.MEMBER,
        "cleanupOldAiTasks": Role.ADMIN,
        "completeTask": Role.MEMBER,
        "createAiTask": Role.MEMBER,
        "createAiTasks": Role.MEMBER,
        "rateAiTask": Role.MEMBER,
        "requestSummary": Role.MEMBER,
        "requestTaskRecommendations": Role.MEMBER,
        "retryAiTask": Role.MEMBER,
        "timeoutStaleAiTasks": Role.ADMIN,
        "updateAiTaskPriority": Role.MEMBER,
        "createLead": Role.MEMBER,
        "createLeads": Role.MEMBER,
        "updateLeads": Role.MEMBER,
        "deleteLeads": Role.MEMBER,
        "updateTasks": Role.MEMBER,
        "completeTasks": Role.MEMBER,
        "createTask": Role.MEMBER,
        "createUser": Role.ADMIN,
        "deleteInteraction": Role.MEMBER,
        "deleteLead": Role.MEMBER,
        "deleteTask": Role.MEMBER,
        "disableUser": Role.ADMIN,
        "generateTaskRecommendations": Role.MEMBER,
        "logInteraction": Role.MEMBER,
        "recalculateAllScores": Role.MEMBER,
        "recommendTasks": Role.MEMBER,
        "regenerateSummary": Role.MEMBER,
        "restoreLead": Role.MEMBER,
        "restoreTask": Role.MEMBER,
        "setTaskSource": Role.MEMBER,
        "updateInteraction": Role.MEMBER,
        "updateLead": Role.MEMBER,
        "updateTask": Role.MEMBER,
        "updateTaskSource": Role.MEMBER,
        "updateUser": Role.ADMIN,
        "writeSummary": Role.MEMBER,
    },
    "Subscription": {"aiTaskQueueUpdated": Role.VIEWER, "aiTaskUpdated": Role.VIEWER, "changes": Role.VIEWER},
}
DELETED = [name for name, field in TYPES["Query"].fields.items() if "includeDeleted" in field.args]
WALK = [(kind, name) for kind in ("Query", "Mutation") for name in TYPES[kind].fields]


def claims(**changed: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    whole = {"role": "admin", "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + timedelta(hours=1), **changed}
    return {name: value for name, value in whole.items() if value is not ...}


class TestTokens:
    @pytest.fixture
    def admin(self, db):
        return str(db.execute("SELECT id FROM users WHERE email = 'service-admin@crm.invalid'").fetchone()["id"])

    @staticmethod
    async def refused(client, header: str | bytes | None) -> None:
        request = client.build_request("POST", "/graphql", json=ME)
        del request.headers["authorization"]
        if header is not None:
            request.headers["authorization"] = header
        response = await client.send(request)
        assert response.status_code == 401, response.text
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert "data" not in response.json()
        assert response.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"

    @pytest.mark.parametrize(
        "header",
        [
            None,
            "",
            "Bearer",
            "Bearerx",
            "Bearer x",
            "Bearer a.b.c",
            "Basic YTpi",
            "Token x",
            "Bearer ..",
        ],
    )
    async def test_no_token(self, client, header):
        await self.refused(client, header)

    async def test_a_good_one_comes_in(self, client, admin):
        header = {"Authorization": f"bearer  {jwt.encode(claims(sub=admin), SECRET)}"}
        assert (await client.post("/graphql", json=ME, headers=header)).json() == {"data": {"me": {"role": "ADMIN"}}}

    @pytest.mark.parametrize(
        "changed",
        [
            {"exp": datetime.now(UTC) - timedelta(seconds=1)},
            {"exp": ...},
            {"exp": "soon"},
            {"exp": 10**400},
            {"exp": "99999999999"},
            {"iat": ...},
            {"iat": datetime.now(UTC) + timedelta(hours=1)},
            {"nbf": datetime.now(UTC) + timedelta(hours=1)},
            {"iss": ...},
            {"iss": "another"},
            {"aud": ...},
            {"aud": "another"},
            {"role": ...},
            {"role": "owner"},
            {"role": ["admin"]},
            {"role": None},
            {"sub": ...},
            {"sub": "admin"},
            {"sub": str(uuid.UUID(int=0))},
            {"sub": "' OR 1=1 --"},
        ],
        ids=lambda changed: "-".join(f"{key}:{type(value).__name__}" for key, value in changed.items()),
    )
    async def test_other_claims(self, client, admin, changed):
        await self.refused(client, f"Bearer {jwt.encode(claims(**{'sub': admin, **changed}), SECRET)}")

    async def test_another_secret(self, client, admin):
        await self.refused(client, f"Bearer {jwt.encode(claims(sub=admin), SECRET + '!')}")

    @pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
    async def test_another_algorithm(self, client, admin, algorithm):
        await self.refused(client, f"Bearer {jwt.encode(claims(sub=admin), SECRET * 2, algorithm)}")

    async def test_no_algorithm(self, client, admin):
        unsigned = jwt.encode(claims(sub=admin), None, "none")
        signed = jwt.encode(claims(sub=admin), SECRET)
        await self.refused(client, f"Bearer {unsigned}")
        await self.refused(client, f"Bearer {unsigned}{signed.rsplit('.', 1)[1]}")
        await self.refused(client, f"Bearer {signed.rsplit('.', 1)[0]}.")

    async def test_an_algorithm_that_is_not_what_it_says(self, client, admin):
        _, payload, signature = jwt.encode(claims(sub=admin), SECRET).split(".")
        for algorithm in ("RS256", "ES256", "hs256", "", None, 5):
            header = jwt.utils.base64url_encode(json.dumps({"alg": algorithm, "typ": "JWT"}).encode()).decode()
            await self.refused(client, f"Bearer {header}.{payload}.{signature}")

    async def test_a_key_by_any_address_is_not_fetched(self, client, admin):
        headers = {"kid": "../../dev/null", "jku": "http://127.0.0.1:1/", "jwk": {"kty": "oct", "k": ""}}
        await self.refused(client, f"Bearer {jwt.encode(claims(sub=admin), 'x' * 32, headers=headers)}")

    async def test_more_than_its_user_is_no_more(self, client, make_user):
        member = make_user(role="member")
        header = {"Authorization": f"Bearer {jwt.encode(claims(sub=str(member['id'])), SECRET)}"}
        query = {"query": 'mutation { createUser(input: {email: "a@b.se", name: "A"}) { id } }'}
        answer = (await client.post("/graphql", json=query, headers=header)).json()
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"

    async def test_less_than_its_user_is_less(self, client, admin):
        header = {"Authorization": f"Bearer {jwt.encode(claims(sub=admin, role='viewer'), SECRET)}"}
        answer = (await client.post("/graphql", json={"query": MUTATE}, headers=header)).json()
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"

    async def test_it_ends_when_it_says(self, client, server):
        token = server.token(lifetime=2)
        header = {"Authorization": f"Bearer {token}"}
        assert (await client.post("/graphql", json=ME, headers=header)).status_code == 200
        await asyncio.sleep(2.1)
        await self.refused(client, header["Authorization"])

    async def test_a_disabled_user_is_out_within_seconds(self, client, make_user, db):
        user = make_user(role="admin")
        header = {"Authorization": f"Bearer {jwt.encode(claims(sub=str(user['id'])), SECRET)}"}
        assert (await client.post("/graphql", json=ME, headers=header)).status_code == 200
        db.execute("UPDATE users SET disabled_at = now() WHERE id = %s", [user["id"]])
        disabled = time.monotonic()
        while (await client.post("/graphql", json=ME, headers=header)).status_code == 200:
            assert time.monotonic() - disabled < 8
            await asyncio.sleep(0.2)
        await self.refused(client, header["Authorization"])


MUTATE = 'mutation { createLead(input: {firstName: "A", lastName: "B"}) { id } }'
SAMPLES = {
    "Boolean": "true",
    "Date": '"2026-01-01"',
    "DateTime": '"2026-01-01T00:00:00Z"',
    "Decimal": '"0.5"',
    "Float": "0.5",
    "ID": f'"{uuid.UUID(int=7)}"',
    "Int": "404",
    "JSON": "{}",
    "String": '"a@example.com"',
}


def given(one: Any) -> str:
    """A literal that fits an argument or an input's field."""
    is_number_id = IS_NUMBER.items() <= one.extensions["strawberry-definition"].metadata.items()
    return SAMPLES["Int"] if is_number_id else sample(one.type)


def sample(kind: Any) -> str:
    """A literal that fits an input type, with what is required only."""
    if isinstance(kind, GraphQLNonNull):
        return sample(kind.of_type)
    if isinstance(kind, GraphQLList):
        return f"[{sample(kind.of_type)}]"
    if isinstance(kind, GraphQLEnumType):
        return next(iter(kind.values))
    if isinstance(kind, GraphQLInputObjectType):
        required = {name: field for name, field in kind.fields.items() if is_required_input_field(field)}
        if kind.extensions["strawberry-definition"].is_one_of:
            required = dict([next(iter(kind.fields.items()))])
        return f"{{{', '.join(f'{name}: {given(field)}' for name, field in required.items())}}}"
    return SAMPLES[kind.name]


def operation(kind: str, name: str, **arguments: str) -> str:
    """The shortest operation that uses a root field, with these arguments too."""
    field = TYPES[kind].fields[name]
    parts = [f"{label}: {given(one)}" for label, one in field.args.items() if is_required_argument(one)]
    parts += [f"{label}: {value}" for label, value in arguments.items()]
    passed = f"({', '.join(parts)})" if parts else ""
    selection = "" if is_leaf_type(get_named_type(field.type)) else " { __typename }"
    return f"{kind.lower()} {{ {name}{passed}{selection} }}"


class TestRoles:
    def test_every_root_field_has_a_rule(self):
        assert {kind: set(TYPES[kind].fields) for kind in RULES} == {k: set(v) for k, v in RULES.items()}

    @pytest.mark.parametrize("role", Role)
    @pytest.mark.parametrize(("kind", "name"), WALK, ids=[name for _, name in WALK])
    async def test_each_role_may_what_the_rule_says(self, graphql, db, kind, name, role):
        answer = await graphql(operation(kind, name), role=role.value, expect_errors=True)
        codes = {error["extensions"]["code"] for error in answer.get("errors", [])}
        assert "INTERNAL" not in codes
        assert ("FORBIDDEN" in codes) == (not role.includes(RULES[kind][name])), answer
        if "FORBIDDEN" in codes:
            assert not (answer.get("data") or {}).get(name)
            assert db.execute("SELECT count(*) AS n FROM events").fetchone() == {"n": 0}

    @pytest.mark.parametrize("role", ["viewer", "member"])
    @pytest.mark.parametrize("by", ["literal", "variable", "default"])
    @pytest.mark.parametrize("root", DELETED)
    async def test_only_admins_see_what_is_deleted(self, graphql, root, by, role):
        argument = "true" if by == "literal" else "$d"
        head = {"literal": "query", "variable": "query($d: Boolean!)", "default": "query($d: Boolean! = true)"}[by]
        query = f"{head} {operation('Query', root, includeDeleted=argument).removeprefix('query')}"
        variables = {"d": True} if by == "variable" else {}
        answer = await graphql(query, role=role, expect_errors=True, **variables)
        assert answer["errors"][0]["extensions"] == {"code": "FORBIDDEN", "field": "includeDeleted"}
        assert not (answer.get("data") or {}).get(root)
        assert root in await graphql(query, **variables)

    @pytest.mark.parametrize("root", ["leads", "leadsConnection", "lead", "task", "tasks", "tasksConnection"])
    async def test_admins_do_see_it(self, graphql, make_lead, make_task, root):
        make_lead(deleted=True)
        make_task(deleted=True)
        given = "id: 1, includeDeleted: true" if root in ("lead", "task") else "includeDeleted: true"
        selection = "{ nodes { id } }" if root.endswith("Connection") else "{ id }"
        found = (await graphql(f"{{ {root}({given}) {selection} }}"))[root]
        assert found["nodes"] if root.endswith("Connection") else found


@pytest.fixture(scope="module")
def dev(postgres, tmp_path_factory):
    """`crm dev`, on a database of its own."""
    create_database(postgres.url.replace("/crm?", "/postgres?"), "dev")
    url = postgres.url.replace("/crm?", "/dev?")
    log = tmp_path_factory.mktemp("dev") / "log"
    running = Server(url, log, command=("dev", "--no-demo")).start()
    yield running
    running.stop()


class TestDevelopment:
    """`crm dev` needs no token, so only this machine's own programs and pages may use it."""

    @pytest.fixture
    def ask(self, dev, client):
        async def ask(
            method: str = "POST", body: bytes = json.dumps(ME).encode(), url: str = "/graphql", **headers: str
        ):
            request = client.build_request(method, f"{dev.url}{url}", content=body)
            del request.headers["authorization"]
            request.headers.update(
                {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
            )
            return await client.send(request)

        return ask

    async def test_a_program_acts_as_the_local_admin(self, ask):
        assert (await ask()).json() == {"data": {"me": {"role": "ADMIN"}}}

    async def test_a_bad_token_is_not_the_local_admin(self, ask):
        assert (await ask(Authorization="Bearer nonsense")).status_code == 401

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
    async def test_names_of_this_machine(self, ask, dev, host):
        assert (await ask(Host=f"{host}:{dev.port}")).status_code == 200
        assert (await ask(Host=host, Origin=f"http://{host.lower()}")).status_code in (200, 403)
        assert (await ask(Host=f"{host}:{dev.port}", Origin=f"http://{host}:{dev.port}")).status_code == 200

    @pytest.mark.parametrize(
        "host",
        ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "0.0.0.0", "127.0.0.2", "10.0.0.1", "[", "[::2]",
         "evil.example:8000", "localhost@evil.example", "localhost evil.example", "localhost/evil.example:80", "x"],
    )  # fmt: skip
    async def test_other_names_are_refused(self, ask, host):
        response = await ask(Host=host)
        assert response.status_code == 403
        assert response.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"

    def test_no_name_at_all_is_refused(self, dev):
        with socket.create_connection(("127.0.0.1", dev.port), timeout=10) as plain:
            plain.sendall(b"GET /graphql?query={me{role}} HTTP/1.0\r\nOrigin: null\r\n\r\n")
            assert plain.recv(65536).startswith(b"HTTP/1.1 403 ")

    @pytest.mark.parametrize("page", ["https://evil.example", "null", "http://localhost:1", "file://", "http://[", ""])
    async def test_other_pages_are_refused(self, ask, page):
        for method, url in (("POST", "/graphql"), ("GET", "/graphql?query={me{role}}")):
            response = await ask(method, url=url, Origin=page)
            assert response.status_code == 403
            assert not [name for name in response.headers if name.startswith("access-control")]

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
    async def test_a_form_is_not_json(self, ask, kind):
        assert (await ask(body=json.dumps({"query": MUTATE}).encode(), Content_Type=kind)).status_code == 415

    async def test_a_link_changes_nothing(self, ask):
        response = await ask("GET", url="/graphql?query=mutation{deleteLead(id:1){id}}")
        assert response.status_code == 405
