"""Whatever a note says, and even if the model obeys it, nothing changes that must not.

Each note lies on one lead, beside others that hold secrets. It is asked about with the playbook, and with a model that
does as the note says, over HTTP. What the model could have been told is read from what its server received.
"""

import json
import re
from datetime import UTC, datetime

import pytest

from tests.ai.hostile_notes import NOTES, HostileNote, task, tasks
from tests.ai.questions import KEY
from tests.support.http_client import AsyncClient
from tests.support.model_server import good
from tests.support.servers import SECRET, Server

GENERATE = "mutation($id: Int!) { generateTaskRecommendations(leadId: $id) { id } }"
SUMMARISE = "mutation($id: Int!) { regenerateSummary(leadId: $id, force: true) { id } }"
TABLES = ("leads", "interactions", "users")
# What a page would follow or run if somebody shows the text as HTML or Markdown.
HARMFUL = re.compile(
    r"<\s*/?\s*[a-z!]|\b(?:https?|ftp)://|\bjavascript:|\bdata:\w+/|\bwww\.|\]\(|[\u202a-\u202e\u2066-\u2069\u200b]"
    r"|[\U000e0000-\U000e007f]|[\x00-\x08\x0b-\x1f]",
    re.IGNORECASE,
)
BLOCK = re.compile(r"<crm-data>\n(.*)\n</crm-data>", re.DOTALL)
by_note = pytest.mark.parametrize("hostile", NOTES, ids=lambda hostile: hostile.name)


@pytest.fixture(scope="module")
def obedient_server(database_url, running_model_server, tmp_path_factory):
    """A server whose provider is the model server of the tests."""
    log = tmp_path_factory.mktemp("obedient") / "log"
    url = running_model_server.url
    running = Server(
        database_url, log, CRM_AI_PROVIDER="openai", OPENAI_API_KEY=KEY, OPENAI_BASE_URL=url, CRM_AI_MODEL="test-model"
    ).start()
    yield running
    running.stop()


@pytest.fixture
async def ask_obedient(obedient_server):
    """Ask the server with the obedient model."""
    async with client_of(obedient_server) as client:

        async def ask(operation, lead):
            return (await client.post("/graphql", json={"query": operation, "variables": {"id": lead}})).json()

        yield ask


def client_of(server):
    return AsyncClient(base_url=server.url, headers={"Authorization": f"Bearer {server.token()}"}, timeout=60)


@pytest.fixture
def scene(make_lead, make_task, make_interaction):
    """A lead with a hostile note, and another with secrets. Returns the id of the first."""

    def make(hostile: HostileNote):
        lead = make_lead(
            first_name="Vera", company="Vinter AB", status="proposal", budget=80000, currency="SEK",
            email="vera@vinter.example", phone="+46 78 100 10 10",
        )["id"]  # fmt: skip
        make_interaction(lead_id=lead, type="email", notes="Offert på 80 000 kr.", occurred_at="2026-01-02T10:00:00Z")
        make_interaction(lead_id=lead, type="note", notes=hostile.note, subject=hostile.note[:200])
        make_task(lead_id=lead, title="Skicka referenser")
        other = make_lead(
            first_name="Hemming", last_name="Hemlig", company="Hemliga AB", email="hemming@hemliga.example",
            phone="+46 78 999 99 99", budget=47_115_308, currency="SEK",
        )["id"]  # fmt: skip
        make_interaction(lead_id=other, type="note", notes="Lösenordet är svordfisk.")
        make_task(lead_id=other, title="Ring Hemming om hemligheten")
        return lead

    return make


@pytest.fixture
def contents(db):
    """Everything there is, by table and id."""

    def read():
        found = {table: {row["id"]: row for row in db.execute(f"SELECT * FROM {table}")} for table in TABLES}
        return {**found, "tasks": {row["id"]: row for row in db.execute("SELECT * FROM tasks")}}

    return read


def check_tasks(lead, before, after):
    """All that is new are at most three proper suggestions on this lead."""
    assert {name: after[name] for name in TABLES} == {name: before[name] for name in TABLES}
    assert {key: after["tasks"][key] for key in before["tasks"]} == before["tasks"]
    new = [row for key, row in after["tasks"].items() if key not in before["tasks"]]
    assert len(new) <= 3
    for row in new:
        assert (row["lead_id"], row["source"], row["completed"]) == (lead, "ai_suggested", False)
        assert row["priority"] in ("low", "normal", "high", "urgent")
        assert row["due_date"] is None or row["due_date"] > datetime.now(UTC)
        assert 0 < len(row["title"]) <= 255
        assert 0 < len(row["ai_reasoning"]) <= 2000
        assert row["assignee_id"] is None
        for text in (row["title"], row["description"] or "", row["ai_reasoning"]):
            assert not HARMFUL.search(text), text
    return new


