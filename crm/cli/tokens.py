"""`crm token`: tokens for people and programs, and their end."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated
from uuid import UUID

import psycopg
import typer

from crm.access.revocation import revoke as revoke_token
from crm.access.tokens import claims_of, make_token
from crm.access.users.model import SERVICE_ADDRESS
from crm.cli.config import read_settings, secret_key
from crm.cli.console import fail
from crm.cli.database import connect, development_secret, embedded_database, refuse_no_database, refuse_old_tables
from crm.core import errors
from crm.core.identity import Role

_LONGEST_TOKEN = 10 * 365 * 24 * 3600
_USUAL_TOKEN = timedelta(days=30)
_ADMINS_TOKEN = timedelta(days=1)


def token(
    user: Annotated[str | None, typer.Option(help="A user's e-mail address; without it, a service user.")] = None,
    role: Annotated[
        Role | None,
        typer.Option(help="What the token may do, at most what its user may. [default: that; member without --user]"),
    ] = None,
    ttl: Annotated[
        str | None,
        typer.Option(help="How long it lasts: 90s, 30m, 12h, 30d. [default: 30d; 1d for an admin's]"),
    ] = None,
    revoke: Annotated[
        str | None, typer.Option(help="Make none: revoke this token, or the one with this id; `-` reads it from stdin.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Of `crm dev`, if no DATABASE_URL is set.")] = None,
) -> None:
    """Print a token for `Authorization: Bearer ...` (WebSockets: in `connection_init`), or revoke one.

    Whose it is, until when it is valid, and the id by which it can be revoked go to stderr. Without `DATABASE_URL` it
    is a token for `crm dev`, to try what other roles may do. A revoked token is refused everywhere within 5 seconds.
    """
    config = read_settings()
    lifetime = None if ttl is None else _lifetime(ttl)
    if revoke == "-":
        revoke = sys.stdin.readline().strip()

    def act(url: str, secret: str) -> None:
        if revoke is None:
            _print_token(url, secret, user, role, lifetime)
        else:
            _revoke_token(url, secret, revoke)

    if config.database_url:
        act(config.database_url, secret_key(config))
        return
    directory = data_dir or config.data_dir
    refuse_no_database(directory)
    with embedded_database(directory) as url:
        act(url, development_secret(directory))


def _revoke_token(url: str, secret: str, text: str) -> None:
    try:
        key, expires_at = UUID(text), datetime.now(UTC) + timedelta(seconds=_LONGEST_TOKEN)
    except ValueError:
        try:
            claims = claims_of(text, secret)
        except errors.Unauthenticated:
            fail("--revoke takes a token that is still valid, or the id of one (as `crm token` printed it).")
        key, expires_at = claims["jti"], datetime.fromtimestamp(claims["exp"], UTC)
    refuse_old_tables(url)
    with connect(url) as connection:
        revoke_token(connection, key, expires_at)
    typer.echo(f"{key} is revoked.", err=True)


def _print_token(url: str, secret: str, user: str | None, role: Role | None, lifetime: timedelta | None) -> None:
    address = user or SERVICE_ADDRESS.format((role or Role.MEMBER).value)
    try:
        with connect(url) as connection:
            found = connection.execute(
                "SELECT id, role, disabled_at FROM users WHERE lower(email) = lower(%s)", (address,)
            ).fetchone()
    except psycopg.errors.UndefinedTable:
        fail("The database has no tables yet. Run `crm migrate` first.")
    if found is None:
        fail(f"There is no user {address}. An admin adds one with the mutation `createUser`.")
    key, own, disabled = found
    if disabled:
        fail(f"{address} is disabled.")
    if role is not None and not Role(own).includes(role):
        fail(f"{address} is a {own}: a token cannot make it more.")
    granted = role or Role(own)
    lifetime = lifetime or (_ADMINS_TOKEN if granted is Role.ADMIN else _USUAL_TOKEN)
    made = make_token(secret, key, granted, lifetime)
    typer.echo(made)
    until = datetime.now(UTC) + lifetime
    name = claims_of(made, secret)["jti"]
    typer.echo(f"{address}, role {granted.value}, until {until:%Y-%m-%d %H:%M} UTC, id {name}", err=True)


def _lifetime(text: str) -> timedelta:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    if text[-1:] not in units or not text[:-1].isdecimal() or int(text[:-1]) == 0:
        fail(f"--ttl {text!r} is not a time like 90s, 30m, 12h or 30d.")
    seconds = int(text[:-1]) * units[text[-1]]
    if seconds > _LONGEST_TOKEN:
        fail(f"--ttl {text!r} is too long: at most {_LONGEST_TOKEN // units['d']} days.")
    return timedelta(seconds=seconds)
