"""The five screens of docs/guides/screens.md, each run as the guide shows it, on demo data, over HTTP."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crm.demo.load import load
from crm.demo.team import TEAM
from crm.sales.leads.model import LeadStatus
from crm.web.graphiql.page import EXAMPLES
from tests.clients.typescript.test_guides import shape
from tests.support import screens
from tests.support.websockets import signed_in

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "screens.md").read_text("utf-8")
BLOCK = re.compile(r"^```(\w+) ([\w-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall(GUIDE)
LEADS, NOW = 60, datetime(2026, 11, 30, 12, tzinfo=UTC)
PEOPLE = [colleague.email for colleague in TEAM if colleague.sells_in]
PIPELINE = [status.name for status in LeadStatus]
CARDS = "SELECT id::text FROM leads WHERE status = %s AND deleted_at IS NULL ORDER BY updated_at DESC, id DESC"


@pytest.fixture
def demo(db, database_url):
    """Demo data, with a plain connection to it."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        load(connection, LEADS, now=NOW)
    return db


@pytest.fixture
def ask(client, server):
    """Send one of the guide's operations, in one request; returns its status and its answer."""

    async def sent(name, person=None, language="en", **variables):
        token = server.token("member", email=person) if person else server.token("member")
        headers = {
            "Accept": "application/graphql-response+json",
            "Accept-Language": language,
            "Authorization": f"Bearer {token}",
            "X-Cost": "1",
        }
        asked = {"query": screens.operations()[name], "variables": variables}
        answer = await client.post("/graphql", json=asked, headers=headers)
        return answer.status_code, answer.json()

    return sent


@pytest.fixture
def follow(server):
    """Follow one of the guide's subscriptions from a cursor; returns the first change."""

    async def heard(name, **variables):
        payload = {"query": screens.operations()[name], "variables": variables}
        async with await signed_in(server.url, server.token("member")) as socket:
            await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
            return json.loads(await socket.recv())["payload"]["data"]["changes"]

    return heard


def shown(name):
    """What the guide shows as the answer to an operation."""
    (text,) = (text for kind, word, text in BLOCKS if kind == "json" and word == name)
    return json.loads(text)


def problems(answer):
    return answer["errors"][0]["extensions"]


def told(answer):
    """What a conflict says, but for the moment."""
    return {name: value for name, value in problems(answer).items() if name != "changedAt"}


class TestGuide:
    @pytest.mark.parametrize("name", screens.FILES)
    def test_shows_the_documents_that_graphiql_has(self, name):
        pieces = [text for kind, word, text in BLOCKS if (kind, word) == ("graphql", name)]
        assert "\n".join(pieces) == screens.FILES[name].read_text("utf-8")

    def test_shows_the_variables_that_graphiql_has_for_the_form(self):
        (text,) = (text for kind, word, text in BLOCKS if word == "variables" and "firstName" in text)
        assert json.loads(text) == json.loads((EXAMPLES / "13-form.json").read_text("utf-8"))

    @pytest.mark.usefixtures("db")
    async def test_says_what_each_costs(self, ask):
        given: dict[str, dict[str, Any]] = {
            "Kanban": {},
            "LeadPage": {"id": 1},
            "MyDay": {"midnight": NOW.isoformat()},
            "NewLead": {"input": {"firstName": " ", "lastName": "Ek"}},
            "Answer": {"taskId": 1, "source": "MANUAL", "version": 1},
        }
        costs = [(await ask(name, **variables))[1]["extensions"]["cost"] for name, variables in given.items()]
        rows = re.findall(r"^\| [^|]+ \| ([\d,]+) \| [\d.]+ ms", GUIDE, re.MULTILINE)
        assert [f"{cost['requested']:,}" for cost in costs] == rows


