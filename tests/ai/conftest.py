import pytest

from crm.ai.calls import Calls
from crm.ai.gateway import Ai
from crm.ai.openai_client import OpenAiProvider, openai_or_compatible
from crm.db.database import Database
from tests.ai.questions import KEY


@pytest.fixture
async def database(database_url, db):  # noqa: ARG001
    found = Database(database_url)
    yield found
    found.close()


@pytest.fixture
async def make_ai(database, model_server):
    """The gateway over the model server; keywords are those of Ai and Calls."""
    made = []

    def make(*, endpoint=None, provider=None, budget=None, timeout=3.0, model="test-model", **options):
        asked = provider or OpenAiProvider(
            endpoint or openai_or_compatible(KEY, model_server.url), model, max_output_tokens=500
        )
        made.append(Ai(asked, Calls(database, budget), timeout=timeout, **options))
        return made[-1]

    yield make
    for one in made:
        await one.close()


@pytest.fixture
def calls(db):
    """The records so far, oldest first."""
    return lambda: db.execute("SELECT * FROM ai_calls ORDER BY created_at, attempt").fetchall()
