"""`crm dev`: everything on this machine, for whoever tries or develops it."""

import fcntl
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from crm.cli.config import read_settings
from crm.cli.console import console, fail
from crm.cli.data import load_demo, migrate_database
from crm.cli.database import connect, development_secret, embedded
from crm.cli.serve import refuse_taken_port, run_server
from crm.core.stop_signals import stop_signals
from crm.core.terminal import leave_if_closed

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_DEMO_LEADS = 500
_READY = "\n  GraphiQL and the API: [bold]{url}/graphql[/bold]   (ctrl-C stops)\n  AI tasks: {url}/console/ai-tasks\n"


def dev(
    host: Annotated[str, typer.Option(help="A loopback address; others are refused.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Where to listen.", min=0, max=65535)] = 8000,
    data_dir: Annotated[Path | None, typer.Option(help="Where the embedded PostgreSQL lives.")] = None,
    demo: Annotated[bool, typer.Option("--demo/--no-demo", help="Fill an empty database with demo data.")] = True,
) -> None:
    """Start everything on this machine: a PostgreSQL of its own, migrations, demo data, the API, GraphiQL.

    A request without a token acts as the local admin, so this listens on loopback only. With `DATABASE_URL` set, that
    database is used instead of the embedded one. Ctrl-C stops everything.
    """
    if host not in _LOOPBACK:
        fail(f"`crm dev` needs no credentials, so it listens on loopback only, not on {host}. Use `crm serve`.")
    config = read_settings()
    if config.database_url:
        _dev(config.database_url, secrets.token_urlsafe(48), host, port, demo=demo)
        return
    refuse_taken_port(host, port)
    folder = data_dir or config.data_dir
    postgres = embedded(folder)
    # Whatever ends this, at whatever moment, stops PostgreSQL too.
    for number in set(stop_signals()) - {signal.SIGINT}:  # which Python raises as KeyboardInterrupt
        signal.signal(number, _stop)
    with _alone_in(folder):
        try:
            with console.status("Starting PostgreSQL"):
                url = postgres.start()
            _dev(url, development_secret(folder), host, port, demo=demo)
        except KeyboardInterrupt:
            console.print("Stopped.")
        finally:
            postgres.stop()


def _stop(*_: object) -> None:
    leave_if_closed()
    sys.exit(0)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Refuse a second `crm dev` in a folder; the next one takes over the PostgreSQL of one that was killed."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "dev.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fail(f"Another `crm dev` uses {folder.resolve()}: stop it, or pass another --data-dir.")
        yield


def _dev(url: str, secret: str, host: str, port: int, *, demo: bool) -> None:
    migrate_database(url)
    admin = _local_admin(url)
    if demo and _is_empty(url):
        load_demo(url, _DEMO_LEADS)
    os.environ["DATABASE_URL"] = url
    os.environ["CRM_LOCAL_ADMIN"] = str(admin)
    os.environ.setdefault("CRM_WORKER_INSIDE", "true")
    os.environ.setdefault("CRM_WORKER_GRACE_SECONDS", "3")
    os.environ.setdefault("CRM_DRAIN_SECONDS", "0")
    os.environ.setdefault("CRM_LOG_LEVEL", "warning")  # what goes well is no line among the words for people
    os.environ.setdefault("CRM_AI_TASK_ECHO_SECONDS", "3600")
    os.environ.setdefault("CRM_SECRET_KEY", secret)
    run_server(host, port, workers=1, ready=_READY)


def _local_admin(url: str) -> UUID:
    """The user that `crm dev` acts as."""
    with connect(url) as connection:
        connection.execute(
            "INSERT INTO users (email, name, role) VALUES ('admin@localhost', 'Local admin', 'admin') "
            "ON CONFLICT DO NOTHING"
        )
        (key,) = connection.execute("SELECT id FROM users WHERE lower(email) = 'admin@localhost'").fetchall()[0]
    return UUID(str(key))


def _is_empty(url: str) -> bool:
    with connect(url) as connection:
        return connection.execute("SELECT 1 FROM leads LIMIT 1").fetchone() is None
