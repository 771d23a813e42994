import json
from datetime import UTC, datetime, timedelta

import pytest

from crm.ai.calls import Calls
from crm.ai.gateway import Ai
from crm.ai.openai_client import OpenAiProvider, openai_or_compatible
from crm.ai.playbook import PlaybookProvider
from crm.core.identity import Role, Viewer
from crm.core.settings import Settings
from crm.db.database import Database
from crm.graph.run.engine import Engine, Request
from crm.schema import schema


@pytest.fixture
async def database(database_url, db):  # noqa: ARG001
    found = Database(database_url)
    yield found
    found.close()


@pytest.fixture
async def asking(database, db, model_server):
    """Run operations on an engine whose AI asks the model server (or the provider given); returns the whole answer."""
    made = []

    def make(provider=None, *, timeout=3.0, request_timeout=30.0, fallback=False):
        asked = provider or OpenAiProvider(
            openai_or_compatible("test-key", model_server.url), "test-model", max_output_tokens=500
        )
        ai = Ai(asked, Calls(database, None), timeout=timeout, fallback=PlaybookProvider() if fallback else None)
        settings = Settings(database_url=database.url, request_timeout_seconds=request_timeout)
        engine = Engine(schema, database, settings, ai)
        admin = db.execute("SELECT id FROM users WHERE email = 'service-admin@crm.invalid'").fetchone()["id"]
        made.append(ai)

        async def run(query, **variables):
            answer = await engine.run(Request(query, None, variables), Viewer(admin, Role.ADMIN))
            return json.loads(answer.body)

        return run

    yield make
    for one in made:
        await one.close()


@pytest.fixture
def generate():
    return """mutation($lead: Int!) { generateTaskRecommendations(leadId: $lead) {
      id title description aiReasoning priority dueDate source generatedBy model rule promptVersion generationId
    } }"""


@pytest.fixture
def regenerate():
    return """mutation($lead: Int!, $force: Boolean) { regenerateSummary(leadId: $lead, force: $force) {
      summary summaryGeneratedAt summarySource summaryModel summaryPromptVersion summaryIsStale version
    } }"""


@pytest.fixture
def days_ago():
    return lambda days: datetime.now(UTC) - timedelta(days=days)
