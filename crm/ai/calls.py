"""The records of calls: each is written in a transaction of its own, before the call and when it has ended.

A call that has ended may have cost money: while PostgreSQL is away, its record is written again and again.

Between the two no connection is held. The budget is kept here too: what a call may cost is reserved in the statement
that writes it, so that several processes share one budget and none overdraws it.
"""

import asyncio
import secrets
import time
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import psycopg
import structlog

from crm.ai.provider import CostSource, Outcome, Provider, Question, Reply
from crm.core import errors
from crm.db.connection import BEGIN, COMMIT, ROLLBACK, Statement, encode
from crm.db.database import Database
from crm.db.sqlstates import is_away

if TYPE_CHECKING:
    from psycopg import pq

# What today's calls have cost: an unknown cost counts as what was reserved for it.
_SPENT: Final = """
coalesce((SELECT sum(coalesce(cost_usd, reserved_usd, 0)) FROM ai_calls
          WHERE created_at >= date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'), 0)"""
_TODAY: Final = Statement(f"SELECT {_SPENT}")
# The same without what those have reserved that may still be under way: most of it will be free again.
_SPENT_FOR_GOOD: Final = Statement(
    """
SELECT coalesce(sum(coalesce(cost_usd, reserved_usd, 0)), 0) FROM ai_calls
WHERE created_at >= date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
  AND NOT (outcome = 'underway' AND created_at > now() - make_interval(secs => $1::float))"""
)
log = structlog.get_logger()

# Whoever asked waits for the record as long as the question had time, and at least so long; then nobody does any more.
_LEAST_WAIT_SECONDS: Final = 0.5
_BACKGROUND_SECONDS: Final = 60.0
_CLOSING_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 0.25
# Any number, as long as it is always this one: those who reserve wait for each other, for a millisecond.
_IN_TURN: Final = Statement("SELECT pg_advisory_xact_lock(4702111840917463)")
_START: Final = Statement(
    f"""
INSERT INTO ai_calls (id, question_id, attempt, purpose, prompt_version, input_hash, provider, model, lead_id,
                      requested_by, reserved_usd, ai_task_attempt_id)
SELECT $1::uuid, $2::uuid, $3::integer, $4::text, $5::text, $6::text, $7::text, $8::text, $9::integer, $10::uuid,
       $11::numeric, $13::uuid
WHERE $12::numeric IS NULL OR {_SPENT} + coalesce($11::numeric, 0) <= $12::numeric
RETURNING id"""
)
_END: Final = Statement(
    """
UPDATE ai_calls SET outcome = $2::text, detail = $3::text, model = coalesce($4::text, model), tokens_in = $5::integer,
       tokens_out = $6::integer, cost_usd = $7::numeric, cost_source = $8::text, duration_ms = $9::integer,
       reserved_usd = CASE WHEN $10::boolean THEN NULL ELSE reserved_usd END
WHERE id = $1::uuid"""
)
_MOST_DETAIL: Final = 500
# Set while an AI task runs: what is asked then goes on the bill of this attempt.
current_attempt: ContextVar[UUID | None] = ContextVar("current_attempt", default=None)
_MOST_MODEL: Final = 200


@dataclass(frozen=True, slots=True)
class Asker:
    """For whom, and about which lead."""

    question_id: UUID
    lead_id: int | None = None
    requested_by: UUID | None = None


@dataclass(frozen=True, slots=True)
class CallEnd:
    """How a call ended."""

    outcome: Outcome
    reply: Reply
    detail: str | None = None
    duration: float = 0
    # Nothing was made, so nothing is owed, and what was reserved is free again.
    free: bool = False

    @property
    def cost(self) -> Decimal | None:
        """What is owed for it; None: nobody knows."""
        return Decimal(0) if self.free else self.reply.cost

    @property
    def cost_source(self) -> CostSource:
        """Who says so; that nothing was made counts as the provider's word."""
        if self.free:
            return CostSource.PROVIDER
        return CostSource.UNKNOWN if self.cost is None else self.reply.cost_source


