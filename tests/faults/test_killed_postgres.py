"""PostgreSQL dies, restarts, freezes or cuts connections under load: clear errors meanwhile, and healing by itself."""

import asyncio
import contextlib
import os
import signal
import time

import psycopg
import pytest

from tests.faults.journal import Writers, compare, quantile, until
from tests.faults.processes import frozen
from tests.support.http_client import AsyncClient

pytestmark = pytest.mark.waits(40)

# The server answers by itself, as one that waits for another answers for it.
CLEAR = {"UNAVAILABLE", "TIMEOUT"}


def _clear_answers_only(journal, *, within):
    """Whatever happened to PostgreSQL, each request got its data or a clear error, in time, over a whole connection."""
    for one in journal.answers:
        assert one.status in (200, 294, 503, 504), one
        assert set(one.codes) <= CLEAR, one
        assert one.seconds < within, one
        assert "Traceback" not in one.text
        assert "psycopg" not in one.text


def _orderly(log):
    assert "Traceback" not in log, log[-3000:]
    assert "never retrieved" not in log, log[-3000:]
    assert '"error"' not in _levels(log), log[-3000:]


def _levels(log):
    return [line.split('"level": ')[1].split(",")[0].strip(" }") for line in log.splitlines() if '"level": ' in line]


async def _heals(server, seconds=10):
    """Until a write works again."""
    headers = {"Authorization": f"Bearer {server.token()}"}
    query = 'mutation { createLead(input: {firstName: "Back", lastName: "Again"}) { id } }'
    async with AsyncClient(base_url=server.url, headers=headers, timeout=5) as client:

        async def check():
            assert (await client.post("/graphql", json={"query": query})).json().get("data")

        return await until(check, seconds)


@pytest.mark.timeout(900)
class TestAway:
    @pytest.mark.parametrize("ending", ["crash", "restart"])
    async def test_clear_errors_and_healing(self, own_postgres, start_server, rounds, report, ending):
        server = start_server(CRM_LOG_FORMAT="json", CRM_CONNECT_TIMEOUT_SECONDS="2")
        end = own_postgres.kill if ending == "crash" else own_postgres.stop
        healed, refused = [], []
        async with Writers(server.url, server.token(), own_postgres.url) as writers:
            for _ in range(rounds):
                await writers.go_on(0.5)
                await asyncio.to_thread(end)
                away = time.monotonic()
                await asyncio.sleep(0.7)
                meanwhile = writers.journal.since(away + 0.2)
                assert meanwhile
                assert all(one.codes for one in meanwhile)
                refused += [one.seconds for one in meanwhile]
                await asyncio.to_thread(own_postgres.start)
                healed.append(await _heals(server))
            await asyncio.sleep(0.3)
        _clear_answers_only(writers.journal, within=6)
        figures = compare(writers.journal, own_postgres.url)
        assert figures["acknowledged"] > 10 * rounds
        _orderly(server.log())
        report(
            f"PostgreSQL {ending}",
            rounds=rounds,
            **figures,
            refused=len(refused),
            slowest_refusal_s=max(refused),
            slowest_healing_s=max(healed),
        )

    async def test_reads_are_refused_clearly_too(self, own_postgres, start_server):
        server = start_server(CRM_CONNECT_TIMEOUT_SECONDS="2")
        headers = {"Authorization": f"Bearer {server.token()}"}
        async with AsyncClient(base_url=server.url, headers=headers, timeout=10) as client:
            assert (await client.post("/graphql", json={"query": "{ leads { id } }"})).status_code == 200
            await asyncio.to_thread(own_postgres.kill)
            try:
                plain = await client.post("/graphql", json={"query": "{ leads { id } }"})
                modern = await client.post(
                    "/graphql",
                    json={"query": "{ leads { id } tasks { id } }"},
                    headers={"Accept": "application/graphql-response+json"},
                )
            finally:
                await asyncio.to_thread(own_postgres.start)
        for answer in (plain, modern):
            assert answer.status_code in (200, 503)
            assert {one["extensions"]["code"] for one in answer.json()["errors"]} == {"UNAVAILABLE"}

    async def test_a_server_can_start_only_with_its_database(self, own_postgres, start_server):
        """Starting while the database is away ends with one clear line, not with a stack trace."""
        server = start_server()
        server.kill()
        await asyncio.to_thread(own_postgres.kill)
        try:
            with pytest.raises(RuntimeError, match="Cannot use the database"):
                await asyncio.to_thread(server.start)
        finally:
            await asyncio.to_thread(own_postgres.start)
        assert "Traceback" not in server.log()


