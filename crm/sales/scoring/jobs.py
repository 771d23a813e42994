"""Scores follow what happens, and time: a follower of the event stream, and a job each night."""

from collections.abc import Sequence
from typing import Final

import structlog

from crm.core import errors
from crm.db.unit_of_work import UnitOfWork
from crm.jobs.worker_plan import ConsumedBatch, EventConsumer, Handler, WorkerContext
from crm.sales.scoring.recalculation import Recalculation
from crm.sales.scoring.service import ScoreService

log = structlog.get_logger()

# What a score may rest on. `lead.scored` is not among them: scores do not follow themselves.
_TYPES: Final = (
    "lead.created",
    "lead.updated",
    "lead.restored",
    *(f"{entity}.{verb}" for entity in ("interaction", "task") for verb in ("created", "updated", "deleted")),
    "task.restored",
)


async def _follow(unit: UnitOfWork, events: Sequence[ConsumedBatch]) -> None:
    await ScoreService(unit).follow([event.lead_id for event in events if event.lead_id is not None])


async def _recalculate(shop: WorkerContext) -> None:
    try:
        await Recalculation(shop.database, announce=shop.feed.announce).run()
    except errors.Conflict as error:  # another's run does as well
        log.info("scores.skipped", reason=error.message)


# Who was scored before there was a follower is scored by the night at the latest.
FOLLOWER: Final = EventConsumer("scores", _TYPES, _follow, from_now=True)
# Each night, since recency decays.
NIGHTLY: Final = Handler("recalculate_scores", _recalculate, cron="0 2 * * * 0")
