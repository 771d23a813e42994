"""`crm worker`: the work in the background."""

from typing import Annotated

import typer

from crm.cli.config import database_url, read_settings
from crm.cli.database import refuse_old_tables
from crm.core.logs import configure as configure_logs
from crm.db.capacity import Capacity


def worker(
    concurrency: Annotated[
        int | None, typer.Option(help="Jobs at once; CRM_WORKER_CONCURRENCY otherwise.", min=1, max=200)
    ] = None,
) -> None:
    """Do the work in the background: jobs, the nightly ones, scores that follow what happens. Needs `DATABASE_URL`.

    Run as many as you like, on any machine. SIGTERM or ctrl-C: it takes no more work, gives what runs 30 s
    (`CRM_WORKER_GRACE_SECONDS`), and puts the rest back.
    """
    config = read_settings()
    refuse_old_tables(database_url(config))
    from crm.background import work  # noqa: PLC0415  (imports every domain)

    if concurrency is not None:
        config = config.model_copy(update={"worker_concurrency": concurrency})
    configure_logs(config)
    url = config.database_listen_url or database_url(config)
    Capacity(config.pool_size, config.worker_concurrency).warn(url, new_workers=1)
    work(config)
