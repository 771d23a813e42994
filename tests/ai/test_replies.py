"""The ladder by itself: whatever text comes, it ends in what was asked for or in Unusable."""

import json
import time
from contextlib import suppress
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AliasChoices, BaseModel, Field

from crm.ai.provider import Outcome, Reply
from crm.ai.replies import Unusable, keep_valid, read
from tests.ai.questions import Suggestions, suggestion


class Summary(BaseModel):
    text: str = Field(min_length=1)


class Report(BaseModel):
    title: str
    good: list[str]
    bad: list[str]


class Aliased(BaseModel):
    found: Annotated[list[str], keep_valid(at_most=2), Field(alias="foundOnes")]


class Step(BaseModel):
    title: str = Field(validation_alias=AliasChoices("title", "name"))


class Steps(BaseModel):
    steps: list[Step] = Field(validation_alias=AliasChoices("steps", "tasks"))


def said(content):
    return Reply(text=content if isinstance(content, str) else json.dumps(content), finish_reason="stop")


def titles(content):
    return [task.title for task in read(said(content), Suggestions).value.tasks]


def problem(content, kind=Suggestions):
    with pytest.raises(Unusable) as raised:
        read(said(content), kind)
    assert raised.value.outcome is Outcome.INVALID
    return raised.value.problem


class TestProse:
    def test_the_largest_json_counts(self):
        assert titles(f"An empty list [] is not it, {{}} neither: {json.dumps([suggestion(4)])}, nor [1, 2].") == [
            "Call 4"
        ]

    def test_brackets_in_texts_are_no_brackets(self):
        odd = {"title": "Ask } about ] the [ {brackets", "reasoning": 'They wrote "}]" and ```'}
        assert titles(f"Well: {json.dumps({'tasks': [odd]})} - {{ that") == [odd["title"]]

    def test_several_fences(self):
        assert titles(f"```python\nprint(1)\n```\n```json\n{json.dumps([suggestion(2)])}\n```") == ["Call 2"]

    def test_byte_order_mark_and_space(self):
        assert titles(f"\ufeff \n{json.dumps([suggestion()])}\n\n") == ["Call 1"]

    def test_a_text_without_end_is_no_reply(self):
        """What is read of it is bounded; a reply behind long reasoning is whole."""
        reply = json.dumps({"text": "All is well. " * 2000})
        assert read(said(f"<think>{'Hm. ' * 50_000}</think>{reply}"), Summary).value.text.startswith("All is well.")
        with pytest.raises(Unusable):
            read(said(json.dumps({"text": "All is well. " * 4000})), Summary)

    def test_no_json(self):
        assert problem("I think you should call.") == "it holds no JSON"


class TestShapes:
    def test_a_reply_that_is_no_list_is_left_as_it_is(self):
        assert read(said({"text": "All is well."}), Summary).value.text == "All is well."
        assert read(said([{"text": "All is well."}]), Summary).value.text == "All is well."
        assert problem(["All is well."], Summary).startswith("the whole: Input should be")

    def test_two_lists_are_not_confused(self):
        assert read(said({"title": "T", "good": ["a"], "bad": []}), Report).value.good == ["a"]
        assert problem(["a", "b"], Report).startswith("the whole: Input should be")

    def test_aliases_count(self):
        assert read(said(["a", "b", "c"]), Aliased).value.found == ["a", "b"]
        for one in ({"name": "x"}, [{"title": "x"}], {"tasks": {"name": "x"}}, {"steps": [{"name": "x"}]}):
            assert read(said(one), Steps).value.steps[0].title == "x"

    @pytest.mark.parametrize("other", [{"tasks": "call them"}, {"tasks": 3}, {"a": [1], "b": [2]}, {"x": 1}, "[1]"])
    def test_what_is_nothing_like_it(self, other):
        assert problem(other)


class TestKeepingWhatIsValid:
    def test_says_what_was_left_out(self):
        reading = read(said({"tasks": [suggestion(n) for n in range(5)] + [{}, 7]}), Suggestions)
        assert len(reading.value.tasks) == 3
        assert list(reading.notes) == ["2 of 7 were not valid and were left out", "5 were given, the first 3 are kept"]

    @pytest.mark.parametrize("item", [1, {}], ids=str)
    def test_a_list_without_end_is_refused_in_no_time(self, item):
        began = time.perf_counter()
        assert problem([item] * 120_000)
        assert time.perf_counter() - began < 0.5

    def test_a_long_reply_is_not_quoted_whole(self):
        with pytest.raises(Unusable) as raised:
            read(said("No. " * 50_000), Suggestions)
        assert len(raised.value.text) == 20_000

    def test_nothing_valid_is_no_empty_list(self):
        assert "tasks.0.title" in problem({"tasks": [{}, {}]})

    def test_the_schema_is_that_of_the_list(self):
        assert Suggestions.model_json_schema()["properties"]["tasks"]["type"] == "array"

    def test_a_discriminator_is_checked_item_by_item(self):
        class Choice(BaseModel):
            kind: Literal["a", "b"]

        class Choices(BaseModel):
            picks: Annotated[list[Choice], keep_valid(at_most=3)]

        assert [one.kind for one in read(said({"picks": [{"kind": "a"}, {"kind": "z"}]}), Choices).value.picks] == ["a"]


class TestTextThatNoDatabaseTakes:
    @pytest.mark.parametrize(
        ("written", "kept"),
        [
            ("Call\\u0000 Åsa", "Call Åsa"),
            ("Call\\ud83d Åsa", "Call Åsa"),
            ("Call\\u001b[31m Åsa", "Call[31m Åsa"),
            ("Call \\ud83d\\ude00", "Call 😀"),
            ("One\\nTwo\\tThree", "One\nTwo\tThree"),
        ],
    )
    def test_is_cleaned(self, written, kept):
        assert titles(f'[{{"title": "{written}", "reasoning": "r"}}]') == [kept]


class TestHostileText:
    @pytest.mark.parametrize(
        "text",
        [
            "[" * 100_000,
            '{"a":' * 100_000,
            "[{" * 50_000,
            '{"tasks": [' + "9" * 300_000,
            "```" * 100_000,
            "[}" * 100_000,
        ],
        ids=["lists", "objects", "both", "digits", "fences", "mismatched"],
    )
    def test_is_read_in_no_time(self, text):
        began = time.monotonic()
        problem(text)
        assert time.monotonic() - began < 2

    @given(st.text())
    def test_is_unusable_or_what_was_asked_for(self, text):
        with suppress(Unusable):
            assert isinstance(read(said(text), Suggestions).value, Suggestions)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner) | st.dictionaries(st.sampled_from(["tasks", "title", "reasoning", "x"]), inner)
            ),
        )
    )
    def test_of_any_shape(self, payload):
        try:
            found = read(said(payload), Suggestions).value
        except Unusable:
            return
        assert all(task.title and task.reasoning for task in found.tasks)
        assert len(found.tasks) <= 3

    @given(
        st.lists(st.booleans(), max_size=8),
        st.sampled_from(["{}", "Here: {} .", "```json\n{}\n```", "<think>[]</think>{}"]),
    )
    def test_keeps_exactly_the_valid_ones(self, valid, around):
        items = [suggestion(n) if ok else {"title": ""} for n, ok in enumerate(valid)]
        wanted = [f"Call {n}" for n, ok in enumerate(valid) if ok][:3]
        text = around.replace("{}", json.dumps({"tasks": items}))
        if valid and not wanted:
            assert problem(text)
        else:
            assert titles(text) == wanted
