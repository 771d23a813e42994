"""AI claims: claim a lead, wait for another's claim, end it."""

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
from crm.core.language import Phrase
from crm.db.service import Service
from crm.db.workflow import Workflow, write_of
from crm.sales.leads.model import Lead

# More time than saving takes after the model has answered.
_SAVING_SECONDS: Final = 5
_FIRST_LOOK_SECONDS: Final = 0.05
_LAST_LOOK_SECONDS: Final = 0.5
_ASK_AGAIN_SECONDS: Final = 1
_BEGUN_ANEW: Final = Phrase(
    "It took too long, and somebody else has begun anew.", "Det tog för lång tid, och någon annan har börjat om."
)
_JOINED: Final = Phrase(
    "The AI could not answer another request about this lead, which this one waited for; try again.",
    "AI:n kunde inte svara på en annan fråga om denna lead, som den här väntade på; försök igen.",
)
_STOOD_IN: Final = Phrase(
    "The AI provider cannot answer; the playbook did instead.",
    "AI-tjänsten kan inte svara; spelboken gjorde det i stället.",
)
_UNDER_WAY: Final = Phrase(
    "Another request for this lead is still being answered; try again shortly.",
    "En annan fråga om denna lead besvaras fortfarande; försök igen om en stund.",
)
# The id of the AI task that runs, if any: of all its attempts, one saves something.
current_ai_task: ContextVar[UUID | None] = ContextVar("current_ai_task", default=None)


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of our own (`outcome` is None), or another request's that has just ended."""

    claim_id: UUID
    outcome: AiClaimOutcome | None = None


class AiClaimService(Service):
    """AI claims: for each lead and purpose one is under way at most; a second request waits for the first."""

    async def claim(self, lead_id: int, purpose: AiClaimPurpose, seconds: float) -> tuple[UUID, bool]:
        """Claim a living lead, whose row lock keeps claims single; returns its claim and whether that is new."""
        await self.unit_of_work.get(Lead, lead_id)
        task_id = current_ai_task.get()
        saved = await self._saved(task_id, lead_id, purpose) if task_id is not None else None
        if saved is not None:
            return saved, False
        underway = select(AiClaim).where(
            AiClaim.lead_id == lead_id, AiClaim.purpose == purpose, AiClaim.finished_at.is_(None)
        )
        running = await self.unit_of_work.first(underway, AiClaim)
        # A claim of an earlier attempt of the same task is void: its worker is dead, or has lost the lease.
        is_void = running is not None and running.ai_task_id is not None and running.ai_task_id == task_id
        if running is not None and running.expires_at > self.unit_of_work.now() and not is_void:
            return running.id, False
        if running is not None:
            self._end(running, AiClaimOutcome.ABANDONED)
            await self.unit_of_work.flush()
        expires_at = self.unit_of_work.now() + timedelta(seconds=seconds + _SAVING_SECONDS)
        claim = self.unit_of_work.add(
            AiClaim(id=new_id(), lead_id=lead_id, purpose=purpose, expires_at=expires_at, ai_task_id=task_id)
        )
        await self.unit_of_work.flush()
        return claim.id, True

    async def _saved(self, task_id: UUID, lead_id: int, purpose: AiClaimPurpose) -> UUID | None:
        """The claim with which an earlier attempt of the same AI task saved something, before its worker died."""
        rows = await self.unit_of_work.rows(
            select(AiClaim.id).where(
                AiClaim.ai_task_id == task_id,
                AiClaim.lead_id == lead_id,
                AiClaim.purpose == purpose,
                AiClaim.outcome == AiClaimOutcome.SAVED,
            )
        )
        return rows[0]["id"] if rows else None

    async def ended(self, claim_id: UUID) -> AiClaimOutcome | None:
        """How a claim ended; None while it is under way."""
        rows = await self.unit_of_work.rows(select(AiClaim).where(AiClaim.id == claim_id))
        if not rows:
            return AiClaimOutcome.ABANDONED  # its lead was deleted for good
        if rows[0]["outcome"] is None and rows[0]["expires_at"] <= self.unit_of_work.now():
            return AiClaimOutcome.ABANDONED
        return AiClaimOutcome(rows[0]["outcome"]) if rows[0]["outcome"] else None

    async def end(self, claim_id: UUID, outcome: AiClaimOutcome) -> bool:
        """End a claim that is under way. False if it has ended so already, by a commit whose answer got lost."""
        running = await self.unit_of_work.first(
            select(AiClaim).where(AiClaim.id == claim_id).with_for_update(), AiClaim
        )
        if running is not None and running.outcome is outcome:
            return False
        if running is None or running.finished_at is not None:
            raise errors.Conflict(_BEGUN_ANEW, conflict=errors.ConflictReason.OVERTAKEN)
        self._end(running, outcome)
        return True

    def _end(self, claim: AiClaim, outcome: AiClaimOutcome) -> None:
        claim.finished_at, claim.outcome = self.unit_of_work.now(), outcome


def not_answered() -> errors.AiUnavailable:
    """The error for a request that waited for another's failed claim; asking again gives an answer, or the reason."""
    return errors.AiUnavailable(_JOINED, reason="JOINED", retryAfterSeconds=_ASK_AGAIN_SECONDS)


def stood_in() -> errors.AiUnavailable:
    """The warning that the playbook answered in place of the provider."""
    return errors.AiUnavailable(_STOOD_IN, answeredBy="PLAYBOOK")


async def claimed(workflow: Workflow, lead_id: int, purpose: AiClaimPurpose) -> Claim:
    """A new claim; or, if another request has one, that claim once it has ended: both get one answer."""
    while True:
        seconds = workflow.seconds_left()
        claim_id, is_new = await workflow.write(AiClaimService.claim, lead_id, purpose, seconds)
        if is_new:
            workflow.on_abort(write_of(AiClaimService.end, claim_id, AiClaimOutcome.ABANDONED))
            return Claim(claim_id)
        outcome = await _waited_for(workflow, claim_id)
        if outcome is not AiClaimOutcome.ABANDONED:
            return Claim(claim_id, outcome)


async def _waited_for(workflow: Workflow, claim_id: UUID) -> AiClaimOutcome:
    pause = _FIRST_LOOK_SECONDS
    while True:
        outcome: AiClaimOutcome | None = await workflow.write(AiClaimService.ended, claim_id)
        if outcome is not None:
            return outcome
        if workflow.seconds_left() <= 0:
            raise errors.Conflict(_UNDER_WAY, conflict=errors.ConflictReason.OVERTAKEN)
        await asyncio.sleep(min(pause, workflow.seconds_left()))
        pause = min(pause * 1.5, _LAST_LOOK_SECONDS)
