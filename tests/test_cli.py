import asyncio
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import jwt
import psycopg
import pytest

from crm.db import migrations
from crm.db.embedded import create_database
from tests.support import children
from tests.support.clusters import create_migrated_database
from tests.support.servers import SECRET, Server, free_port
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[1]
COMMANDS = ("dev", "serve", "worker", "migrate", "demo", "token", "schema")


def environment(**settings):
    """This process's environment without any setting of ours, and with these."""
    rest = {name: value for name, value in os.environ.items() if not name.startswith(("CRM_", "DATABASE_"))}
    return {**rest, "COLUMNS": "200", "NO_COLOR": "1", **settings}


def crm(*arguments, fork=True, **settings):
    return children.run_module("crm", arguments, environment(**settings), fork=fork)


def refusal(*arguments, **settings):
    """What a command says when it refuses: exit status 2, one readable message, no traceback, nothing on stdout."""
    done = crm(*arguments, **settings)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return " ".join(done.stderr.split())


@pytest.fixture
def empty_database(database_url):
    """Another database on the same server, without tables."""
    name = f"empty{time.monotonic_ns()}"
    create_database(database_url.replace("/crm?", "/postgres?"), name)
    yield database_url.replace("/crm?", f"/{name}?")
    drop_database(database_url, name)


@pytest.fixture
def ready_database(database_url):
    """Another one, with all tables."""
    name = f"ready{time.monotonic_ns()}"
    yield create_migrated_database(database_url, name)
    drop_database(database_url, name)


