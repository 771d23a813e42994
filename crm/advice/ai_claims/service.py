"""Generations: claimed, waited for, ended."""

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import select

from crm.advice.ai_claims.model import AiClaim, AiClaimOutcome, AiClaimPurpose
from crm.ai.calls import new_id
from crm.core import errors
from crm.db.service import Service
from crm.db.workflow import Workflow, write_of
from crm.sales.leads.model import Lead

# What saving takes after the model has answered, generously.
_SAVING_SECONDS: Final = 5
_FIRST_LOOK_SECONDS: Final = 0.05
_LAST_LOOK_SECONDS: Final = 0.5
_ASK_AGAIN_SECONDS: Final = 1
# Set while an AI task runs: of its attempts, one saves something.
current_ai_task: ContextVar[UUID | None] = ContextVar("current_ai_task", default=None)


@dataclass(frozen=True, slots=True)
class Claim:
    """A generation of ours to run (`outcome` is None), or one of somebody else's that has just ended."""

    generation_id: UUID
    outcome: AiClaimOutcome | None = None


class AiClaimService(Service):
    """At most one generation of a purpose is under way for a lead; whoever comes second waits for the first."""

    async def claim(self, lead_id: int, purpose: AiClaimPurpose, seconds: float) -> tuple[UUID, bool]:
        """The generation under way for a living lead, and whether it is ours; the lead's row lock makes it one."""
        await self.unit_of_work.get(Lead, lead_id)
        task_id = current_ai_task.get()
        saved = await self._saved(task_id, lead_id, purpose) if task_id is not None else None
        if saved is not None:
            return saved, False
        underway = select(AiClaim).where(
            AiClaim.lead_id == lead_id, AiClaim.purpose == purpose, AiClaim.finished_at.is_(None)
        )
        running = await self.unit_of_work.first(underway, AiClaim)
        # One of an earlier attempt of the same task is nobody's any more: its worker is dead, or has lost the lease.
        left_over = running is not None and running.ai_task_id is not None and running.ai_task_id == task_id
        if running is not None and running.expires_at > self.unit_of_work.now() and not left_over:
            return running.id, False
        if running is not None:
            self._end(running, AiClaimOutcome.ABANDONED)
            await self.unit_of_work.flush()
        expires_at = self.unit_of_work.now() + timedelta(seconds=seconds + _SAVING_SECONDS)
        mine = self.unit_of_work.add(
            AiClaim(id=new_id(), lead_id=lead_id, purpose=purpose, expires_at=expires_at, ai_task_id=task_id)
        )
        await self.unit_of_work.flush()
        return mine.id, True

    async def _saved(self, task_id: UUID, lead_id: int, purpose: AiClaimPurpose) -> UUID | None:
        """What an earlier attempt of the same AI task saved, before its worker died."""
        found = await self.unit_of_work.rows(
            select(AiClaim.id).where(
                AiClaim.ai_task_id == task_id,
                AiClaim.lead_id == lead_id,
                AiClaim.purpose == purpose,
                AiClaim.outcome == AiClaimOutcome.SAVED,
            )
        )
        return found[0]["id"] if found else None

    async def ended(self, generation_id: UUID) -> AiClaimOutcome | None:
        """How it ended; None while it is under way."""
        found = await self.unit_of_work.rows(select(AiClaim).where(AiClaim.id == generation_id))
        if not found:
            return AiClaimOutcome.ABANDONED  # its lead is gone for good
        if found[0]["outcome"] is None and found[0]["expires_at"] <= self.unit_of_work.now():
            return AiClaimOutcome.ABANDONED
        return AiClaimOutcome(found[0]["outcome"]) if found[0]["outcome"] else None

    async def end(self, generation_id: UUID, outcome: AiClaimOutcome) -> bool:
        """End a generation that is under way. False if it has ended so: by a commit whose answer got lost."""
        running = await self.unit_of_work.first(
            select(AiClaim).where(AiClaim.id == generation_id).with_for_update(), AiClaim
        )
        if running is not None and running.outcome is outcome:
            return False
        if running is None or running.finished_at is not None:
            message = "It took too long, and somebody else has begun anew."
            raise errors.Conflict(message)
        self._end(running, outcome)
        return True

    def _end(self, generation: AiClaim, outcome: AiClaimOutcome) -> None:
        generation.finished_at, generation.outcome = self.unit_of_work.now(), outcome


def not_answered() -> errors.AiUnavailable:
    """For whoever waited for another's generation that failed: by asking themselves they get an answer, or hear why."""
    message = "The AI could not answer another request about this lead, which this one waited for; try again."
    return errors.AiUnavailable(message, reason="JOINED", retryAfterSeconds=_ASK_AGAIN_SECONDS)


async def claimed(workflow: Workflow, lead_id: int, purpose: AiClaimPurpose) -> Claim:
    """A generation to run; or, when somebody else is at it, theirs once it has ended: one answer for both."""
    while True:
        seconds = workflow.seconds_left()
        generation_id, is_mine = await workflow.write(AiClaimService.claim, lead_id, purpose, seconds)
        if is_mine:
            workflow.on_abort(write_of(AiClaimService.end, generation_id, AiClaimOutcome.ABANDONED))
            return Claim(generation_id)
        outcome = await _waited_for(workflow, generation_id)
        if outcome is not AiClaimOutcome.ABANDONED:
            return Claim(generation_id, outcome)


async def _waited_for(workflow: Workflow, generation_id: UUID) -> AiClaimOutcome:
    pause = _FIRST_LOOK_SECONDS
    while True:
        outcome: AiClaimOutcome | None = await workflow.write(AiClaimService.ended, generation_id)
        if outcome is not None:
            return outcome
        if workflow.seconds_left() <= 0:
            message = "Another request for this lead is still being answered; try again shortly."
            raise errors.Conflict(message)
        await asyncio.sleep(min(pause, workflow.seconds_left()))
        pause = min(pause * 1.5, _LAST_LOOK_SECONDS)
