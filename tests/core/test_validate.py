"""Text, before it reaches the database."""

import pytest

from crm.core import errors, validate

ONE_LINE = validate.text(20, required=True)
LINES = validate.text(20, lines=True)


class TestText:
    @pytest.mark.parametrize("value", ["a\nb", "a\r\nb", "a\u2028b", "\u202eb", "a\tb", "\u05d0\u200f"])
    def test_several_lines_may_hold_breaks_and_any_direction(self, value):
        assert LINES("notes", value) == value

    @pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\u2029b", "\u202ab", "a\u2069b"])
    def test_one_line_may_not(self, value):
        with pytest.raises(errors.BadUserInput, match="`name`"):
            ONE_LINE("name", value)

    @pytest.mark.parametrize("value", ["a\x00b", "a\x1bb", "a\x7fb", "a\x9fb", "a\ud83d", "\udc00b"])
    @pytest.mark.parametrize("rule", [ONE_LINE, LINES])
    def test_neither_holds_control_characters_or_half_of_a_pair(self, rule, value):
        with pytest.raises(errors.BadUserInput, match="U\\+"):
            rule("name", value)

    @pytest.mark.parametrize("value", [None, "", " \n", "\u200b", "\u2060\ufeff \u00ad", "\u3000"])
    def test_something_must_be_seen(self, value):
        assert LINES("notes", value) is None
        with pytest.raises(errors.BadUserInput, match="blank"):
            ONE_LINE("name", value)

    def test_breaks_around_it_do_not_matter(self):
        assert ONE_LINE("name", "\tAda \r\n") == "Ada"


class TestEmail:
    @pytest.mark.parametrize("hidden", ["\u200b", "\u00ad", "\u200e", "\u2060", "\ufeff", "\U000e0041"])
    @pytest.mark.parametrize("address", ["an{}na@example.com", "anna@exa{}mple.com", "{}anna@example.com{}"])
    def test_holds_no_invisible_character(self, address, hidden):
        """Two addresses that look the same would be two users, or leads."""
        for rule in validate.email(), validate.email(required=True):
            with pytest.raises(errors.BadUserInput, match=rf"`email` .* \(U\+{ord(hidden):04X}\)\."):
                rule("email", address.format(hidden, hidden))

    @pytest.mark.parametrize("address", ["åsa@höst.se", "ΟΔΟΣ@example.com", "anna+crm@example.co.uk"])
    def test_may_hold_any_letter(self, address):
        assert validate.email()("email", f" {address} ") == address
