"""Generations: claimed, waited for, ended."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import select

from crm.ai.calls import new_id
from crm.core import errors
from crm.core.conversation import Conversation
from crm.core.service import Service
from crm.generations.model import Generation, GenerationOutcome, GenerationPurpose
from crm.leads.model import Lead

# What saving takes after the model has answered, generously.
_SAVING_SECONDS: Final = 5
_FIRST_LOOK_SECONDS: Final = 0.05
_LAST_LOOK_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Claim:
    """A generation of ours to run (`outcome` is None), or one of somebody else's that has just ended."""

    generation_id: UUID
    outcome: GenerationOutcome | None = None


class GenerationService(Service):
    """At most one generation of a purpose is under way for a lead; whoever comes second waits for the first."""

    async def claim(self, lead_id: int, purpose: GenerationPurpose, seconds: float) -> tuple[UUID, bool]:
        """The generation under way for a living lead, and whether it is ours; the lead's row lock makes it one."""
        await self.unit.get(Lead, lead_id)
        underway = select(Generation).where(
            Generation.lead_id == lead_id, Generation.purpose == purpose, Generation.finished_at.is_(None)
        )
        running = await self.unit.first(underway, Generation)
        if running is not None and running.expires_at > self.unit.now():
            return running.id, False
        if running is not None:
            self._end(running, GenerationOutcome.ABANDONED)
            await self.unit.flush()
        expires_at = self.unit.now() + timedelta(seconds=seconds + _SAVING_SECONDS)
        mine = self.unit.add(Generation(id=new_id(), lead_id=lead_id, purpose=purpose, expires_at=expires_at))
        await self.unit.flush()
        return mine.id, True

    async def ended(self, generation_id: UUID) -> GenerationOutcome | None:
        """How it ended; None while it is under way."""
        found = await self.unit.rows(select(Generation).where(Generation.id == generation_id))
        if not found:
            return GenerationOutcome.ABANDONED  # its lead is gone for good
        if found[0]["outcome"] is None and found[0]["expires_at"] <= self.unit.now():
            return GenerationOutcome.ABANDONED
        return GenerationOutcome(found[0]["outcome"]) if found[0]["outcome"] else None

    async def end(self, generation_id: UUID, outcome: GenerationOutcome) -> None:
        """End a generation, if it is still under way."""
        running = await self.unit.first(
            select(Generation).where(Generation.id == generation_id).with_for_update(), Generation
        )
        if running is None or running.finished_at is not None:
            message = "It took too long, and somebody else has begun anew."
            raise errors.Conflict(message)
        self._end(running, outcome)

    def _end(self, generation: Generation, outcome: GenerationOutcome) -> None:
        generation.finished_at, generation.outcome = self.unit.now(), outcome


async def claimed(conversation: Conversation, lead_id: int, purpose: GenerationPurpose) -> Claim:
    """A generation to run; or, when somebody else is at it, theirs once it has ended: one answer for both."""
    while True:
        seconds = conversation.seconds_left()
        generation_id, is_mine = await conversation.write(GenerationService.claim, lead_id, purpose, seconds)
        if is_mine:
            conversation.let_go(GenerationService.end, generation_id, GenerationOutcome.ABANDONED)
            return Claim(generation_id)
        outcome = await _waited_for(conversation, generation_id)
        if outcome is not GenerationOutcome.ABANDONED:
            return Claim(generation_id, outcome)


async def _waited_for(conversation: Conversation, generation_id: UUID) -> GenerationOutcome:
    pause = _FIRST_LOOK_SECONDS
    while True:
        outcome: GenerationOutcome | None = await conversation.write(GenerationService.ended, generation_id)
        if outcome is not None:
            return outcome
        if conversation.seconds_left() <= 0:
            message = "Another request for this lead is still being answered; try again shortly."
            raise errors.Conflict(message)
        await asyncio.sleep(min(pause, conversation.seconds_left()))
        pause = min(pause * 1.5, _LAST_LOOK_SECONDS)