class TestKanban:
    async def test_has_the_columns_in_order_with_all_their_leads_counted(self, ask, demo):
        status, answer = await ask("Kanban", first=3)
        data = answer["data"]
        assert status == 200
        assert list(data) == ["columns", *PIPELINE, "changeStream"]
        assert [column["status"] for column in data["columns"]] == PIPELINE
        for column in data["columns"]:
            ids = [row["id"] for row in demo.execute(CARDS, [column["status"].lower()])]
            cards = data[column["status"]]
            assert column["count"] == len(ids) > 0
            assert [card["id"] for card in cards["nodes"]] == ids[:3]
            assert cards["pageInfo"]["hasNextPage"] == (len(ids) > 3)
        assert shape(shown("Kanban")) <= shape(answer)

    async def test_goes_on_in_one_column_by_its_cursor(self, ask, demo):
        _, answer = await ask("Kanban", first=2)
        after = answer["data"]["LOST"]["pageInfo"]["endCursor"]
        _, answer = await ask("KanbanColumn", status="LOST", after=after, first=2)
        ids = [row["id"] for row in demo.execute(CARDS, ["lost"])]
        assert [card["id"] for card in answer["data"]["leadsConnection"]["nodes"]] == ids[2:4]

    async def test_moves_a_card_once_and_tells_the_other_who_drags_it(self, ask, follow, demo):
        lead = demo.execute("SELECT id, version FROM leads WHERE status = 'new' LIMIT 1").fetchone()
        card = {"id": lead["id"], "version": lead["version"]}
        _, answer = await ask("Kanban", first=1)
        before = answer["data"]["changeStream"]["cursor"]
        status, answer = await ask("MoveLead", PEOPLE[0], **card, to="CONTACTED")
        assert (status, answer["data"]["updateLead"]["status"]) == (200, "CONTACTED")
        assert (await follow("BoardChanges", after=before))["lead"] == answer["data"]["updateLead"]
        status, answer = await ask("MoveLead", PEOPLE[1], **card, to="QUALIFIED")
        assert status == 294
        assert told(answer) == {**told(shown("MoveLead")), "currentVersion": lead["version"] + 1}


class TestLeadPage:
    async def test_has_everything_about_a_lead(self, ask, demo):
        lead = demo.execute(
            "SELECT lead_id AS id FROM tasks JOIN leads ON leads.id = lead_id WHERE leads.deleted_at IS NULL AND "
            "leads.owner_id IS NOT NULL GROUP BY 1 HAVING bool_or(tasks.source = 'ai_suggested') "
            "AND bool_or(NOT tasks.completed AND tasks.source = 'manual') LIMIT 1"
        ).fetchone()
        status, answer = await ask("LeadPage", id=lead["id"])
        page = answer["data"]["lead"]
        assert status == 200
        assert page["owner"]
        assert len(page["openTasks"]) == page["openTaskCount"] > 0
        due = [task["dueDate"] for task in page["openTasks"]]
        assert due == sorted(due)
        assert page["nextDueAt"] == due[0]
        assert page["suggestions"]
        happened = [one["occurredAt"] for one in page["activities"]["nodes"]]
        assert happened == sorted(happened, reverse=True)
        assert shape(shown("LeadPage")) <= shape(answer)

    async def test_goes_on_with_what_happened_before_and_what_happens_now(self, ask, follow, demo):
        lead = demo.execute("SELECT id FROM leads WHERE status = 'won' AND deleted_at IS NULL LIMIT 1").fetchone()["id"]
        _, answer = await ask("LeadPage", id=lead)
        page, cursor = answer["data"]["lead"], answer["data"]["changeStream"]["cursor"]
        _, answer = await ask("LeadHistory", id=lead, after=page["activities"]["pageInfo"]["endCursor"])
        rest = answer["data"]["lead"]["activities"]["nodes"]
        assert bool(rest) == page["activities"]["pageInfo"]["hasNextPage"]
        await ask("MoveLead", id=lead, version=page["version"], to="PROPOSAL")
        heard = await follow("LeadChanges", leadId=lead, after=cursor)
        assert heard["lead"]["status"] == "PROPOSAL"


