"""Writes summaries: claim, ask, record. No transaction is open while a model works."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import select

from crm.access.users.service import UserService
from crm.advice.ai_claims.model import AiClaimOutcome, AiClaimPurpose
from crm.advice.ai_claims.service import AiClaimService, claimed, not_answered, stood_in
from crm.advice.recommendations.plain import plain_lines
from crm.advice.recommendations.playbook import playbook
from crm.advice.summaries.composer import composer
from crm.advice.summaries.prompt import VERSION, WrittenSummary, question_about
from crm.ai.gateway import Ai, AiAnswer, AnswerSource
from crm.core import errors
from crm.core.language import Phrase
from crm.db.service import Service
from crm.db.unit_of_work import UnitOfWork
from crm.db.workflow import WorkflowService, Write, write_of
from crm.sales.history.service import ChangeService
from crm.sales.leads.facts import LeadFacts, known_facts
from crm.sales.leads.model import Lead, SummarySource
from crm.sales.scoring.service import ScoreService

log = structlog.get_logger()
_LONGEST: Final = 4000
_EMPTY: Final = Phrase("The model's summary was empty.", "Modellens sammanfattning var tom.")


@dataclass(frozen=True, slots=True)
class Basis:
    """The facts for a summary, and whether the lead's present summary was made from the same."""

    facts: LeadFacts
    fingerprint: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class SummaryText:
    """A summary that may be saved."""

    summary: str
    source: SummarySource
    model: str
    prompt_version: str
    # A hash of the facts; None: the playbook stood in, so write it anew when the provider answers again.
    fingerprint: str | None
    facts_at: datetime


@dataclass(frozen=True, slots=True)
class LeadWithSummary:
    """A lead, what could not be done as asked, and what wrote its summary; None if that stayed as it was."""

    lead: Lead
    warnings: Sequence[errors.Warned]
    answered_by: AnswerSource | None


class SummaryService(WorkflowService):
    """Writes summaries of leads."""

    # What answered this request; None if nothing had to, or could.
    _answered_by: AnswerSource | None = None

    async def regenerate(self, lead_id: int, force: bool) -> Write[Lead]:  # noqa: FBT001
        """Write the summary anew if a fact has changed; if the model fails it stays as it is, with a warning."""
        ai: Ai = self.workflow.ai
        basis = await self._basis(lead_id)
        if basis.is_current and not force:
            return write_of(SummaryWriter.still_right, lead_id, basis)
        claim = await claimed(self.workflow, lead_id, AiClaimPurpose.SUMMARY)
        if claim.outcome is not None:
            return self._joined(lead_id, claim.outcome)
        # The claim before this one may have written it since.
        basis = await self._basis(lead_id)
        if basis.is_current and not force:
            return write_of(SummaryWriter.still_right, lead_id, basis, claim.claim_id)
        try:
            answer = await self._ask(basis.facts, lead_id)
        except errors.AiUnavailable as error:
            log.warning("summary.unavailable", lead_id=lead_id, reason=error.message)
            self.workflow.warn(error)
            return write_of(SummaryWriter.give_up, lead_id, claim.claim_id)
        self._answered_by = answer.source
        return write_of(SummaryWriter.record, lead_id, claim.claim_id, _summary_text(answer, basis, ai))

    async def write_summary(self, lead_id: int, force: bool) -> Write[LeadWithSummary]:  # noqa: FBT001
        """The same as `regenerate`, with what went wrong, and with what answered, beside the lead."""
        save = await self.regenerate(lead_id, force)

        async def saved(unit_of_work: UnitOfWork) -> LeadWithSummary:
            lead = await save(unit_of_work)
            return LeadWithSummary(lead, list(map(errors.Warned.of, self.workflow.warnings)), self._answered_by)

        return saved

    async def _basis(self, lead_id: int) -> Basis:
        ai: Ai = self.workflow.ai
        basis: Basis = await self.workflow.write(SummaryWriter.basis, lead_id, ai.provider.name, ai.provider.model)
        return basis

    async def _ask(self, facts: LeadFacts, lead_id: int) -> AiAnswer[WrittenSummary]:
        ai: Ai = self.workflow.ai
        answer = await ai.ask(
            question_about(facts),
            lead_id=lead_id,
            requested_by=self.viewer.id,
            deadline=self.workflow.deadline,
        )
        if not plain_lines(answer.value.summary, _LONGEST):
            raise errors.AiUnavailable(_EMPTY)
        if _stands_in(answer, ai):
            self.workflow.warn(stood_in())
        return answer

    def _joined(self, lead_id: int, outcome: AiClaimOutcome) -> Write[Lead]:
        """The lead as the earlier request left it."""
        if outcome is AiClaimOutcome.FAILED:
            self.workflow.warn(not_answered())
        return write_of(SummaryWriter.unchanged, lead_id)


