"""Recalculations of all scores that users ask for: with a pause between them."""

import pytest

from crm.core.errors import RateLimited
from crm.db.database import Database
from crm.sales.scoring.recalculation import Recalculation
from tests.support.http_client import AsyncClient
from tests.support.servers import Server

RECALCULATE = {"query": "mutation { recalculateAllScores { count } }"}


@pytest.fixture
def no_leases(db):
    db.execute("DELETE FROM leases")


@pytest.fixture
async def database(database_url, no_leases):  # noqa: ARG001
    found = Database(database_url, size=2)
    yield found
    found.close()


class TestRecalculation:
    async def test_says_when_the_next_one_is_possible(self, database, make_lead):
        make_lead()
        assert (await Recalculation(database, pause=60).run()).count == 1
        with pytest.raises(RateLimited) as refused:
            await Recalculation(database, pause=60).run()
        assert 50 < refused.value.details["retryAfterSeconds"] <= 60
        assert str(refused.value.details["retryAfterSeconds"]) in refused.value.message

    async def test_pauses_from_its_end(self, database, db):
        await Recalculation(database, pause=60).run()
        first = db.execute("SELECT expires_at FROM leases").fetchone()["expires_at"]
        assert db.execute("SELECT %s - clock_timestamp() > interval '55 seconds' AS late", (first,)).fetchone()["late"]

    async def test_may_follow_when_the_pause_is_over(self, database, db):
        await Recalculation(database, pause=60).run()
        db.execute("UPDATE leases SET expires_at = now() - interval '1 second'")
        await Recalculation(database, pause=60).run()

    async def test_of_the_operators_own_waits_for_nobody(self, database):
        await Recalculation(database, pause=60).run()
        await Recalculation(database).run()


class TestMutation:
    async def test_is_refused_in_the_pause_of_another_users(self, database_url, no_leases, tmp_path):  # noqa: ARG002
        server = Server(database_url, tmp_path / "log", CRM_RECALCULATION_PAUSE_SECONDS="60").start()
        try:
            answers = []
            for role in ("member", "admin"):
                headers = {"Authorization": f"Bearer {server.token(role)}"}
                async with AsyncClient(base_url=server.url, headers=headers) as client:
                    answers.append((await client.post("/graphql", json=RECALCULATE)).json())
        finally:
            server.stop()
        assert "errors" not in answers[0]
        (error,) = answers[1]["errors"]
        assert error["extensions"]["code"] == "RATE_LIMITED"
        assert 0 < error["extensions"]["retryAfterSeconds"] <= 60
