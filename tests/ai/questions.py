"""A question like those of the recommendations, for tests of the way it is asked."""

from typing import Annotated

from pydantic import BaseModel, Field

from crm.ai.provider import Question
from crm.ai.replies import keep_valid

KEY = "sk-test-1234567890abcdef"


class Suggestion(BaseModel):
    """As a recommendation has it: two texts that must be there."""

    title: str = Field(min_length=1, max_length=255)
    reasoning: str = Field(min_length=1)


class Suggestions(BaseModel):
    tasks: Annotated[list[Suggestion], keep_valid(at_most=3)]


def suggestion(number=1):
    return {"title": f"Call {number}", "reasoning": "They asked for it."}


def question(**changes):
    asked = {
        "purpose": "test",
        "instructions": "Suggest tasks.",
        "prompt_version": "test-1",
        "facts": {"lead": {"firstName": "Åsa"}},
        "reply": Suggestions,
    }
    return Question(**{**asked, **changes})
