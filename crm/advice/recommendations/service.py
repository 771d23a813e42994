"""Recommends tasks: claim, ask, record. No transaction is open while a model works."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Select, and_, not_, or_, select

from crm.access.users.service import UserService
from crm.advice.ai_claims.model import AiClaimOutcome, AiClaimPurpose
from crm.advice.ai_claims.service import AiClaimService, claimed, not_answered, stood_in
from crm.advice.recommendations.playbook import playbook
from crm.advice.recommendations.prompt import question_about
from crm.advice.recommendations.reply import Draft, SuggestedTasks, drafts_of, without_duplicates
from crm.ai.gateway import Ai, AiAnswer, AnswerSource
from crm.core import errors
from crm.db.service import Service
from crm.db.unit_of_work import UnitOfWork
from crm.db.workflow import WorkflowService, Write, write_of
from crm.sales.leads.facts import LeadFacts, dismissed_of_late, known_facts
from crm.sales.leads.model import Lead
from crm.sales.tasks.model import Task, TaskGenerator, TaskSource

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of suggestions."""

    claim_id: UUID
    generated_by: TaskGenerator
    model: str
    prompt_version: str


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Suggested tasks, what could not be done as asked, and what answered; None if nothing did."""

    tasks: Sequence[Task]
    warnings: Sequence[errors.Warned]
    answered_by: AnswerSource | None


class RecommendationService(WorkflowService):
    """Recommends what to do next about a lead."""

    # What answered this request; None if nothing did, or another request's answer is shared.
    _answered_by: AnswerSource | None = None

    async def generate(self, lead_id: int) -> Write[list[Task]]:
        """Suggest up to three tasks. Two calls at once get the same tasks; if the model fails, none and a warning."""
        claim = await claimed(self.workflow, lead_id, AiClaimPurpose.RECOMMENDATIONS)
        if claim.outcome is not None:
            return self._joined(claim.claim_id, claim.outcome)
        try:
            facts: LeadFacts = await self.workflow.write(FactReader.of_lead, lead_id)
            answer = await self._ask(facts, lead_id)
            drafts = drafts_of(answer.value, facts.now, playbook().holidays)
            self._answered_by = answer.source
        except errors.AiUnavailable as error:
            log.warning("recommendations.unavailable", lead_id=lead_id, reason=error.message)
            self.workflow.warn(error)
            return write_of(SuggestionService.give_up, claim.claim_id)
        return write_of(SuggestionService.record, lead_id, _origin(claim.claim_id, answer), drafts)

    async def recommend(self, lead_id: int) -> Write[Recommendation]:
        """The same as `generate`, with what went wrong, and with what answered, beside the tasks."""
        save = await self.generate(lead_id)

        async def saved(unit_of_work: UnitOfWork) -> Recommendation:
            tasks = await save(unit_of_work)
            source = self._answered_by or (AnswerSource(str(tasks[0].generated_by)) if tasks else None)
            return Recommendation(tasks, list(map(errors.Warned.of, self.workflow.warnings)), source)

        return saved

    async def _ask(self, facts: LeadFacts, lead_id: int) -> AiAnswer[SuggestedTasks]:
        ai: Ai = self.workflow.ai
        answer = await ai.ask(
            question_about(facts),
            lead_id=lead_id,
            requested_by=self.viewer.id,
            deadline=self.workflow.deadline,
        )
        if answer.source is AnswerSource.PLAYBOOK and ai.provider.name != "playbook":
            self.workflow.warn(stood_in())
        return answer

    def _joined(self, claim_id: UUID, outcome: AiClaimOutcome) -> Write[list[Task]]:
        """The tasks of the earlier request."""
        if outcome is AiClaimOutcome.FAILED:
            self.workflow.warn(not_answered())
        return write_of(SuggestionService.of_claim, claim_id)


class FactReader(Service):
    """Reads a lead's facts."""

    async def of_lead(self, lead_id: int) -> LeadFacts:
        """The facts about a living lead."""
        return await known_facts(self.unit_of_work, lead_id)


class SuggestionService(Service):
    """Suggested tasks."""

    async def record(self, lead_id: int, origin: Origin, drafts: Sequence[Draft]) -> list[Task]:
        """Save the drafts that are new to the lead, which is locked meanwhile; an error if it was deleted."""
        await UserService(self.unit_of_work).require_writer()
        lead = await self.unit_of_work.get(Lead, lead_id)
        if not await AiClaimService(self.unit_of_work).end(origin.claim_id, AiClaimOutcome.SAVED):
            return await self.of_claim(origin.claim_id)
        titles = [row["title"] for row in await self.unit_of_work.rows(_titles_taken(lead_id))]
        names = [name for name in (lead.first_name, lead.last_name, lead.company) if name]
        tasks = [self._add(lead_id, origin, draft) for draft in without_duplicates(drafts, titles, names)]
        await self.unit_of_work.flush()
        return tasks

    async def give_up(self, claim_id: UUID) -> list[Task]:
        """End the claim after the model failed; suggests nothing."""
        await AiClaimService(self.unit_of_work).end(claim_id, AiClaimOutcome.FAILED)
        return []

    async def of_claim(self, claim_id: UUID) -> list[Task]:
        """The tasks that were suggested together."""
        return await self.unit_of_work.all(select(Task).where(Task.generation_id == claim_id).order_by(Task.id), Task)

    def _add(self, lead_id: int, origin: Origin, draft: Draft) -> Task:
        return self.unit_of_work.add(
            Task(
                lead_id=lead_id,
                title=draft.title,
                description=draft.description,
                due_date=draft.due,
                priority=draft.priority,
                source=TaskSource.AI_SUGGESTED,
                ai_reasoning=draft.reasoning,
                generated_by=origin.generated_by,
                model=origin.model,
                rule=draft.rule,
                prompt_version=origin.prompt_version,
                generation_id=origin.claim_id,
            )
        )


def _origin(claim_id: UUID, answer: AiAnswer[Any]) -> Origin:
    if answer.source is AnswerSource.PLAYBOOK:
        return Origin(claim_id, TaskGenerator.PLAYBOOK, answer.model, playbook().version)
    return Origin(claim_id, TaskGenerator.LLM, answer.model, answer.prompt_version)


def _titles_taken(lead_id: int) -> Select[Any]:
    """The titles of a lead's open tasks and of those dismissed in the last 30 days."""
    is_open = and_(not_(Task.completed), Task.source != TaskSource.DISMISSED)
    return select(Task.title).where(Task.lead_id == lead_id, or_(is_open, dismissed_of_late()))
