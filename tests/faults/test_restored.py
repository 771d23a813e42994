"""An older copy of the data directory takes the database's place, and nobody renews the epoch."""

import asyncio
import shutil
import subprocess
from types import SimpleNamespace

import psycopg
import pytest

from tests.faults.journal import until
from tests.faults.keeper import Keeper
from tests.faults.ledger import Crew
from tests.support.http_client import AsyncClient

pytestmark = pytest.mark.waits(12)

_CREATE = 'mutation { createLead(input: {firstName: "Live", lastName: "Change"}) { id } }'


def _back_up(postgres):
    """Copy the stopped server's directory."""
    postgres.stop()
    subprocess.run(["cp", "-a", postgres.directory, _copy_of(postgres)], check=True)
    postgres.start()


def _restore(postgres):
    postgres.stop()
    shutil.rmtree(postgres.directory)
    shutil.move(_copy_of(postgres), postgres.directory)
    postgres.start()


def _copy_of(postgres):
    return postgres.directory.with_name("copy")


async def _write(server, count):
    async with AsyncClient(base_url=server.url, headers={"Authorization": f"Bearer {server.token()}"}) as client:
        for _ in range(count):
            answer = await client.post("/graphql", json={"query": _CREATE})
            assert "errors" not in answer.json(), answer.text


def _unscored(url):
    """How many leads have no score, and how many there are."""
    statement = "SELECT count(*) FILTER (WHERE score_calculated_at IS NULL), count(*) FROM leads"
    with psycopg.connect(url) as connection:
        return connection.execute(statement).fetchone()


@pytest.mark.timeout(120)
class TestOlderCopy:
    async def test_readers_that_are_ahead_of_it_begin_anew(self, own_postgres, start_server, tmp_path):
        server = start_server()
        crew = await Crew(own_postgres.url, tmp_path, 0, {}).started()
        try:
            await _write(server, 1)
            await until(lambda: _scored(own_postgres.url, 1), 20)
            await asyncio.to_thread(_back_up, own_postgres)
            async with Keeper(server, SimpleNamespace(primary=own_postgres)) as keeper:
                await until(lambda: _write(server, 30), 20)
                assert await keeper.differences() == (0, 0)
                await until(lambda: _scored(own_postgres.url, 31), 20)
                await asyncio.to_thread(_restore, own_postgres)
                await until(lambda: _write(server, 3), 20)
                assert await keeper.differences() == (0, 0)
                await until(lambda: _scored(own_postgres.url, 4), 20)
            assert "CURSOR_EXPIRED" in keeper.codes
            assert '"follower.ahead"' in crew.log()
        finally:
            crew.end()


async def _scored(url, count):
    unscored, leads = await asyncio.to_thread(_unscored, url)
    assert unscored == 0, unscored
    assert leads >= count, leads  # a refused attempt may have written some
