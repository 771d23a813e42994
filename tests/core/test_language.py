"""The language of messages: what `Accept-Language` prefers."""

import sys
from importlib import import_module
from string import Formatter

import pytest

from crm.core import errors
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


def phrases():
    """Every sentence that a module of the program keeps."""
    import_module("crm.app")
    modules = [module for name, module in sys.modules.items() if name.startswith("crm.")]
    for module in modules:
        for name, value in vars(module).items():
            values = value.values() if isinstance(value, dict) else [value]
            yield from ((f"{module.__name__}.{name}", one) for one in values if isinstance(one, Phrase))


class TestSentences:
    def test_are_for_people_and_say_the_same_in_both_languages(self):
        found = list(phrases())
        assert len(found) > 50
        for place, phrase in found:
            english, swedish = ({name for _, name, _, _ in Formatter().parse(text)} for text in phrase_texts(phrase))
            assert english - {None} == swedish - {None}, place
            assert not [text for text in phrase_texts(phrase) if "`" in text or "None" in text], place

    def test_every_code_has_one_in_swedish(self):
        english = {"PERSISTED_QUERY_NOT_FOUND", "PERSISTED_QUERY_NOT_SUPPORTED"}  # clients compare the words
        kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and "code" in vars(kind)]
        without = {kind.code for kind in kinds if issubclass(kind, errors.CrmError) and "swedish" not in vars(kind)}
        assert without - {errors.CrmError.code} == english


def phrase_texts(phrase):
    return phrase.english, phrase.swedish
