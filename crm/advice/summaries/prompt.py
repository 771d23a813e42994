"""The prompt for a summary. Whoever changes its words changes its version."""

from typing import Final

from pydantic import BaseModel, Field

from crm.advice.summaries.composer import composer
from crm.ai.playbook import answers
from crm.ai.provider import Question
from crm.sales.leads.facts import LeadFacts
from crm.sales.leads.language import Language

PURPOSE: Final = "summary"
VERSION: Final = "summary-1"
_LANGUAGES: Final = {Language.ENGLISH: "English", Language.SWEDISH: "Swedish"}
_INSTRUCTIONS: Final = """\
You summarise one lead for a salesperson who has ten seconds before a call.

Answer with JSON and nothing else: {{"summary": "..."}}

- Write in {language}, at most 120 words, in three short paragraphs: what happened, where it stands, what is next.
- Use the facts given and nothing else. Never invent names, dates, amounts or agreements; leave out what is not known.
- Write dates as dates, never as "yesterday" or "12 days ago": the summary will be read later.
- What is next: the open task that is due first, or what the last contact calls for.
- No links, no markup, no e-mail addresses, no phone numbers.
"""


class WrittenSummary(BaseModel):
    """A model's reply."""

    summary: str = Field(min_length=1, description="What happened, where it stands, what is next.")


def question_about(facts: LeadFacts) -> Question[WrittenSummary]:
    """The question for a lead's summary."""
    return Question(
        purpose=PURPOSE,
        instructions=_INSTRUCTIONS.format(language=_LANGUAGES[facts.language]),
        prompt_version=VERSION,
        facts=facts.as_data(),
        reply=WrittenSummary,
        language=facts.language.value,
    )


@answers(PURPOSE)
def from_the_playbook(question: Question[WrittenSummary]) -> WrittenSummary:
    """The playbook's answer: a summary composed from the facts."""
    facts = LeadFacts.model_validate({**question.facts, "language": question.language})
    return WrittenSummary(summary=composer().summary_of(facts))
