"""Statistics of tables that PostgreSQL never analyzed: autovacuum may be off, or think that nothing happened."""

from typing import Final

import structlog

from crm.db.connection import Statement
from crm.db.table_statistics import NEVER_ANALYZED, analysis
from crm.jobs.worker_plan import PeriodicTask, WorkerContext

log = structlog.get_logger()

_FIND: Final = Statement(NEVER_ANALYZED)


async def _analyze(shop: WorkerContext) -> None:
    found = await shop.database.write(_FIND)
    for row in range(found.ntuples):
        name = (found.get_value(row, 0) or b"").decode()
        await shop.database.write(Statement(analysis(name)))
        log.info("table.analyzed", table=name)


CHORE: Final = PeriodicTask("analyze", 60, _analyze)