class TestMyDay:
    async def test_has_each_open_task_with_a_due_date_in_one_list(self, ask, demo):
        midnight = NOW.replace(hour=0)
        person = PEOPLE[0]
        mine = demo.execute("SELECT id, name FROM users WHERE email = %s", [person]).fetchone()
        status, answer = await ask("MyDay", person, midnight=midnight.isoformat())
        me = answer["data"]["me"]
        rows = demo.execute(
            "SELECT tasks.id::text, due_date < %s AS late FROM tasks JOIN leads ON leads.id = lead_id "
            "WHERE assignee_id = %s AND NOT completed AND tasks.source = 'manual' AND tasks.deleted_at IS NULL "
            "AND leads.deleted_at IS NULL ORDER BY due_date, tasks.id",
            [midnight, mine["id"]],
        ).fetchall()
        assert (status, me["name"], me["openTaskCount"]) == (200, mine["name"], len(rows))
        late = [row["id"] for row in rows if row["late"]]
        assert [task["id"] for task in me["overdue"]] == late[::-1][:20]
        assert [task["id"] for task in me["coming"]] == [row["id"] for row in rows if not row["late"]][:20]
        assert late
        scores = [lead["activityScore"] for lead in me["hottest"]]
        assert scores == sorted(scores, reverse=True)
        assert me["suggestions"]
        assert shape(shown("MyDay")) <= shape(answer)

    async def test_counts_one_less_when_a_task_is_done(self, ask, demo):  # noqa: ARG002
        _, answer = await ask("MyDay", PEOPLE[0], midnight="2026-01-01T00:00:00Z")
        me = answer["data"]["me"]
        task = me["coming"][0]
        _, answer = await ask("Done", PEOPLE[0], id=task["id"], version=task["version"])
        assert answer["data"]["completeTask"]["status"] == "DONE"
        assert answer["data"]["completeTask"]["assignee"]["openTaskCount"] == me["openTaskCount"] - 1


class TestForm:
    @pytest.mark.usefixtures("db")
    @pytest.mark.parametrize("language", ["en", "sv"])
    async def test_has_all_five_mistakes_in_the_order_of_its_fields(self, ask, language):
        variables = json.loads((EXAMPLES / "13-form.json").read_text("utf-8"))
        status, answer = await ask("NewLead", language=language, **variables)
        found = problems(answer)["problems"]
        assert status == 294
        assert [(one["field"], one["reason"]) for one in found] == [
            ("firstName", "BLANK"),
            ("email", "NOT_AN_EMAIL"),
            ("phone", "NOT_A_PHONE"),
            ("budget", "OUT_OF_RANGE"),
            ("currency", "NOT_A_CURRENCY"),
        ]
        if language == "en":
            assert problems(answer) == problems(shown("NewLead"))
        else:
            assert [one["message"] for one in found] == shown("Swedish")


class TestTwoBrowsers:
    async def test_that_accept_the_same_suggestion_both_see_who_was_first(self, ask, demo):
        query = "SELECT id, version FROM tasks WHERE source = 'ai_suggested' AND NOT completed LIMIT 1"
        task = demo.execute(query).fetchone()
        card = {"taskId": task["id"], "version": task["version"]}
        first, second = [await ask("Answer", person, **card, source="MANUAL") for person in PEOPLE[:2]]
        assert first == second
        status, answer = first
        accepted = answer["data"]["updateTaskSource"]
        assert (status, accepted["status"], accepted["version"]) == (200, "OPEN", task["version"] + 1)
        assert accepted["decidedBy"]["name"] == next(one.name for one in TEAM if one.email == PEOPLE[0])
        assert shape(shown("Answer")["data"]) == shape(answer["data"])
        written = demo.execute(
            "SELECT count(*) AS n FROM events WHERE entity = 'task' AND entity_id = %s AND version > %s",
            [str(task["id"]), task["version"]],
        ).fetchone()
        assert written["n"] == 1

        status, answer = await ask("Answer", PEOPLE[1], **card, source="DISMISSED")
        assert status == 294
        assert told(answer) == {**told(shown("Conflict")), "currentVersion": task["version"] + 1}
