"""The command line: crm dev | serve | worker | migrate | demo | recalculate | token | schema."""

import asyncio
import errno
import os
import re
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn
from uuid import UUID

import psycopg
import structlog
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from crm.access.revocation import revoke as revoke_token
from crm.access.tokens import claims_of, make_token
from crm.core import errors
from crm.core.identity import Role
from crm.core.logs import configure as configure_logs
from crm.core.settings import Settings
from crm.db import migrations
from crm.db.address import conninfo
from crm.db.capacity import Capacity
from crm.db.embedded import EmbeddedPostgres

app = typer.Typer(
    help="A GraphQL-first CRM backend. Start with `crm dev`; run it for real with `crm serve`.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
console = Console(stderr=True)
_MIN_SECRET = 32
_LONGEST_TOKEN = 10 * 365 * 24 * 3600
_USUAL_TOKEN = timedelta(days=30)
_ADMINS_TOKEN = timedelta(days=1)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_DEMO_LEADS = 500
_GRACE_SECONDS = 30
_READY = "\n  GraphiQL and the API: [bold]{url}/graphql[/bold]   (ctrl-C stops)\n  AI tasks: {url}/console/ai-tasks\n"


def _print_version(wanted: bool) -> None:  # noqa: FBT001  (Typer calls it with the option's value)
    if wanted:
        typer.echo(f"crm {version('crm')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


@app.command()
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
        _fail(f"`crm dev` needs no credentials, so it listens on loopback only, not on {host}. Use `crm serve`.")
    config = _settings()
    if config.database_url:
        _dev(config.database_url, secrets.token_urlsafe(48), host, port, demo=demo)
        return
    _refuse_taken_port(host, port)
    postgres = _embedded(data_dir or config.data_dir)
    if postgres.running:
        _fail(f"Another `crm dev` uses {postgres.directory.parent}: stop it, or pass another --data-dir.")
    # Whatever ends this, at whatever moment, stops PostgreSQL too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with console.status("Starting PostgreSQL"):
            url = postgres.start()
        _dev(url, _development_secret(data_dir or config.data_dir), host, port, demo=demo)
    except KeyboardInterrupt:
        console.print("Stopped.")
    finally:
        postgres.stop()


def _dev(url: str, secret: str, host: str, port: int, *, demo: bool) -> None:
    _migrate(url)
    admin = _local_admin(url)
    if demo and _is_empty(url):
        _load_demo(url, _DEMO_LEADS)
    os.environ["DATABASE_URL"] = url
    os.environ["CRM_LOCAL_ADMIN"] = str(admin)
    os.environ.setdefault("CRM_WORKER_INSIDE", "true")
    os.environ.setdefault("CRM_WORKER_GRACE_SECONDS", "3")
    os.environ.setdefault("CRM_DRAIN_SECONDS", "0")
    os.environ.setdefault("CRM_AI_TASK_ECHO_SECONDS", "3600")
    os.environ.setdefault("CRM_SECRET_KEY", secret)
    _run_server(host, port, workers=1, ready=_READY)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Where to listen.", min=0, max=65535)] = 8000,
    workers: Annotated[int, typer.Option(help="Processes; one a core is usual.", min=1, max=64)] = 1,
) -> None:
    """Serve the API for real. Needs `DATABASE_URL` and `CRM_SECRET_KEY`; every request needs a token."""
    os.environ.pop("CRM_LOCAL_ADMIN", None)
    config = _settings()
    url = _database_url(config)
    _secret(config)
    _refuse_old(url)
    _refuse_taken_port(host, port)
    configure_logs(config)
    inside = workers if config.worker_inside else 0
    Capacity(config.pool_size, config.worker_concurrency).warn(url, web=workers, new_workers=inside)
    _run_server(host, port, workers=workers)


@app.command()
def worker(
    concurrency: Annotated[
        int | None, typer.Option(help="Jobs at once; CRM_WORKER_CONCURRENCY otherwise.", min=1, max=200)
    ] = None,
) -> None:
    """Do the work in the background: jobs, the nightly ones, scores that follow what happens. Needs `DATABASE_URL`.

    Run as many as you like, on any machine. SIGTERM or ctrl-C: it takes no more work, gives what runs 30 s
    (`CRM_WORKER_GRACE_SECONDS`), and puts the rest back.
    """
    config = _settings()
    _refuse_old(_database_url(config))
    from crm.background import work  # noqa: PLC0415  (imports every domain)

    if concurrency is not None:
        config = config.model_copy(update={"worker_concurrency": concurrency})
    configure_logs(config)
    url = config.database_listen_url or _database_url(config)
    Capacity(config.pool_size, config.worker_concurrency).warn(url, new_workers=1)
    work(config)


@app.command()
def migrate() -> None:
    """Bring the database's tables up to date. Needs `DATABASE_URL`; run it before `crm serve` and `crm worker`."""
    _migrate(_database_url(_settings()))
    console.print("  The tables are up to date.")


@app.command()
def demo(
    leads: Annotated[int, typer.Option(help="How many leads, each with its history.", min=1, max=5_000_000)] = 500,
    data_dir: Annotated[Path | None, typer.Option(help="Without DATABASE_URL: where `crm dev` keeps its own.")] = None,
) -> None:
    """Add demo data: Swedish and English leads with interactions and tasks that read like real ones."""
    config = _settings()
    if config.database_url:
        _migrate(config.database_url)
        _load_demo(config.database_url, leads)
        return
    with _embedded_database(data_dir or config.data_dir) as url:
        _migrate(url)
        _load_demo(url, leads)


@app.command()
def recalculate(
    data_dir: Annotated[Path | None, typer.Option(help="Without DATABASE_URL: where `crm dev` keeps its own.")] = None,
) -> None:
    """Calculate every lead's score anew, as of now; the API goes on meanwhile. The worker does it each night."""
    config = _settings()
    if config.database_url:
        _recalculate(config.database_url)
        return
    directory = data_dir or config.data_dir
    _refuse_no_database(directory)
    with _embedded_database(directory) as url:
        _recalculate(url)


@app.command()
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
    config = _settings()
    lifetime = None if ttl is None else _lifetime(ttl)
    if revoke == "-":
        revoke = sys.stdin.readline().strip()

    def act(url: str, secret: str) -> None:
        if revoke is None:
            _print_token(url, secret, user, role, lifetime)
        else:
            _revoke_token(url, secret, revoke)

    if config.database_url:
        act(config.database_url, _secret(config))
        return
    directory = data_dir or config.data_dir
    _refuse_no_database(directory)
    with _embedded_database(directory) as url:
        act(url, _development_secret(directory))


def _revoke_token(url: str, secret: str, text: str) -> None:
    try:
        key, expires_at = UUID(text), datetime.now(UTC) + timedelta(seconds=_LONGEST_TOKEN)
    except ValueError:
        try:
            claims = claims_of(text, secret)
        except errors.Unauthenticated:
            _fail("--revoke takes a token that is still valid, or the id of one (as `crm token` printed it).")
        key, expires_at = claims["jti"], datetime.fromtimestamp(claims["exp"], UTC)
    _refuse_old(url)
    with _connect(url) as connection:
        revoke_token(connection, key, expires_at)
    typer.echo(f"{key} is revoked.", err=True)


def _print_token(url: str, secret: str, user: str | None, role: Role | None, lifetime: timedelta | None) -> None:
    address = user or f"service-{(role or Role.MEMBER).value}@crm.invalid"
    try:
        with _connect(url) as connection:
            found = connection.execute(
                "SELECT id, role, disabled_at FROM users WHERE lower(email) = lower(%s)", (address,)
            ).fetchone()
    except psycopg.errors.UndefinedTable:
        _fail("The database has no tables yet. Run `crm migrate` first.")
    if found is None:
        _fail(f"There is no user {address}. An admin adds one with the mutation `createUser`.")
    key, own, disabled = found
    if disabled:
        _fail(f"{address} is disabled.")
    if role is not None and not Role(own).includes(role):
        _fail(f"{address} is a {own}: a token cannot make it more.")
    granted = role or Role(own)
    lifetime = lifetime or (_ADMINS_TOKEN if granted is Role.ADMIN else _USUAL_TOKEN)
    made = make_token(secret, key, granted, lifetime)
    typer.echo(made)
    until = datetime.now(UTC) + lifetime
    name = claims_of(made, secret)["jti"]
    typer.echo(f"{address}, role {granted.value}, until {until:%Y-%m-%d %H:%M} UTC, id {name}", err=True)


@app.command()
def schema() -> None:
    """Print the schema (SDL), sorted: what `schema.graphql` holds and clients generate types from."""
    from crm.graph.sdl import sdl  # noqa: PLC0415  (imports the whole API)
    from crm.schema import schema as api  # noqa: PLC0415

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `crm schema | head` ends quietly
    typer.echo(sdl(api), nl=False)


def main() -> None:
    """The `crm` command."""
    app()


def _run_server(host: str, port: int, *, workers: int, ready: str = "") -> None:
    from crm.web.protocol import ClientLimits, Config, Server, serve_with_processes  # noqa: PLC0415

    # uvicorn stops in an orderly way on SIGTERM and then raises it again, so that the process dies of it, unless
    # somebody handles it: an orderly stop is exit status 0, and `crm dev` has a PostgreSQL to stop afterwards.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = _settings()
    options: dict[str, Any] = {
        "app": "crm.app:create",
        "factory": True,
        "host": host,
        "port": port,
        "workers": workers,
        "loop": "uvloop",
        "ws_max_size": 1024 * 1024,
        "timeout_graceful_shutdown": int(_GRACE_SECONDS + settings.drain_seconds),
    }
    config = Config(limits=ClientLimits.of(settings).within_open_files(), **options)
    if workers > 1:
        configure_logs(settings)
        structlog.get_logger().info("server.starting", host=host, port=port, processes=workers)
        started = serve_with_processes(config, lambda name, bound: _say_where(name, bound, ready, processes=workers))
    else:
        server = Server(config, on_started=lambda name, bound: _say_where(name, bound, ready))
        server.run()
        started = server.started
    if not started:
        _fail(f"The server could not start on {host}:{port}.")


def _say_where(host: str, port: int, ready: str, **details: int) -> None:
    """To people in `ready`'s words, to whoever reads the log in one line."""
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    if ready:
        console.print(ready.format(url=url), highlight=False)
    else:
        structlog.get_logger().info("server.started", url=f"{url}/graphql", **details)


def _refuse_taken_port(host: str, port: int) -> None:
    """Find out before anything else is started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                _fail(f"Something else listens on {host}:{port}. Stop it, or pass another --port.")
            _fail(f"Cannot listen on {host}:{port}: {error.strerror}.")


def _embedded(directory: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(directory / "postgres")


def _refuse_no_database(directory: Path) -> None:
    """Only `crm dev` and `crm demo` make one."""
    if not (directory / "postgres").exists():
        _fail(f"Set DATABASE_URL, or start `crm dev` first: there is no database in {directory} yet.")


def _refuse_old(url: str) -> None:
    try:
        behind = migrations.pending(url)
    except Exception as error:  # noqa: BLE001
        _fail(f"Cannot use the database: {_first_line(error)}")
    if behind:
        _fail(f"The database lacks {len(behind)} migration(s): {', '.join(behind)}. Run `crm migrate` first.")


@contextmanager
def _embedded_database(directory: Path) -> Iterator[str]:
    """The URL of `crm dev`'s database; the server is started for a while if it is not running."""
    postgres = _embedded(directory)
    was_running = postgres.running
    try:
        yield postgres.start()
    finally:
        if not was_running:
            postgres.stop()


def _development_secret(directory: Path) -> str:
    """The key of `crm dev`'s tokens: made once, so that a token outlives a restart."""
    file = directory / "secret"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(48))
    return file.read_text()