def drop_database(server_url, name):
    with psycopg.connect(server_url.replace("/crm?", "/postgres?"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


class TestHelp:
    def test_lists_every_command(self):
        done = crm("--help", fork=False)
        assert done.returncode == 0
        assert all(command in done.stdout for command in COMMANDS)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_explains_each_command(self, command):
        done = crm(command, "--help")
        assert done.returncode == 0
        assert command in done.stdout

    def test_comes_without_a_command(self):
        assert "Commands" in crm().stdout

    def test_says_which_version_it_is(self):
        done = crm("--version")
        assert (done.returncode, done.stdout) == (0, f"crm {version('crm')}\n")

    def test_refuses_what_it_does_not_know(self):
        assert crm("nonsense").returncode == 2
        assert crm("serve", "--nonsense").returncode == 2
        assert crm("serve", "--port", "70000").returncode == 2


class TestSchema:
    def test_prints_what_the_file_holds(self):
        done = crm("schema", fork=False)
        assert done.returncode == 0
        assert done.stdout == (ROOT / "schema.graphql").read_text()


class TestServe:
    def test_names_each_missing_setting(self, database_url):
        assert "Set DATABASE_URL" in refusal("serve", CRM_SECRET_KEY=SECRET)
        assert "Set CRM_SECRET_KEY" in refusal("serve", DATABASE_URL=database_url)
        assert "32 characters" in refusal("serve", DATABASE_URL=database_url, CRM_SECRET_KEY="x" * 31)

    def test_names_a_setting_that_is_wrong(self, database_url):
        message = refusal("serve", DATABASE_URL=database_url, CRM_SECRET_KEY=SECRET, CRM_POOL_SIZE="many")
        assert "CRM_POOL_SIZE" in message

    def test_refuses_a_database_whose_migrations_are_behind(self, empty_database):
        message = refusal("serve", DATABASE_URL=empty_database, CRM_SECRET_KEY=SECRET)
        assert "crm migrate" in message
        assert migrations.pending(empty_database)[0] in message

    def test_refuses_a_database_that_is_ahead(self, ready_database):
        with psycopg.connect(ready_database) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999_future'")
        message = refusal("serve", DATABASE_URL=ready_database, CRM_SECRET_KEY=SECRET)
        assert "9999_future" in message

    @pytest.mark.parametrize("command", ["serve", "worker", "migrate", "token"])
    def test_says_that_the_database_cannot_be_reached(self, command):
        url = f"postgresql://crm:secret-password@127.0.0.1:{free_port()}/crm"
        message = refusal(command, DATABASE_URL=url, CRM_SECRET_KEY=SECRET)
        assert "database" in message
        assert "secret-password" not in message

    def test_never_acts_as_the_local_admin(self, database_url):
        with psycopg.connect(database_url) as connection:
            (admin,) = connection.execute("SELECT id FROM users WHERE role = 'admin'").fetchone() or ()
        with running("serve", DATABASE_URL=database_url, CRM_SECRET_KEY=SECRET, CRM_LOCAL_ADMIN=str(admin)) as (
            url,
            *_,
        ):
            assert ask(url, "{ me { id } }")["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"

    def test_says_when_the_port_is_taken(self, database_url, server):
        done = crm("serve", "--port", str(urlsplit(server.url).port), DATABASE_URL=database_url, CRM_SECRET_KEY=SECRET)
        assert (done.returncode, "pass another --port" in done.stderr) == (2, True)

    def test_waits_for_a_port_that_its_killed_parent_s_processes_are_about_to_leave(self, database_url, tmp_path):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            threading.Timer(1, listener.close).start()
            starting = Server(database_url, tmp_path / "log", port=port)
            starting.start()
        starting.stop()


class TestMigrate:
    def test_needs_a_database(self):
        assert "DATABASE_URL" in refusal("migrate")

    def test_makes_a_database_ready_and_may_be_repeated(self, empty_database):
        assert "crm migrate" in refusal("token", DATABASE_URL=empty_database, CRM_SECRET_KEY=SECRET)
        first, again = (crm("migrate", DATABASE_URL=empty_database) for _ in range(2))
        assert (first.returncode, again.returncode) == (0, 0)
        assert [line.split()[0] for line in first.stderr.splitlines()] == ["Migrating", "The"]  # no revision's title
        assert migrations.pending(empty_database) == []
        assert crm("token", DATABASE_URL=empty_database, CRM_SECRET_KEY=SECRET).returncode == 0

    def test_several_at_once_take_turns(self, empty_database):
        with ThreadPoolExecutor(3) as pool:
            running = [pool.submit(crm, "migrate", DATABASE_URL=empty_database) for _ in range(3)]
        assert [done.result().returncode for done in running] == [0, 0, 0]
        assert migrations.pending(empty_database) == []


class TestDemo:
    async def test_says_that_its_connection_broke(self, ready_database):
        copying = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'COPY %' AND state = 'active'"
        )
        loading = asyncio.create_task(
            asyncio.to_thread(refusal, "demo", "--leads", "20000", DATABASE_URL=ready_database)
        )
        with psycopg.connect(ready_database, autocommit=True) as connection:
            await eventually(lambda: connection.execute(copying).fetchone()[0])
            assert "The connection to the database broke" in await loading
            assert connection.execute("SELECT count(*) FROM leads").fetchone() == (0,)


class TestAClosedTerminal:
    @pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["alone", "two"])
    async def test_stops_the_server_which_answers_first(self, ready_database, more):
        terminal, inner = pty.openpty()
        server = InATerminal(inner, ready_database, *more)
        with psycopg.connect(ready_database) as connection, server:
            await eventually(server.answers, 60)
            connection.execute("INSERT INTO leads (first_name, last_name) VALUES ('Åsa', 'Lind')")
            connection.commit()
            connection.execute("SELECT FROM leads FOR UPDATE")
            writing = asyncio.create_task(
                asyncio.to_thread(server.ask, 'mutation { updateLead(id: 1, input: {company: "Lind AB"}) { company } }')
            )
            await eventually(lambda: psycopg.connect(ready_database).execute(WAITING).fetchone()[0])
            os.close(terminal)
            await asyncio.sleep(1)
            connection.rollback()
            assert await writing == {"data": {"updateLead": {"company": "Lind AB"}}}
            assert await asyncio.to_thread(server.process.wait, 30) == 0


WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


class InATerminal:
    """`crm serve` in a terminal of its own."""

    def __init__(self, terminal, url, *arguments):
        self._port = free_port()
        self._environment = environment(DATABASE_URL=url, CRM_SECRET_KEY=SECRET)
        self._url, self._terminal, self._arguments = url, terminal, arguments

    def __enter__(self):
        command = ["setsid", "--ctty", sys.executable, "-W", "ignore", "-m", "crm", "serve", "--port", str(self._port)]
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), self._terminal)
        self.process = subprocess.Popen([*command, *self._arguments], env=self._environment, **streams)
        os.close(self._terminal)

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(10)

    def answers(self):
        with suppress(OSError):
            return self.ask("{ __typename }") == {"data": {"__typename": "Query"}}

    def ask(self, query):
        server = Server(self._url, Path(os.devnull), port=self._port)
        return ask(f"{server.url}/graphql", query, Authorization=f"Bearer {server.token()}")


