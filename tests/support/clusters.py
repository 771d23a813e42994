"""Migrated PostgreSQL clusters and databases: copies of one that is made once in a run of the tests."""

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from crm.db import migrations
from tests.support.children import RUN
from tests.support.postgres import (
    QUICK,
    InstalledPostgres,
    KillableEmbeddedPostgres,
    new_folder,
    remove,
    throw_away_postgres,
)

_TEMPLATE = "template_crm"
_UNCOPIED = (".handle_pids.json", "log", "postmaster.pid", "postmaster.opts")

Postgres = KillableEmbeddedPostgres | InstalledPostgres


def make_folder() -> Path | None:
    """Make the folder of this run, if no process of it has one: whoever made it removes it."""
    if RUN in os.environ:
        return None
    folder = new_folder("crm-clusters-")
    os.environ[RUN] = str(folder)
    return folder


def migrated_postgres(binaries: Path | None = None, *, settings: Mapping[str, str] = QUICK) -> tuple[Postgres, Path]:
    """A running server with all tables, and the folder to remove afterwards."""
    postgres, folder = throw_away_postgres(binaries, settings=settings)
    put_data(binaries, postgres.data)
    postgres.start()
    migrations.upgrade(postgres.url)
    return postgres, folder


def put_data(binaries: Path | None, target: Path) -> None:
    """Put a migrated cluster's data there, if this run has one to copy: `initdb` is left out then."""
    if os.environ.get(RUN):
        _copy(_original(binaries), target)


def create_migrated_database(postgres_url: str, name: str) -> str:
    """A database with all tables beside `crm`; its URL."""
    with psycopg.connect(postgres_url.replace("/crm?", "/postgres?"), autocommit=True) as connection:
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(_TEMPLATE))
        connection.execute(copy)
    url = postgres_url.replace("/crm?", f"/{name}?")
    migrations.upgrade(url)  # what belongs to the role and not to the database is not copied
    return url


def _original(binaries: Path | None) -> Path:
    """The data folder that is copied; it is made by whichever process needs it first."""
    names = f"{binaries} {os.environ.get('CRM_TEST_POSTGRES_BIN')}"
    place = Path(os.environ[RUN]) / hashlib.sha256(names.encode()).hexdigest()[:8]
    with _locked(place.with_suffix(".lock")):
        if not place.exists():
            _make_original(binaries, place)
    return place


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make_original(binaries: Path | None, place: Path) -> None:
    postgres, folder = throw_away_postgres(binaries)
    try:
        postgres.start()
        migrations.upgrade(postgres.url)
        with psycopg.connect(postgres.url.replace("/crm?", "/postgres?"), autocommit=True) as connection:
            copy = sql.SQL("CREATE DATABASE {} TEMPLATE crm").format(sql.Identifier(_TEMPLATE))
            connection.execute(copy)
        postgres.stop()
        _copy(postgres.data, place)
    finally:
        remove(folder)


def _copy(source: Path, target: Path) -> None:
    """Copy a stopped server's data; its files keep their owner."""
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", source, target], check=True)
    for name in _UNCOPIED:
        (target / name).unlink(missing_ok=True)
