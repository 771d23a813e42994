"""What a mutation shows is a read: it ends at a read's time limit, at the deadline or with its client."""

import asyncio
import time

import httpx2
import psycopg
import pytest

from tests.support.http_client import AsyncClient
from tests.support.servers import Server
from tests.support.waiting import eventually

TASKS = "INSERT INTO tasks (title, lead_id) SELECT md5(number::text), 1 FROM generate_series(1, 20000) AS number"
# Sorts 20,000 rows 25 million times over.
SORTED = "tasks(limit: 1, orderBy: [{field: TITLE}]) { id }"
SLOW = f"tasks(limit: 50) {{ lead {{ tasks(limit: 50) {{ lead {{ {SORTED} }} }} }} }}"
UPDATED = 'updateLead(id: 1, input: {company: "X"})'
UPDATE = f"mutation {{ {UPDATED} {{ {SLOW} }} }}"
DELETE = f"mutation {{ deleteInteraction(id: 1) {{ lead {{ {SLOW} }} }} }}"
WORKING = """
SELECT count(*) AS count FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND state LIKE ANY ('{active,idle in transaction%}') AND query LIKE '%json%'"""


@pytest.fixture
def lead(db):
    """A lead with more tasks than can be sorted again and again."""
    db.execute("INSERT INTO leads (first_name, last_name) VALUES ('A', 'B')")
    db.execute("INSERT INTO interactions (type, lead_id) VALUES ('note', 1)")
    db.execute(TASKS)
    db.execute("ANALYZE tasks")


def served(database_url, folder, **limits):
    return Server(database_url, folder / "log", CRM_MAX_COST="100000", **limits).start()


@pytest.fixture(scope="module")
def limited(database_url, tmp_path_factory):
    """A server whose reads have a moment, and that has one connection."""
    server = served(
        database_url, tmp_path_factory.mktemp("limited"), CRM_MUTATION_READ_TIMEOUT_SECONDS="0.3", CRM_POOL_SIZE="1"
    )
    yield server
    server.stop()


@pytest.fixture(scope="module")
def patient(database_url, tmp_path_factory):
    """A server whose reads have longer than its requests."""
    folder = tmp_path_factory.mktemp("patient")
    server = served(database_url, folder, CRM_MUTATION_READ_TIMEOUT_SECONDS="60", CRM_REQUEST_TIMEOUT_SECONDS="1")
    yield server
    server.stop()


@pytest.fixture
def nothing_is_left(db, events):
    """No statement runs on, no transaction stays open, and nothing was written."""

    async def check():
        await eventually(lambda: not db.execute(WORKING).fetchone()["count"])
        assert db.execute("SELECT company FROM leads").fetchone() == {"company": None}
        assert db.execute("SELECT count(*) AS count FROM interactions").fetchone() == {"count": 1}
        assert events() == []

    return check


async def ask(server, query, seconds=60.0):
    async with AsyncClient(headers={"Authorization": f"Bearer {server.token()}"}, timeout=seconds) as client:
        return (await client.post(f"{server.url}/graphql", json={"query": query})).json()


def code(answer):
    return answer["errors"][0]["extensions"]["code"]


@pytest.mark.usefixtures("lead")
class TestTheTimeLimitOfReads:
    @pytest.mark.parametrize("query", [UPDATE, DELETE])
    async def test_ends_it_and_undoes_the_write(self, limited, nothing_is_left, query):
        answer = await ask(limited, query)
        assert code(answer) == "TIMEOUT"
        assert "more than 0.3 s" in answer["errors"][0]["message"]
        await nothing_is_left()
        for _ in range(2):  # the connection is as good as new
            quick = await ask(limited, f"mutation {{ {UPDATED} {{ tasks(limit: 2) {{ id }} }} }}")
            assert len(quick["data"]["updateLead"]["tasks"]) == 2

    async def test_lets_an_earlier_mutation_stand(self, limited, db):
        query = f'mutation {{ a: updateLead(id: 1, input: {{source: "First"}}) {{ id }} {UPDATED} {{ {SLOW} }} }}'
        assert code(await ask(limited, query)) == "TIMEOUT"
        found = db.execute("SELECT source, company FROM leads").fetchone()
        assert found == {"source": "First", "company": None}

    async def test_ends_it_before_a_shutdown_would(self, database_url, tmp_path, db, nothing_is_left):
        server = served(database_url, tmp_path, CRM_MUTATION_READ_TIMEOUT_SECONDS="1")
        asking = asyncio.create_task(ask(server, UPDATE))
        await eventually(lambda: db.execute(WORKING).fetchone()["count"])
        begun = time.monotonic()
        stopping = asyncio.get_running_loop().run_in_executor(None, server.stop)
        assert code(await asking) == "TIMEOUT"
        await stopping
        assert time.monotonic() - begun < 20
        await nothing_is_left()


@pytest.mark.usefixtures("lead")
class TestOtherLimits:
    async def test_the_requests_deadline_ends_it(self, patient, nothing_is_left):
        assert code(await ask(patient, UPDATE)) == "TIMEOUT"
        await nothing_is_left()

    async def test_a_client_that_goes_away_ends_it(self, patient, nothing_is_left):
        with pytest.raises(httpx2.ReadTimeout):
            await ask(patient, UPDATE, seconds=0.5)
        await nothing_is_left()


@pytest.mark.usefixtures("lead")
class TestTheTimeLimitOfAMutation:
    async def test_holds_while_others_keep_what_it_changes(self, database_url, tmp_path, nothing_is_left):
        server = served(database_url, tmp_path, CRM_MUTATION_TIMEOUT_SECONDS="1")
        async with await psycopg.AsyncConnection.connect(database_url) as other:
            await other.execute("SELECT FROM leads WHERE id = 1 FOR UPDATE")
            answer = await ask(server, f"mutation {{ {UPDATED} {{ id }} }}")
            await other.rollback()
        server.stop()
        shown = answer["errors"][0]
        assert (shown["extensions"]["code"], shown["extensions"]["retryAfterSeconds"]) == ("CONFLICT", 1)
        assert "try again" in shown["message"]
        await nothing_is_left()
