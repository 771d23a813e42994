"""Where PostgreSQL is: one host or several."""

import asyncio
import socket
import time
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import text

from crm.db.address import PostgresAddress, conninfo, sqlalchemy_engine
from crm.db.database import Database
from crm.db.statement import Statement
from tests.support.proxy import Proxy
from tests.support.servers import free_port

ONE = Statement("SELECT 1")


@contextmanager
def silence():
    """A host that accepts connections and says nothing, like a frozen server."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def folder_of(url):
    return parse_qs(urlsplit(url).query)["host"][0]


@pytest.fixture
def host(database_url):
    """The server's folder, as one of several hosts."""
    return folder_of(database_url).replace("/", "%2F")


class TestAddress:
    @pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
    def test_takes_the_schemes_that_people_write(self, scheme):
        told = conninfo_to_dict(conninfo(f"{scheme}://u:p%40ss@h:5/d"))
        assert (told["user"], told["password"], told["host"], told["port"], told["dbname"]) == (
            "u",
            "p@ss",
            "h",
            "5",
            "d",
        )

    def test_gives_each_of_several_hosts_its_share_of_the_time(self):
        told = conninfo_to_dict(PostgresAddress("postgresql://h1:1,h2:2,h3:3/d", timeout=12).conninfo)
        assert told["connect_timeout"] == "3"
        assert conninfo_to_dict(PostgresAddress("postgresql://h1/d", timeout=12).conninfo)["connect_timeout"] == "12"

    def test_asks_several_hosts_for_the_primary_but_only_for_writes(self):
        url = "postgresql://h1,h2/d"
        assert conninfo_to_dict(PostgresAddress(url).conninfo)["target_session_attrs"] == "read-write"
        assert "target_session_attrs" not in conninfo_to_dict(PostgresAddress(url, writes=False).conninfo)
        assert "target_session_attrs" not in conninfo_to_dict(PostgresAddress("postgresql://h1/d").conninfo)

    def test_leaves_alone_what_the_url_says(self):
        url = "postgresql://h1,h2/d?connect_timeout=9&target_session_attrs=any&tcp_user_timeout=1000"
        told = conninfo_to_dict(PostgresAddress(url).conninfo)
        assert (told["connect_timeout"], told["target_session_attrs"], told["tcp_user_timeout"]) == ("9", "any", "1000")

    @pytest.mark.parametrize(
        "url", ["postgresql://h1:1,h2:2,h3:3/d", "postgresql://h1,h2,h3/d", "host=h1,h2,h3 port=5"]
    )
    def test_asks_the_host_first_that_answered_last(self, url):
        address = PostgresAddress(url)
        port = {"postgresql://h1:1,h2:2,h3:3/d": 2, "postgresql://h1,h2,h3/d": 5432}.get(url, 5)
        address.answered("h2", port)
        assert conninfo_to_dict(address.conninfo)["host"] == "h2,h1,h3"
        address.skip()
        assert conninfo_to_dict(address.conninfo)["host"] == "h1,h3,h2"


class TestSeveralHosts:
    async def test_a_frozen_host_is_left_for_the_next_and_not_asked_first_again(self, host):
        with silence() as frozen:
            database = Database(f"postgresql://postgres@{frozen},{host}/crm", timeout=5)
            started = time.monotonic()
            assert (await database.read(ONE, ())).ntuples == 1
            assert 1.5 < time.monotonic() - started < 4.5
            database.primary.lose_all()
            started = time.monotonic()
            assert (await database.read(ONE, ())).ntuples == 1
            assert time.monotonic() - started < 1.5
            database.close()

    async def test_a_primary_that_freezes_is_left_with_what_waits_for_it(self, database_url, host):
        async with Proxy(database_url) as proxy:
            database = Database(f"postgresql://postgres@{proxy.host},{host}/crm", timeout=5)
            await database.read(ONE, ())
            assert proxy.connections == 1
            proxy.freeze()
            started = time.monotonic()
            assert (await database.read(ONE, ())).ntuples == 1
            assert time.monotonic() - started < 8
            asked = proxy.connections
            await asyncio.gather(*(database.read(ONE, ()) for _ in range(10)))
            assert proxy.connections == asked  # it is not even asked any more
            proxy.thaw()
            database.close()

    async def test_a_primary_that_is_merely_slow_is_waited_for(self, database_url, host):
        async with Proxy(database_url) as proxy:
            database = Database(f"postgresql://postgres@{proxy.host},{host}/crm", timeout=5)
            pid = Statement("SELECT pg_backend_pid() FROM pg_sleep($1::float)")
            before = (await database.read(pid, [b"0"])).get_value(0, 0)
            assert (await database.read(pid, [b"4"])).get_value(0, 0) == before
            database.close()

    def test_migrations_take_them(self, host):
        url = f"postgresql://postgres@127.0.0.1:{free_port()},{host}:5432/crm"
        with sqlalchemy_engine(url).connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar() == 1

    def test_psycopg_takes_them(self, host):
        with psycopg.connect(conninfo(f"postgresql://postgres@127.0.0.1:{free_port()},{host}:5432/crm")) as connection:
            assert connection.execute("SHOW transaction_read_only").fetchone() == ("off",)
