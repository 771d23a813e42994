"""`crm serve`: the API for real."""

import errno
import os
import signal
import socket
import sys
import time
from typing import Annotated, Any

import structlog
import typer

from crm.cli.config import database_url, read_settings, secret_key
from crm.cli.console import console, fail
from crm.cli.database import refuse_old_tables
from crm.core.logs import configure as configure_logs
from crm.db.capacity import Capacity

_GRACE_SECONDS = 30
# Processes whose parent was killed listen until they notice: a service manager may have restarted the parent by then.
_PORT_SECONDS = 5
_LOOK_SECONDS = 0.05


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Where to listen.", min=0, max=65535)] = 8000,
    workers: Annotated[int, typer.Option(help="Processes; one a core is usual.", min=1, max=64)] = 1,
) -> None:
    """Serve the API for real. Needs `DATABASE_URL` and `CRM_SECRET_KEY`; every request needs a token."""
    os.environ.pop("CRM_LOCAL_ADMIN", None)
    config = read_settings()
    url = database_url(config)
    secret_key(config)
    refuse_old_tables(url)
    refuse_taken_port(host, port, patience=_PORT_SECONDS)
    configure_logs(config)
    inside = workers if config.worker_inside else 0
    Capacity(config.pool_size, config.worker_concurrency).warn(url, web=workers, new_workers=inside)
    run_server(host, port, workers=workers)


def run_server(host: str, port: int, *, workers: int, ready: str = "") -> None:
    """Run the web server until a signal ends it; `ready` is said to people once it listens."""
    from crm.web.protocol import ClientLimits, Config, Server, serve_with_processes  # noqa: PLC0415

    # uvicorn stops in an orderly way on SIGTERM and then raises it again, so that the process dies of it, unless
    # somebody handles it: an orderly stop is exit status 0, and `crm dev` has a PostgreSQL to stop afterwards.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = read_settings()
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
        fail(f"The server could not start on {host}:{port}.")


def _say_where(host: str, port: int, ready: str, **details: int) -> None:
    """To people in `ready`'s words, to whoever reads the log in one line."""
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    if ready:
        console.print(ready.format(url=url), highlight=False)
    else:
        structlog.get_logger().info("server.started", url=f"{url}/graphql", **details)


def refuse_taken_port(host: str, port: int, *, patience: float = 0) -> None:
    """Find out before anything else is started; a port that is free within `patience` seconds is waited for."""
    deadline = time.monotonic() + patience
    while (error := _bind_error(host, port)) is not None:
        if error.errno != errno.EADDRINUSE:
            fail(f"Cannot listen on {host}:{port}: {error.strerror}.")
        if time.monotonic() >= deadline:
            fail(f"Something else listens on {host}:{port}. Stop it, or pass another --port.")
        time.sleep(_LOOK_SECONDS)


def _bind_error(host: str, port: int) -> OSError | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None
