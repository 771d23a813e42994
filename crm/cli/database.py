"""The database that a command works with: the one of DATABASE_URL, or `crm dev`'s own."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from crm.cli.console import fail, first_line
from crm.db import migrations
from crm.db.address import conninfo
from crm.db.embedded import EmbeddedPostgres


def connect(url: str) -> psycopg.Connection[Any]:
    """A connection of psycopg's own."""
    try:
        return psycopg.connect(conninfo(url))
    except psycopg.OperationalError as error:
        fail(f"Cannot reach the database: {first_line(error)}")


def refuse_old_tables(url: str) -> None:
    """Fail if migrations are pending."""
    try:
        behind = migrations.pending(url)
    except Exception as error:  # noqa: BLE001
        fail(f"Cannot use the database: {first_line(error)}")
    if behind:
        fail(f"The database lacks {len(behind)} migration(s): {', '.join(behind)}. Run `crm migrate` first.")


def embedded(directory: Path) -> EmbeddedPostgres:
    """The PostgreSQL of `crm dev` in this directory."""
    return EmbeddedPostgres(directory / "postgres")


@contextmanager
def embedded_database(directory: Path) -> Iterator[str]:
    """The URL of `crm dev`'s database; the server is started for a while if it is not running."""
    postgres = embedded(directory)
    was_running = postgres.running
    try:
        yield postgres.start()
    finally:
        if not was_running:
            postgres.stop()


def refuse_no_database(directory: Path) -> None:
    """Only `crm dev` and `crm demo` make one."""
    if not (directory / "postgres").exists():
        fail(
            f"Set DATABASE_URL, or start `crm dev` first: there is no database in {directory} yet. "
            "(Of a `crm dev` that has another folder, say --data-dir.)"
        )


def development_secret(directory: Path) -> str:
    """The key of `crm dev`'s tokens: made once, so that a token outlives a restart."""
    file = directory / "secret"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(48))
    return file.read_text()
