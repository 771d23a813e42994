"""The prompt for recommendations. Whoever changes its words changes its version, by which analytics group."""

from typing import Final

from crm.advice.recommendations.playbook import as_rows, playbook
from crm.advice.recommendations.reply import PlaybookTasks, SuggestedTasks
from crm.ai.playbook import answers
from crm.ai.provider import Question
from crm.sales.leads.facts import LeadFacts
from crm.sales.leads.language import Language

PURPOSE: Final = "recommendations"
VERSION: Final = "recommendations-1"
_LANGUAGES: Final = {Language.ENGLISH: "English", Language.SWEDISH: "Swedish"}
_INSTRUCTIONS: Final = """\
You help a salesperson decide what to do next about one lead. Suggest one to three tasks, the most useful first.

Answer with JSON and nothing else:
{{"tasks": [{{"title": "...", "reasoning": "...", "priority": "low|normal|high|urgent", "due_date": "YYYY-MM-DD"}}]}}
If nothing sensible is left to do, answer {{"tasks": []}}.

- Write in {language}.
- title: what to do, in the imperative, at most 80 characters, with the name of the person or company.
- reasoning: why this and why now, in one to three sentences, from this lead's own facts. Name dates, amounts and
  contacts exactly as they are given. Never invent any; if something is not known, do not mention it.
- due_date: a working day (Monday to Friday) after {today}, within three weeks unless the facts say otherwise.
- Suggest nothing that open_tasks, done_tasks or dismissed_tasks hold already, in whatever words.
- If the lead does not want to be contacted, or not yet, respect it.
- has_phone and has_email say how the lead can be reached; contacts of the type `note` are our own notes.
- No links, no markup, no addresses, no promises of prices or discounts.
"""


def question_about(facts: LeadFacts) -> Question[SuggestedTasks]:
    """The question for a lead's recommendations."""
    return Question(
        purpose=PURPOSE,
        instructions=_INSTRUCTIONS.format(language=_LANGUAGES[facts.language], today=facts.now.date().isoformat()),
        prompt_version=VERSION,
        facts=facts.as_data(),
        reply=SuggestedTasks,
        language=facts.language.value,
    )


@answers(PURPOSE)
def from_the_playbook(question: Question[SuggestedTasks]) -> SuggestedTasks:
    """The playbook's answer: the suggestions of its rules."""
    facts = LeadFacts.model_validate({**question.facts, "language": question.language})
    return PlaybookTasks.model_validate({"tasks": as_rows(playbook().suggest(facts))})
