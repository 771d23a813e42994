"""Keeps scores up to date: a consumer of the event stream, and a nightly job."""

from collections.abc import Sequence
from typing import Final

import structlog

from crm.core import errors
from crm.db.unit_of_work import UnitOfWork
from crm.jobs.worker_plan import ConsumedEvent, EventConsumer, Handler, WorkerContext
from crm.sales.scoring.recalculation import Recalculation
from crm.sales.scoring.service import ScoreService

log = structlog.get_logger()

# Events that may change a score. `lead.scored` is not among them: a consumer must not react to its own events.
_TYPES: Final = (
    "lead.created",
    "lead.updated",
    "lead.restored",
    *(f"{entity}.{verb}" for entity in ("interaction", "task") for verb in ("created", "updated", "deleted")),
    "task.restored",
)


async def _follow(unit: UnitOfWork, events: Sequence[ConsumedEvent]) -> None:
    await ScoreService(unit).follow([event.lead_id for event in events if event.lead_id is not None])


async def _recalculate(context: WorkerContext) -> None:
    try:
        await Recalculation(context.database, announce=context.feed.announce).run()
    except errors.Conflict as error:  # another process has just scored them, or is doing so
        log.info("scores.skipped", reason=error.message)


# From now: the nightly job scores leads whose events came before the first start of this consumer.
CONSUMER: Final = EventConsumer("scores", _TYPES, _follow, from_now=True)
# Each night, since recency decays.
NIGHTLY: Final = Handler("recalculate_scores", _recalculate, cron="0 2 * * * 0")