def _migrate(url: str) -> None:
    try:
        behind = migrations.pending(url)
    except Exception as error:  # noqa: BLE001
        _fail(f"Cannot use the database: {_first_line(error)}")
    if not behind:
        migrations.upgrade(url)
        return
    with _progress("Migrating") as progress:
        bar = progress.add_task("Migrating", total=len(behind))
        try:
            migrations.upgrade(
                url,
                on_revision=lambda title: progress.update(bar, advance=1, description=title),
                on_wait=lambda reason: _say_what_holds_up(progress, bar, reason),
            )
        except Exception as error:  # noqa: BLE001
            _fail(f"The migration failed and was undone: {_first_line(error)}")
        progress.update(bar, description="Migrating")


def _say_what_holds_up(progress: Progress, bar: TaskID, reason: str) -> None:
    progress.update(bar, description=f"Migrating ({reason})")
    if not console.is_terminal:  # a bar is drawn when it is done
        console.print(f"  Migrating: {reason}", highlight=False)


def _load_demo(url: str, leads: int) -> None:
    from crm.demo.load import load  # noqa: PLC0415

    with _connect(url) as connection, _progress("Demo data") as progress:
        connection.execute("SET statement_timeout = 0")
        connection.commit()
        bar = progress.add_task("Demo data", total=leads)
        loaded = load(connection, leads, on_progress=lambda done: progress.update(bar, completed=done))
        connection.commit()
        progress.update(bar, description="Tidying up")
        connection.autocommit = True
        connection.execute("VACUUM (ANALYZE) leads, interactions, tasks")
        progress.update(bar, description="Demo data")
    console.print(
        f"  Loaded {loaded.leads:,} leads, {loaded.interactions:,} interactions, {loaded.tasks:,} tasks "
        f"and {loaded.ai_tasks} AI tasks",
        highlight=False,
    )