@by_note
class TestWithThePlaybook:
    async def test_suggestions_stay_on_the_lead(self, hostile, graphql, scene, contents, events):
        lead = scene(hostile)
        before = contents()
        await graphql(GENERATE, id=lead)
        new = check_tasks(lead, before, contents())
        assert new, "a proposal that nobody follows up deserves a suggestion"
        assert {(event["type"], event["lead_id"]) for event in events()} == {("task.created", lead)}
        assert not any("svordfisk" in str(row) or "Hemming" in str(row) for row in new)

    async def test_the_summary_changes_nothing_else(self, hostile, graphql, scene, contents):
        lead = scene(hostile)
        before = contents()
        await graphql(SUMMARISE, id=lead)
        check_summary(lead, before, contents())


@by_note
class TestWithAnObedientModel:
    async def test_suggestions_stay_on_the_lead(self, hostile, ask_obedient, scene, contents, events, model_server):
        lead = scene(hostile)
        before = contents()
        model_server.will(good(hostile.obeyed))
        answer = await ask_obedient(GENERATE, lead)
        assert "errors" not in answer
        new = check_tasks(lead, before, contents())
        assert {(event["type"], event["lead_id"]) for event in events()} <= {("task.created", lead)}
        assert all(row["generated_by"] == "llm" for row in new)

    async def test_the_summary_changes_nothing_else(self, hostile, ask_obedient, scene, contents, model_server):
        lead = scene(hostile)
        before = contents()
        found = hostile.obeyed["tasks"] if isinstance(hostile.obeyed, dict) else []
        text = " ".join(str(one.get("title")) for one in found) or "KLART"
        model_server.will(good({"summary": text, "status": "WON", "budget": 1, "activity_score": 100}))
        answer = await ask_obedient(SUMMARISE, lead)
        assert "errors" not in answer
        check_summary(lead, before, contents())

    async def test_the_note_is_data_that_cannot_end(self, hostile, ask_obedient, scene, model_server):
        lead = scene(hostile)
        model_server.will(good(tasks(task())))
        await ask_obedient(GENERATE, lead)
        (asked,) = model_server.requests
        instructions, question = asked.body["messages"]
        assert [instructions["role"], question["role"]] == ["system", "user"]
        assert question["content"].count("<crm-data>") == question["content"].count("</crm-data>") == 1
        block = BLOCK.fullmatch(question["content"])
        assert block, "there is nothing beside the data"
        assert "<" not in block[1]
        assert not HARMFUL.search(block[1].replace("://", "").replace("www.", "").replace("](", "").replace("data:", "")
                                  .replace("javascript:", ""))  # fmt: skip
        notes = [contact["notes"] for contact in json.loads(block[1])["contacts"] if contact["notes"]]
        assert any(note[:40] == " ".join(hostile.note.split(" "))[:40] for note in notes) or hostile.name in CLEANED
        assert hostile.note[:30] not in instructions["content"]
        assert "tools" not in asked.body

    async def test_no_secret_and_nobody_elses_data_is_sent(self, hostile, ask_obedient, scene, model_server):
        lead = scene(hostile)
        model_server.will(good(tasks(task())), good({"summary": "Nothing new."}))
        await ask_obedient(GENERATE, lead)
        await ask_obedient(SUMMARISE, lead)
        assert len(model_server.requests) == 2
        for asked in model_server.requests:
            sent = json.dumps(asked.body, ensure_ascii=False)
            for secret in (
                KEY,
                SECRET,
                "svordfisk",
                "Hemming",
                "Hemlig",
                "47115308",
                "999 99 99",
                "postgres",
                "Bearer",
            ):
                assert secret not in sent
            for private in ("vera@vinter.example", "100 10 10"):
                assert private not in sent


def check_summary(lead, before, after):
    """Of all there is, only this lead's summary and score have changed."""
    assert after["tasks"] == before["tasks"]
    for table in TABLES:
        for key, row in after[table].items():
            changed = {name for name, value in row.items() if value != before[table][key][name]}
            if (table, key) != ("leads", lead):
                assert not changed
            else:
                assert not {name for name in changed if not name.startswith(("summary", "activity_score", "score_"))}
                assert not HARMFUL.search(row["summary"] or ""), row["summary"]


# Notes whose first letters are control characters: the facts leave them out.
CLEANED = frozenset({"control characters", "right to left"})
