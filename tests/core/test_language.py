"""The language of messages: what `Accept-Language` prefers."""

import pytest

from crm.core.language import Language, Phrase, preferred


class TestPreferred:
    @pytest.mark.parametrize(
        ("accepted", "language"),
        [
            ("", Language.ENGLISH),
            ("sv", Language.SWEDISH),
            ("sv-SE,sv;q=0.9,en-US;q=0.8,en;q=0.7", Language.SWEDISH),
            ("en-GB, sv;q=0.9", Language.ENGLISH),
            ("de, fr;q=0.9, sv;q=0.1", Language.SWEDISH),
            ("en;q=0.2, SV-fi ; q=0.3", Language.SWEDISH),
            ("sv;q=0, en;q=0.1", Language.ENGLISH),
            ("sv;q=nonsense", Language.ENGLISH),
            ("da, nb, *", Language.ENGLISH),
            ("svx", Language.ENGLISH),
            (b"sv\xff, sv", Language.SWEDISH),
            ("x" * 10_000 + ",sv", Language.ENGLISH),
        ],
    )
    def test_is_the_greatest_weight_of_those_there_are(self, accepted, language):
        assert preferred(accepted) is language


class TestPhrase:
    def test_fills_places_with_words_and_numbers_of_the_language(self):
        phrase = Phrase("{what}: {limit}", "{what}: högst {limit}").of(what=Phrase("Name", "Namn"), limit=20_000)
        assert phrase.text(Language.ENGLISH) == "Name: 20,000"
        assert phrase.text(Language.SWEDISH) == "Namn: högst 20\N{NO-BREAK SPACE}000"

    def test_repeats_any_text_as_it_is(self):
        assert Phrase("{given}", "{given}").of(given="{limit} {").text(Language.ENGLISH) == "{limit} {"