def _recalculate(url: str) -> None:
    from crm.db.database import Database  # noqa: PLC0415
    from crm.sales.scoring.recalculation import Recalculation, RecalculationResult  # noqa: PLC0415

    config = _settings()
    configure_logs(config)

    async def run(on_progress: Callable[[int, int], None]) -> RecalculationResult:
        database = Database.for_program(config, url, size=1)
        try:
            return await Recalculation(database, on_progress=on_progress).run()
        finally:
            database.close()

    _refuse_old(url)
    with _progress("Scores") as progress:
        bar = progress.add_task("Scores", total=None)
        try:
            result = asyncio.run(run(lambda done, total: progress.update(bar, completed=done, total=total)))
        except errors.CrmError as error:
            _fail(error.message)
    failed = f", {result.failed:,} failed (the log says which and why)" if result.failed else ""
    console.print(
        f"  {result.count:,} leads in {result.duration_ms / 1000:.1f} s: {result.changed:,} scores changed{failed}",
        highlight=False,
    )
    if result.failed:
        sys.exit(1)


def _local_admin(url: str) -> UUID:
    """The user that `crm dev` acts as."""
    with _connect(url) as connection:
        connection.execute(
            "INSERT INTO users (email, name, role) VALUES ('admin@localhost', 'Local admin', 'admin') "
            "ON CONFLICT DO NOTHING"
        )
        (key,) = connection.execute("SELECT id FROM users WHERE lower(email) = 'admin@localhost'").fetchall()[0]
    return UUID(str(key))


