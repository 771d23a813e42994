"""Text, before it reaches the database."""

from contextvars import copy_context
from typing import ClassVar

import pytest

from crm.core import errors, validate
from crm.core.language import set_language

ONE_LINE = validate.text(20, required=True)
LINES = validate.text(20, lines=True)


class TestText:
    @pytest.mark.parametrize("value", ["a\nb", "a\r\nb", "a\u2028b", "\u202eb", "a\tb", "\u05d0\u200f"])
    def test_several_lines_may_hold_breaks_and_any_direction(self, value):
        assert LINES("notes", value) == value

    @pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\u2029b", "\u202ab", "a\u2069b"])
    def test_one_line_may_not(self, value):
        with pytest.raises(errors.BadUserInput, match="Name"):
            ONE_LINE("name", value)

    @pytest.mark.parametrize("value", ["a\x00b", "a\x1bb", "a\x7fb", "a\x9fb", "a\ud83d", "\udc00b"])
    @pytest.mark.parametrize("rule", [ONE_LINE, LINES])
    def test_neither_holds_control_characters_or_half_of_a_pair(self, rule, value):
        with pytest.raises(errors.BadUserInput, match="U\\+"):
            rule("name", value)

    @pytest.mark.parametrize("value", [None, "", " \n", "\u200b", "\u2060\ufeff \u00ad", "\u3000"])
    def test_something_must_be_seen(self, value):
        assert LINES("notes", value) is None
        with pytest.raises(errors.BadUserInput, match="must be given" if value is None else "blank"):
            ONE_LINE("name", value)

    def test_breaks_around_it_do_not_matter(self):
        assert ONE_LINE("name", "\tAda \r\n") == "Ada"


class TestEmail:
    @pytest.mark.parametrize("hidden", ["\u200b", "\u00ad", "\u200e", "\u2060", "\ufeff", "\U000e0041"])
    @pytest.mark.parametrize("address", ["an{}na@example.com", "anna@exa{}mple.com", "{}anna@example.com{}"])
    def test_holds_no_invisible_character(self, address, hidden):
        """Two addresses that look the same would be two users, or leads."""
        for rule in validate.email(), validate.email(required=True):
            with pytest.raises(errors.BadUserInput, match=rf"E-mail: .* \(U\+{ord(hidden):04X}\)"):
                rule("email", address.format(hidden, hidden))

    @pytest.mark.parametrize("address", ["åsa@höst.se", "ΟΔΟΣ@example.com", "anna+crm@example.co.uk"])
    def test_may_hold_any_letter(self, address):
        assert validate.email()("email", f" {address} ") == address


class TestPhone:
    @pytest.mark.parametrize("number", ["+46 70-123 45 67", "ext. 7", "\N{ARABIC-INDIC DIGIT SEVEN}"])
    def test_is_kept_as_typed(self, number):
        assert validate.phone(50)("phone", f" {number} ") == number

    def test_has_a_digit(self):
        assert validate.phone(50)("phone", " ") is None
        with pytest.raises(errors.BadUserInput) as refused:
            validate.phone(50)("phone", "ask for it")
        assert [problem.reason.name for problem in refused.value.problems] == ["NOT_A_PHONE"]


class TestClean:
    RULES: ClassVar = {
        "name": ONE_LINE,
        "notes": LINES,
        "tags": validate.tags,
        "length": validate.between(1, 5, (" m", " meter")),
    }

    def test_refuses_all_mistakes_at_once(self):
        values = {"name": " ", "notes": "fine", "tags": ["a", "b\x00"], "length": 6, "other": 1}
        with pytest.raises(errors.BadUserInput) as refused:
            validate.clean(values, self.RULES)
        found = [(problem.field, problem.reason.name, problem.limit) for problem in refused.value.problems]
        assert found == [("name", "BLANK", None), ("tags.1", "BAD_CHARACTER", None), ("length", "OUT_OF_RANGE", 5)]
        assert refused.value.details == {"field": "name"}

    def test_tells_them_in_the_language_of_the_request(self):
        with pytest.raises(errors.BadUserInput) as refused:
            validate.clean({"length": 1234}, self.RULES)
        assert str(refused.value) == "Length must be 1 to 5 m, not 1,234."
        assert copy_context().run(lambda: (set_language("sv"), refused.value.message)[1]) == (
            "Length ska vara 1 till 5 meter, inte 1\N{NO-BREAK SPACE}234."
        )
        assert refused.value.message == str(refused.value)
