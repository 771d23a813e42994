"""The cases are well formed, and the held-out ones are as they were when they were frozen."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from tests.ai.evals import case as cases

# Adding held-out cases is fine: before they have been run, with a new digest, in a commit of their own that says so.
FROZEN = "898524b4a930f674f37874217a27dfc5ee3e7d1864785bdebb0a3a032c2115c8"


class TestCases:
    def test_are_sixty_or_more_half_of_them_swedish_a_third_held_out(self):
        everything = cases.everything()
        languages = Counter(case.language for case in everything)
        held_out = sum(case.part == "held_out" for case in everything)
        assert len(everything) >= 60
        assert 0.4 <= languages["sv"] / len(everything) <= 0.6
        assert len(everything) / 3 <= held_out <= len(everything) / 2

    def test_have_names_of_their_own(self):
        names = Counter(case.name for case in cases.everything())
        assert [name for name, count in names.items() if count > 1] == []
        emails = Counter(case.lead["email"] for case in cases.everything() if case.lead.get("email"))
        assert [email for email, count in emails.items() if count > 1] == []

    def test_held_out_cases_are_frozen(self):
        assert cases.held_out_digest() == FROZEN

    def test_dates_in_texts_are_written_in_the_language_of_the_case(self):
        now = datetime(2026, 11, 20, 12, tzinfo=UTC)
        notes = {case.name: case.at(now).interactions[-1].notes for case in cases.everything() if case.interactions}
        assert "efter 25 december" in notes["sv-bad-oss-vanta"]
        assert "the demo on 26 November" in notes["en-demo-is-next-week"]
        assert not [name for name, text in notes.items() if text and "{day" in text]


@pytest.mark.parametrize("case", cases.everything(), ids=lambda case: case.name)
def test_expects_something_that_can_be_told_apart(case):
    assert case.story
    assert case.expected.must
    assert case.expected.never
    assert case.created >= max((i.ago for i in case.interactions), default=0)