class TestSeveralHosts:
    """`postgresql://h1:p,h2:p/db`: the first one is down."""

    @pytest.fixture
    def url(self, empty_database):
        parts = urlsplit(empty_database)
        folder = parse_qs(parts.query)["host"][0].replace("/", "%2F")
        return f"postgresql://postgres@127.0.0.1:{free_port()},{folder}:5432{parts.path}"

    def test_are_taken_by_every_command(self, url, tmp_path):
        assert crm("migrate", DATABASE_URL=url).returncode == 0
        assert crm("token", DATABASE_URL=url, CRM_SECRET_KEY=SECRET).returncode == 0
        with running("serve", DATABASE_URL=url, CRM_SECRET_KEY=SECRET) as (address, *_):
            assert ask(address, "{ me { id } }")["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
        log = tmp_path / "log"
        worker = children.start_module("crm", ["worker"], log, environment(DATABASE_URL=url, CRM_SECRET_KEY=SECRET))
        try:
            deadline = time.monotonic() + 30
            while "worker.started" not in log.read_text():
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        finally:
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0


class TestWorker:
    def test_ends_soon_when_it_is_stopped_while_it_starts(self, database_url, tmp_path):
        settings = environment(DATABASE_URL=database_url, CRM_SECRET_KEY=SECRET)
        for turn in range(12):
            log = tmp_path / f"log{turn}"
            worker = children.start_module("crm", ["worker"], log, settings)
            deadline = time.monotonic() + 30
            while "worker.started" not in log.read_text():
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.002)
            time.sleep(0.004 * turn)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(20) == 0  # 40 before, every tenth time


class TestToken:
    @pytest.fixture
    def token(self, database_url):
        def run(*arguments, check=refusal):
            return check("token", *arguments, DATABASE_URL=database_url, CRM_SECRET_KEY=SECRET)

        return run

    def test_is_the_service_users_of_the_role_without_a_user(self, token, db):
        for role in ("admin", "member", "viewer"):
            done = token("--role", role, check=crm)
            claims = jwt.decode(done.stdout.strip(), SECRET, algorithms=["HS256"], audience="crm-api", issuer="crm")
            assert set(claims) == {"sub", "role", "iss", "aud", "jti", "iat", "exp"}
            row = db.execute("SELECT email FROM users WHERE id = %s", (claims["sub"],)).fetchone()
            assert row["email"] == f"service-{role}@crm.invalid"
            assert claims["role"] == role

    @pytest.mark.parametrize(("ttl", "seconds"), [("90s", 90), ("30m", 1800), ("12h", 43_200), ("30d", 2_592_000)])
    def test_lasts_as_long_as_was_asked(self, token, ttl, seconds):
        claims = jwt.decode(token("--ttl", ttl, check=crm).stdout.strip(), options={"verify_signature": False})
        assert claims["exp"] - claims["iat"] == seconds

    def test_says_beside_it_whose_it_is_and_until_when(self, token):
        done = token("--ttl", "1d", check=crm)
        claims = jwt.decode(done.stdout.strip(), options={"verify_signature": False})
        ends = {f"{datetime.fromtimestamp(claims['exp'] + late, UTC):%Y-%m-%d %H:%M}" for late in (0, 1)}
        whose = "service-member@crm.invalid, role member"
        assert done.stderr in {f"{whose}, until {end} UTC, id {claims['jti']}\n" for end in ends}

    @pytest.mark.parametrize(("role", "days"), [("admin", 1), ("member", 30), ("viewer", 30)])
    def test_of_an_admin_lasts_a_day_unless_asked_otherwise(self, token, role, days):
        claims = jwt.decode(token("--role", role, check=crm).stdout.strip(), options={"verify_signature": False})
        assert claims["exp"] - claims["iat"] == days * 86400

    @pytest.mark.parametrize("ttl", ["", "0d", "30", "-1d", "1w", "²d", "1.5h", "999999999999d", "36500d"])
    def test_refuses_a_time_that_makes_no_sense(self, token, ttl):
        assert "--ttl" in token("--ttl", ttl)

    def test_is_for_users_who_are_there_and_may_come_in(self, token, make_user):
        make_user(email="Åsa@example.com")
        make_user(email="gone@example.com", disabled_at="2026-01-01T00:00:00Z")
        assert token("--user", "åsa@example.com", check=crm).returncode == 0
        assert "no user nobody@example.com" in token("--user", "nobody@example.com")
        assert "disabled" in token("--user", "gone@example.com")

    def test_makes_nobody_more_than_they_are(self, token, make_user):
        make_user(email="anna@example.com", role="member")
        assert "member" in token("--user", "anna@example.com", "--role", "admin")
        assert token("--user", "anna@example.com", "--role", "viewer", check=crm).returncode == 0

    def test_needs_a_secret(self, database_url):
        assert "CRM_SECRET_KEY" in refusal("token", DATABASE_URL=database_url)


