"""Forgets idempotency keys after some hours."""

import asyncio
from typing import Final

from crm.db.database import Database
from crm.db.idempotency import BATCH, FORGET
from crm.db.statement import encode
from crm.jobs.worker_plan import Handler, WorkerContext

_BREATH_SECONDS: Final = 0.05


async def forget(database: Database, hours: int) -> None:
    """Remove the keys that were used so many hours ago, batch by batch."""
    params = [encode(hours), encode(BATCH)]
    while (await database.write(FORGET, params)).command_tuples == BATCH:
        await asyncio.sleep(_BREATH_SECONDS)


async def _forget(context: WorkerContext) -> None:
    await forget(context.database, context.settings.idempotency_key_hours)


FORGET_KEYS: Final = Handler("idempotency_keys.forget", _forget, cron="43 * * * * 0")