@pytest.mark.timeout(600)
class TestTerminatedBackends:
    async def test_cost_at_most_the_requests_they_ran(self, own_database, start_server, rounds, report):
        server = start_server(CRM_LOG_FORMAT="json")
        async with Writers(server.url, server.token(), own_database) as writers:
            with psycopg.connect(own_database, autocommit=True) as killer:
                for _ in range(5 * rounds):
                    await writers.go_on(0.15)
                    killer.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
            last = time.monotonic()
            await asyncio.sleep(1.5)
        _clear_answers_only(writers.journal, within=6)
        assert all(one.status == 200 and not one.codes for one in writers.journal.since(last + 1))
        _orderly(server.log())
        refused = sum(bool(one.codes) for one in writers.journal.answers)
        report("backends terminated", times=5 * rounds, refused=refused, **compare(writers.journal, own_database))

    async def test_an_idle_server_notices_before_the_next_request(self, own_database, start_server):
        """Connections that were cut while nobody used them cost no request anything."""
        server = start_server()
        headers = {"Authorization": f"Bearer {server.token()}"}
        query = 'mutation { createLead(input: {firstName: "Idle", lastName: "Again"}) { id } }'
        async with AsyncClient(base_url=server.url, headers=headers, timeout=10) as client:
            for _ in range(3):
                await asyncio.gather(*(client.post("/graphql", json={"query": query}) for _ in range(5)))
                with psycopg.connect(own_database, autocommit=True) as killer:
                    killer.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                await asyncio.sleep(0.2)
                answer = await client.post("/graphql", json={"query": query})
                assert answer.json().get("data"), answer.text


@pytest.mark.timeout(120)
class TestUnreadRequests:
    @pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGQUIT])
    async def test_a_backend_that_dies_before_reading_a_request_is_noticed(self, own_database, start_server, end):
        """The socket reports an error then, and with SIGQUIT a last message too, which is easily taken for all."""
        server = start_server(CRM_POOL_SIZE="1")
        headers = {"Authorization": f"Bearer {server.token()}"}
        query = 'mutation { createLead(input: {firstName: "Never", lastName: "Read"}) { id } }'
        async with AsyncClient(base_url=server.url, headers=headers, timeout=15) as client:
            await client.post("/graphql", json={"query": query})
            backend = _backend_of_the_pool(own_database)
            os.kill(backend, signal.SIGSTOP)
            waiting = asyncio.create_task(client.post("/graphql", json={"query": query}))
            await asyncio.sleep(1)  # until the request has surely come, and waits in the backend's socket
            os.kill(server.pid, signal.SIGSTOP)  # so that it is told of everything at once
            os.kill(backend, end)
            with contextlib.suppress(ProcessLookupError):
                os.kill(backend, signal.SIGCONT)
            await asyncio.sleep(0.5)
            os.kill(server.pid, signal.SIGCONT)
            start = time.monotonic()
            answer = await waiting
            assert time.monotonic() - start < 5
            assert answer.json()["errors"][0]["extensions"]["code"] == "UNAVAILABLE"

            async def works():
                assert (await client.post("/graphql", json={"query": query})).json().get("data")

            await until(works, 10)


def _backend_of_the_pool(database_url):
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND query NOT LIKE 'LISTEN%' AND backend_type = 'client backend'"
        ).fetchall()
    assert len(rows) == 1
    return rows[0][0]


@pytest.mark.timeout(900)
class TestFrozen:
    async def test_requests_end_by_their_deadline(self, own_postgres, start_server, repeats, report):
        deadline, wait = 2.0, 1.0
        server = start_server(
            CRM_LOG_FORMAT="json",
            CRM_REQUEST_TIMEOUT_SECONDS=str(deadline),
            CRM_CONNECT_TIMEOUT_SECONDS=str(wait),
        )
        healed, slowest = [], []
        async with Writers(server.url, server.token(), own_postgres.url) as writers:
            for _ in range(repeats):
                await writers.go_on(1)
                with frozen(own_postgres):
                    away = time.monotonic()
                    # Longer than the server trusts a token that it has seen: the check of the token hangs as well.
                    await asyncio.sleep(7)
                meanwhile = [one for one in writers.journal.since(away + 0.2) if one.at < away + 6.8]
                assert meanwhile
                assert all(one.codes for one in meanwhile), meanwhile
                slowest.append(max(one.seconds for one in meanwhile))
                healed.append(await _heals(server))
            await asyncio.sleep(0.3)
        _clear_answers_only(writers.journal, within=deadline + 1.5)
        _orderly(server.log())
        report(
            "PostgreSQL frozen for 7 s",
            rounds=repeats,
            **compare(writers.journal, own_postgres.url),
            deadline_s=deadline,
            slowest_answer_s=max(slowest),
            slowest_healing_s=max(healed),
            p95_s=quantile([one.seconds for one in writers.journal.answers], 0.95),
        )
