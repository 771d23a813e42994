"""`crm migrate | demo | recalculate`: what is in the database."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, TaskID

from crm.cli.config import database_url, read_settings
from crm.cli.console import console, fail, first_line, progress_bar
from crm.cli.database import connect, embedded_database, refuse_no_database, refuse_old_tables
from crm.core import errors
from crm.core.logs import configure as configure_logs
from crm.db import migrations


def migrate() -> None:
    """Bring the database's tables up to date. Needs `DATABASE_URL`; run it before `crm serve` and `crm worker`."""
    migrate_database(database_url(read_settings()))
    console.print("  The tables are up to date.")


def demo(
    leads: Annotated[int, typer.Option(help="How many leads, each with its history.", min=1, max=5_000_000)] = 500,
    data_dir: Annotated[Path | None, typer.Option(help="Without DATABASE_URL: where `crm dev` keeps its own.")] = None,
) -> None:
    """Add demo data: Swedish and English leads with interactions and tasks that read like real ones."""
    config = read_settings()
    if config.database_url:
        migrate_database(config.database_url)
        load_demo(config.database_url, leads)
        return
    with embedded_database(data_dir or config.data_dir) as url:
        migrate_database(url)
        load_demo(url, leads)


def recalculate(
    data_dir: Annotated[Path | None, typer.Option(help="Without DATABASE_URL: where `crm dev` keeps its own.")] = None,
) -> None:
    """Calculate every lead's score anew, as of now; the API goes on meanwhile. The worker does it each night."""
    config = read_settings()
    if config.database_url:
        _recalculate(config.database_url)
        return
    directory = data_dir or config.data_dir
    refuse_no_database(directory)
    with embedded_database(directory) as url:
        _recalculate(url)


def migrate_database(url: str) -> None:
    """Run the migrations that are pending, with a bar."""
    try:
        behind = migrations.pending(url)
    except Exception as error:  # noqa: BLE001
        fail(f"Cannot use the database: {first_line(error)}")
    if not behind:
        migrations.upgrade(url)
        return
    with progress_bar() as progress:
        bar = progress.add_task("Migrating", total=len(behind))
        try:
            migrations.upgrade(
                url,
                on_revision=lambda title: progress.update(bar, advance=1, description=title),
                on_wait=lambda reason: _say_what_holds_up(progress, bar, reason),
            )
        except Exception as error:  # noqa: BLE001
            fail(f"The migration failed and was undone: {first_line(error)}")
        progress.update(bar, description="Migrating")


def _say_what_holds_up(progress: Progress, bar: TaskID, reason: str) -> None:
    progress.update(bar, description=f"Migrating ({reason})")
    if not console.is_terminal:  # a bar is drawn when it is done
        console.print(f"  Migrating: {reason}", highlight=False)


def load_demo(url: str, leads: int) -> None:
    """Add so many leads with what belongs to them, with a bar."""
    from crm.demo.load import load  # noqa: PLC0415

    with connect(url) as connection, progress_bar() as progress:
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
        f"and {loaded.ai_tasks} AI tasks{f', with {loaded.events:,} events' if loaded.events else ''}",
        highlight=False,
    )


def _recalculate(url: str) -> None:
    from crm.db.database import Database  # noqa: PLC0415
    from crm.sales.scoring.recalculation import Recalculation, RecalculationResult  # noqa: PLC0415

    config = read_settings()
    configure_logs(config)

    async def run(on_progress: Callable[[int, int], None]) -> RecalculationResult:
        database = Database.for_program(config, url, size=1)
        try:
            return await Recalculation(database, on_progress=on_progress).run()
        finally:
            database.close()

    refuse_old_tables(url)
    with progress_bar() as progress:
        bar = progress.add_task("Scores", total=None)
        try:
            result = asyncio.run(run(lambda done, total: progress.update(bar, completed=done, total=total)))
        except errors.CrmError as error:
            fail(error.message)
    failed = f", {result.failed:,} failed (the log says which and why)" if result.failed else ""
    console.print(
        f"  {result.count:,} leads in {result.duration_ms / 1000:.1f} s: {result.changed:,} scores changed{failed}",
        highlight=False,
    )
    if result.failed:
        sys.exit(1)