def _is_empty(url: str) -> bool:
    with _connect(url) as connection:
        return connection.execute("SELECT 1 FROM leads LIMIT 1").fetchone() is None


def _connect(url: str) -> psycopg.Connection[Any]:
    try:
        return psycopg.connect(conninfo(url))
    except psycopg.OperationalError as error:
        _fail(f"Cannot reach the database: {_first_line(error)}")


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(
            ": ".join([*map(_variable, one["loc"][:1]), one["msg"].removeprefix("Value error, ")])
            for one in error.errors()
        )
        _fail(f"A setting is wrong. {wrong}.")


def _variable(name: object) -> str:
    """A setting's environment variable."""
    text = str(name)
    return text if text.isupper() else f"CRM_{text.upper()}"


def _database_url(config: Settings) -> str:
    if not config.database_url:
        _fail("Set DATABASE_URL, like postgresql://user:password@host:5432/crm (or use `crm dev`, which needs none).")
    return config.database_url


def _secret(config: Settings) -> str:
    secret = config.secret_key.get_secret_value() if config.secret_key else ""
    if len(secret) < _MIN_SECRET:
        _fail(
            f"Set CRM_SECRET_KEY to {_MIN_SECRET} characters or more, the same for all processes: "
            "python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
        )
    return secret


def _lifetime(text: str) -> timedelta:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    if text[-1:] not in units or not text[:-1].isdecimal() or int(text[:-1]) == 0:
        _fail(f"--ttl {text!r} is not a time like 90s, 30m, 12h or 30d.")
    seconds = int(text[:-1]) * units[text[-1]]
    if seconds > _LONGEST_TOKEN:
        _fail(f"--ttl {text!r} is too long: at most {_LONGEST_TOKEN // units['d']} days.")
    return timedelta(seconds=seconds)


def _progress(_: str) -> Progress:
    text = TextColumn("{task.description}")
    return Progress(SpinnerColumn(), text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console)


def _first_line(error: BaseException) -> str:
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return re.sub(r"^\(psycopg\.[\w.]+\) ", "", first)  # SQLAlchemy names the class first: of no use to who reads it


def _fail(message: str) -> NoReturn:
    console.print(f"[red]crm:[/red] {message}", soft_wrap=True, highlight=False)
    sys.exit(2)