class SummaryWriter(Service):
    """Saves summaries."""

    async def basis(self, lead_id: int, provider: str, model: str) -> Basis:
        """The basis of a living lead's summary."""
        facts = await known_facts(self.unit_of_work, lead_id)
        lead = await self.unit_of_work.get(Lead, lead_id)
        made_of = (facts.fingerprint(), provider, model, VERSION, composer().version, playbook().version)
        fingerprint = hashlib.sha256("\n".join(made_of).encode()).hexdigest()
        return Basis(facts, fingerprint, lead.summary is not None and lead.summary_hash == fingerprint)

    async def record(self, lead_id: int, claim_id: UUID, text: SummaryText) -> Lead:
        """Save a summary; an error if the lead was deleted."""
        await UserService(self.unit_of_work).require_writer()
        lead = await self.unit_of_work.get(Lead, lead_id)
        if not await AiClaimService(self.unit_of_work).end(claim_id, AiClaimOutcome.SAVED):
            return lead
        await ScoreService(self.unit_of_work).score(lead)
        lead.summary, lead.summary_generated_at = text.summary, self.unit_of_work.now()
        lead.summary_source, lead.summary_model = text.source, text.model
        lead.summary_prompt_version, lead.summary_hash = text.prompt_version, text.fingerprint
        lead.summary_facts_at = text.facts_at
        return lead

    async def still_right(self, lead_id: int, basis: Basis, claim_id: UUID | None = None) -> Lead:
        """Keep a summary whose facts have not changed: mark it as not stale, and refresh the score."""
        lead = await self.unit_of_work.get(Lead, lead_id)
        if claim_id is not None:
            await AiClaimService(self.unit_of_work).end(claim_id, AiClaimOutcome.SAVED)
        stale = select(ChangeService.happened_since(Lead.id, Lead.summary_facts_at)).where(Lead.id == lead_id)
        if lead.summary_hash == basis.fingerprint and any(
            row for row in await self.unit_of_work.rows(stale) if any(row.values())
        ):
            lead.summary_facts_at = basis.facts.now
        await ScoreService(self.unit_of_work).refresh(lead_id)
        return lead

    async def give_up(self, lead_id: int, claim_id: UUID) -> Lead:
        """Keep the summary as it is after the model failed, and refresh the score, which needs no model."""
        lead = await self.unit_of_work.get(Lead, lead_id)
        await AiClaimService(self.unit_of_work).end(claim_id, AiClaimOutcome.FAILED)
        await ScoreService(self.unit_of_work).refresh(lead_id)
        return lead

    async def unchanged(self, lead_id: int) -> Lead:
        """The lead as it is now."""
        return await self.unit_of_work.get(Lead, lead_id)


def _stands_in(answer: AiAnswer[WrittenSummary], ai: Ai) -> bool:
    """Whether the playbook answered in place of the provider."""
    return answer.source is AnswerSource.PLAYBOOK and ai.provider.name != "playbook"


def _summary_text(answer: AiAnswer[WrittenSummary], basis: Basis, ai: Ai) -> SummaryText:
    by_playbook = answer.source is AnswerSource.PLAYBOOK
    return SummaryText(
        plain_lines(answer.value.summary, _LONGEST),
        SummarySource.PLAYBOOK if by_playbook else SummarySource.LLM,
        answer.model,
        composer().version if by_playbook else answer.prompt_version,
        None if _stands_in(answer, ai) else basis.fingerprint,
        basis.facts.now,
    )
