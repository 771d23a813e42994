"""How often a token's user is looked at: what each request pays for being let in."""

import asyncio

import pytest

from crm.access.tokens import Tokens
from crm.core import errors
from crm.db.database import Database
from tests.support.servers import SECRET


class Counting(Database):
    """Counts reads."""

    reads = 0

    async def read(self, statement, params=(), **options):
        self.reads += 1
        return await super().read(statement, params, **options)


@pytest.fixture
async def database(database_url):
    found = Counting(database_url, size=2)
    yield found
    found.close()


@pytest.fixture
def tokens(database):
    return Tokens(SECRET, database)


class TestAtOnce:
    async def test_a_hundred_requests_look_once(self, tokens, database, server):
        token = server.token()
        viewers = await asyncio.gather(*[tokens.viewer(token) for _ in range(100)])
        assert (len(set(viewers)), database.reads) == (1, 1)
        await tokens.viewer(token)
        assert database.reads == 1

    async def test_whoever_gives_up_leaves_the_others_their_answer(self, tokens, database, server):
        token = server.token()
        first, *others = [asyncio.create_task(tokens.viewer(token)) for _ in range(3)]
        await asyncio.sleep(0)
        first.cancel()
        assert len({await other for other in others}) == 1
        assert database.reads == 1

    async def test_all_are_refused_by_one_look_and_the_next_looks_again(self, tokens, database, server, make_user, db):
        user = make_user(email="gone@example.com", disabled_at="2026-01-01T00:00:00Z")
        token = server.token("member", email=user["email"])
        answers = await asyncio.gather(*[tokens.viewer(token) for _ in range(10)], return_exceptions=True)
        assert {type(answer) for answer in answers} == {errors.Unauthenticated}
        assert database.reads == 1
        db.execute("UPDATE users SET disabled_at = NULL WHERE id = %s", (user["id"],))
        assert (await tokens.viewer(token)).id == user["id"]