class TestDev:
    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.10", "example.com"])
    def test_listens_on_loopback_only(self, host):
        assert "loopback only" in refusal("dev", "--host", host)

    def test_starts_from_nothing_answers_and_stops_cleanly(self, dev_folder):
        folder = dev_folder
        assert not list(folder.iterdir())
        with running("dev", "--data-dir", str(folder), fork=False) as (url, process, log):
            found = ask(url, "{ me { email role } leadsConnection(first: 1) { totalCount } }")["data"]
            assert found["me"] == {"email": "admin@localhost", "role": "ADMIN"}
            leads = found["leadsConnection"]["totalCount"]
            assert leads > 400
            assert forbidden(url, Host="evil.example.com")
            assert forbidden(url, Origin="https://evil.example.com")
            said = set(re.findall(r"http://[^\s]+", log.read_text()))
            assert {urlsplit(one).path for one in said} == {"/graphql", "/console/ai-tasks"}
            for one in said:
                assert httpx2.get(one, headers={"Accept": "text/html"}).status_code == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
            assert '"level": "info"' not in log.read_text(), "logged among words for people"
        assert not postgres_of(folder)

        started = time.monotonic()
        with running("dev", "--data-dir", str(folder)) as (url, process, _):
            assert time.monotonic() - started < 10  # under 5 on a machine that does nothing else
            assert ask(url, "{ leadsConnection { totalCount } }")["data"] == {"leadsConnection": {"totalCount": leads}}
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        assert not postgres_of(folder)

    def test_leaves_no_postgresql_when_it_is_stopped_while_starting(self, folder):
        arguments = ["dev", "--data-dir", str(folder), "--port", str(free_port())]
        process = children.start_module("crm", arguments, Path(os.devnull), environment())
        deadline = time.monotonic() + 20
        while not postgres_of(folder) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        assert not postgres_of(folder)

    def test_starts_again_after_it_was_killed(self, folder):
        """Its PostgreSQL goes on without it, and is taken over."""
        with running("dev", "--no-demo", "--data-dir", str(folder)) as (_, process, _):
            process.kill()
            process.wait(20)
        assert postgres_of(folder)
        with running("dev", "--no-demo", "--data-dir", str(folder)) as (url, process, _):
            assert ask(url, "{ me { name } }")["data"]["me"]
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        assert not postgres_of(folder)

    def test_says_when_the_port_is_taken_and_leaves_no_postgresql(self, folder, server):
        done = crm("dev", "--no-demo", "--data-dir", str(folder), "--port", str(urlsplit(server.url).port))
        assert done.returncode == 2
        assert "pass another --port" in done.stderr
        assert not postgres_of(folder)

    def test_leaves_the_data_directory_of_another_one_alone(self, dev):
        url, folder = dev
        done = crm("dev", "--no-demo", "--data-dir", str(folder), "--port", str(free_port()))
        assert (done.returncode, "Another `crm dev`" in done.stderr) == (2, True)
        assert httpx2.post(url, json={"query": "{ me { name } }"}).json()["data"]["me"]

    def test_has_tokens_to_try_other_roles_with(self, dev):
        url, folder = dev
        token = crm("token", "--role", "viewer", "--data-dir", str(folder)).stdout.strip()
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx2.post(url, json={"query": "{ me { role } }"}, headers=headers).json()
        assert answer == {"data": {"me": {"role": "VIEWER"}}}


@pytest.fixture
def folder():
    """A data directory that the server's own user can reach."""
    with data_directory() as found:
        yield found


@pytest.fixture(scope="module")
def dev_folder():
    """The data directory that the first test of `crm dev` makes; later ones start over it again."""
    with data_directory() as found:
        yield found


@pytest.fixture(scope="module")
def dev(dev_folder):
    """A `crm dev` for those who leave it as it is: its URL and its data directory."""
    with running("dev", "--no-demo", "--data-dir", str(dev_folder)) as (url, *_):
        yield url, dev_folder


@contextmanager
def data_directory():
    found = Path(tempfile.mkdtemp(prefix="crm-dev-"))
    try:
        yield found
    finally:
        if pid := postgres_of(found):
            os.kill(pid, signal.SIGQUIT)
        shutil.rmtree(found, ignore_errors=True)


def postgres_of(folder):
    """The process id of the PostgreSQL over a data directory, if one runs."""
    with suppress(FileNotFoundError, ProcessLookupError, IndexError):
        pid = int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, 0)
        return pid
    return None


@contextmanager
def running(*arguments, fork=True, **settings):
    """A command that serves; yields its URL, its process and its log once it answers."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/graphql"
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        process = children.start_module(
            "crm", [*arguments, "--port", str(port)], log, environment(**settings), fork=fork
        )
        try:
            deadline = time.monotonic() + 60
            while not answers(url):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield url, process, log
            assert not re.search("Traceback|Exception", log.read_text()), log.read_text()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(40)


def answers(url):
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def ask(url, query, **headers):
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        return json.load(error)


def forbidden(url, **headers):
    return ask(url, "{ me { id } }", **headers)["errors"][0]["extensions"]["code"] == "FORBIDDEN"
