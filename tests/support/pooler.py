"""PgBouncer before a PostgreSQL, in transaction mode."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg

from tests.support import tools
from tests.support.servers import free_port


@contextmanager
def pooler(database_url: str) -> Iterator[str]:
    """PgBouncer as it is set up by itself, two server connections for everybody; yields its URL."""
    program = tools.pgbouncer()
    socket = Path(parse_qs(urlsplit(database_url).query)["host"][0])
    folder, port = Path(tempfile.mkdtemp(prefix="crm-pooler-")), free_port()
    folder.chmod(0o755)
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"""[databases]
crm = host={socket} dbname=crm user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
"""
    )
    # It refuses to run as root; whoever owns the socket's folder can reach the server.
    user = socket.stat().st_uid if os.geteuid() == 0 else None
    process = subprocess.Popen([program, "-q", str(settings)], user=user, cwd="/")
    url = f"postgresql://postgres@127.0.0.1:{port}/crm"
    try:
        deadline = time.monotonic() + 10
        while not _answers(url) and time.monotonic() < deadline:
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder)


def _answers(url: str) -> bool:
    with suppress(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=2).close()
        return True
    return False
