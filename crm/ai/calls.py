"""Records of AI calls, and the daily budget.

A record is written before the call and completed after it, each in a transaction of its own; no connection is held
between. A call that has ended may have cost money, so completing its record is retried while PostgreSQL is away. The
statement that writes the record reserves what the call may cost: several processes share one budget, and none
overdraws it.
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
from crm.core.detached import KeptTasks
from crm.db.database import Database
from crm.db.sqlstates import is_away
from crm.db.statement import BEGIN, COMMIT, ROLLBACK, Statement, encode

if TYPE_CHECKING:
    from psycopg import pq

# The cost of today's calls: an unknown cost counts as the amount reserved for it.
_SPENT: Final = """
coalesce((SELECT sum(coalesce(cost_usd, reserved_usd, 0)) FROM ai_calls
          WHERE created_at >= date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'), 0)"""
_TODAY: Final = Statement(f"SELECT {_SPENT}")
# The same without the reservations of calls that may still be under way: most of that will be free again.
_SPENT_FOR_GOOD: Final = Statement(
    """
SELECT coalesce(sum(coalesce(cost_usd, reserved_usd, 0)), 0) FROM ai_calls
WHERE created_at >= date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
  AND NOT (outcome = 'underway' AND created_at > now() - make_interval(secs => $1::float))"""
)
log = structlog.get_logger()

# The caller waits for the record until its deadline, and at least so long; then it is completed in the background.
_LEAST_WAIT_SECONDS: Final = 0.5
_BACKGROUND_SECONDS: Final = 60.0
_CLOSING_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 0.25
# Any constant number: transactions that reserve wait for each other by this lock, for about a millisecond.
_IN_TURN: Final = Statement("SELECT pg_advisory_xact_lock(4702111840917463)")
_START: Final = Statement(
    f"""
INSERT INTO ai_calls (id, question_id, attempt, purpose, prompt_version, input_hash, provider, model, lead_id,
                      requested_by, reserved_usd, ai_task_attempt_id)
SELECT $1::uuid, $2::uuid, $3::integer, $4::text, $5::text, $6::text, $7::text, $8::text, $9::integer, $10::uuid,
       $11::numeric, $13::uuid
WHERE $12::numeric IS NULL OR CASE WHEN $11::numeric IS NULL THEN {_SPENT} < $12::numeric
                                   ELSE {_SPENT} + $11::numeric <= $12::numeric END
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
# The id of the AI task's attempt under way, if any: calls then count as its costs.
current_attempt: ContextVar[UUID | None] = ContextVar("current_attempt", default=None)
_MOST_MODEL: Final = 200


@dataclass(frozen=True, slots=True)
class Asker:
    """The question's id, its user and its lead."""

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
    # The provider did no work, so the call costs nothing, and the reservation is released.
    free: bool = False

    @property
    def cost(self) -> Decimal | None:
        """The cost of the call; None if unknown."""
        return Decimal(0) if self.free else self.reply.cost

    @property
    def cost_source(self) -> CostSource:
        """How the cost is known; a free call counts as told by the provider."""
        if self.free:
            return CostSource.PROVIDER
        return CostSource.UNKNOWN if self.cost is None else self.reply.cost_source


class Calls:
    """Writes the records of calls, and keeps the budget."""

    def __init__(self, database: Database, daily_budget: Decimal | None = None) -> None:
        self.daily_budget = daily_budget
        self._database = database
        self._completing = KeptTasks()
        self._closes_at = float("inf")

    async def start(self, call: UUID, question: Question[Any], asker: Asker, attempt: int, provider: Provider) -> bool:
        """Record that a call begins; False if the day's budget does not allow it."""
        most = provider.most(question)
        about_question = (
            call,
            asker.question_id,
            attempt,
            question.purpose,
            question.prompt_version,
            question.input_hash,
        )
        about_asker = (provider.name, provider.model, asker.lead_id, asker.requested_by)
        # A free call needs no budget.
        budget = None if most is not None and not most else self.daily_budget
        step = (
            _START,
            [encode(value) for value in (*about_question, *about_asker, most, budget, current_attempt.get())],
        )
        if budget is None:
            await self._database.write(*step)
            return True
        async with self._database.primary.connection() as connection:
            try:
                # Each statement sees what was committed before it: after the lock, every earlier reservation.
                results = await connection.run([(BEGIN, ()), (_IN_TURN, ()), step, (COMMIT, ())])
            except psycopg.Error:
                if not connection.broken:
                    await connection.execute(ROLLBACK)
                raise
        return bool(results[2].ntuples)

    async def will_be_free(self, most: Decimal | None, seconds: float) -> bool:
        """Whether the budget may allow a call of this cost once the calls under way have ended."""
        spent = _amount(await self._database.read(_SPENT_FOR_GOOD, [encode(seconds)]))
        if self.daily_budget is None:
            return True
        return spent < self.daily_budget if most is None else spent + most <= self.daily_budget

    async def complete(self, call: UUID, end: CallEnd, deadline: float) -> None:
        """Complete a record, waiting until the deadline; then retry for another minute in the background.

        Cancelling the caller does not keep the record from being completed.
        """
        now = asyncio.get_running_loop().time()
        wait = max(deadline - now, _LEAST_WAIT_SECONDS)
        task = self._completing.start(self._complete(call, end, now + wait + _BACKGROUND_SECONDS))
        if end.outcome is not Outcome.CANCELLED:
            await asyncio.wait({task}, timeout=wait)

    async def close(self) -> None:
        """Wait until all records are completed; give up if PostgreSQL stays away for some seconds."""
        self._closes_at = asyncio.get_running_loop().time() + _CLOSING_SECONDS
        while self._completing:
            await asyncio.wait(self._completing)

    async def _complete(self, call: UUID, end: CallEnd, give_up_at: float) -> None:
        while True:
            try:
                return await self._end(call, end)
            except (errors.CrmError, psycopg.Error) as error:
                if not is_away(error) or asyncio.get_running_loop().time() > min(give_up_at, self._closes_at):
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
        """The cost of this day's calls (UTC); an unknown cost counts as the amount reserved for it."""
        return _amount(await self._database.read(_TODAY, ()))


def _log_loss(call: UUID, end: CallEnd, error: Exception) -> None:
    """Log the tokens and the cost that could not be recorded, so that an operator can add them."""
    reply = end.reply
    tokens = {"tokens_in": reply.tokens_in, "tokens_out": reply.tokens_out}
    cost = {"cost_usd": None if end.cost is None else str(end.cost), "cost_source": end.cost_source.value}
    reason = type(error).__name__
    log.error("ai.not_recorded", call=str(call), outcome=end.outcome.value, error=reason, **tokens, **cost)


def new_id() -> UUID:
    """A UUIDv7: sorted by time, so that the index grows at its end. https://www.rfc-editor.org/rfc/rfc9562#section-5.7."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def _amount(result: "pq.abc.PGresult") -> Decimal:
    return Decimal((result.get_value(0, 0) or b"0").decode())


def _text(value: str | None, most: int) -> str | None:
    """The start of a text, without the characters that PostgreSQL refuses."""
    if not value:
        return None
    return value.replace("\0", "").encode("utf-8", "replace").decode()[:most]