class Calls:
    """Writes the records, and keeps the budget."""

    def __init__(self, database: Database, daily_budget: Decimal | None = None) -> None:
        self.daily_budget = daily_budget
        self._database = database
        self._completing: set[asyncio.Task[None]] = set()
        self._closes_at = float("inf")

    async def start(self, call: UUID, question: Question[Any], asker: Asker, attempt: int, provider: Provider) -> bool:
        """Write that a call begins; False if the day's budget does not allow it."""
        most = provider.most(question)
        asked = (call, asker.question_id, attempt, question.purpose, question.prompt_version, question.input_hash)
        whom = (provider.name, provider.model, asker.lead_id, asker.requested_by)
        # What costs nothing needs no budget.
        budget = None if most is not None and not most else self.daily_budget
        step = (_START, [encode(value) for value in (*asked, *whom, most, budget, current_attempt.get())])
        if budget is None:
            await self._database.write(*step)
            return True
        async with self._database.primary.connection() as wire:
            try:
                # Each statement sees what was committed before it: this one what all those before it in turn reserved.
                found = await wire.run([(BEGIN, ()), (_IN_TURN, ()), step, (COMMIT, ())])
            except psycopg.Error:
                if not wire.broken:
                    await wire.execute(ROLLBACK)
                raise
        return bool(found[2].ntuples)

    async def will_be_free(self, most: Decimal | None, seconds: float) -> bool:
        """Whether the budget may allow a call of so much when those under way have ended, which they do in time."""
        spent = _amount(await self._database.read(_SPENT_FOR_GOOD, [encode(seconds)]))
        return self.daily_budget is None or spent + (most or 0) <= self.daily_budget

    async def complete(self, call: UUID, end: CallEnd, deadline: float) -> None:
        """Complete a record, and wait for that until the deadline; a minute longer it is tried in the background.

        A caller who goes away, now or before, does not keep it from being completed.
        """
        now = asyncio.get_running_loop().time()
        patience = max(deadline - now, _LEAST_WAIT_SECONDS)
        task = asyncio.create_task(self._complete(call, end, now + patience + _BACKGROUND_SECONDS))
        self._completing.add(task)
        task.add_done_callback(self._completing.discard)
        if end.outcome is not Outcome.CANCELLED:
            await asyncio.wait({task}, timeout=patience)

    async def close(self) -> None:
        """Finish the records; if PostgreSQL does not come back soon, without them."""
        self._closes_at = asyncio.get_running_loop().time() + _CLOSING_SECONDS
        while self._completing:
            await asyncio.wait(self._completing)

    async def _complete(self, call: UUID, end: CallEnd, give_up: float) -> None:
        while True:
            try:
                return await self._end(call, end)
            except (errors.CrmError, psycopg.Error) as error:
                if not is_away(error) or asyncio.get_running_loop().time() > min(give_up, self._closes_at):
                    return _log_loss(call, end, error)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _end(self, call: UUID, end: CallEnd) -> None:
        reply = end.reply
        values = (
            call,
            end.outcome.value,
            _text(end.detail, _MOST_DETAIL),
            _text(reply.model, _MOST_MODEL),
            reply.tokens_in,
            reply.tokens_out,
            end.cost,
            end.cost_source.value,
            round(end.duration * 1000),
            end.cost is not None,
        )
        await self._database.write(_END, [encode(value) for value in values])

    async def spent_today(self) -> Decimal:
        """What the calls of this day (UTC) have cost; an unknown cost counts as what was reserved for it."""
        return _amount(await self._database.read(_TODAY, ()))


def _log_loss(call: UUID, end: CallEnd, error: Exception) -> None:
    """What the record would have said of the bill, for whoever has to make up for it."""
    reply = end.reply
    tokens = {"tokens_in": reply.tokens_in, "tokens_out": reply.tokens_out}
    cost = {"cost_usd": None if end.cost is None else str(end.cost), "cost_source": end.cost_source.value}
    reason = type(error).__name__
    log.error("ai.not_recorded", call=str(call), outcome=end.outcome.value, error=reason, **tokens, **cost)


def new_id() -> UUID:
    """A UUIDv7: by time, so that the index grows at its end. https://www.rfc-editor.org/rfc/rfc9562#section-5.7."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def _amount(found: "pq.abc.PGresult") -> Decimal:
    return Decimal((found.get_value(0, 0) or b"0").decode())


def _text(value: str | None, most: int) -> str | None:
    """Text that PostgreSQL takes, and no more of it than is of use."""
    if not value:
        return None
    return value.replace("\0", "").encode("utf-8", "replace").decode()[:most]
