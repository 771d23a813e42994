"""Gathers statistics of tables that were never analyzed: autovacuum may be off, or have seen no changes."""

from typing import Final

import structlog

from crm.db.statement import Statement
from crm.db.table_statistics import NEVER_ANALYZED, analysis
from crm.jobs.worker_plan import PeriodicTask, WorkerContext

log = structlog.get_logger()

_FIND: Final = Statement(NEVER_ANALYZED)


async def _analyze(context: WorkerContext) -> None:
    tables = await context.database.write(_FIND)
    for row in range(tables.ntuples):
        name = (tables.get_value(row, 0) or b"").decode()
        await context.database.write(Statement(analysis(name)))
        log.info("table.analyzed", table=name)


ANALYZE: Final = PeriodicTask("analyze", 60, _analyze)
