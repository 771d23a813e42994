import re
import string
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from pydantic import ValidationError

from crm.advice.recommendations.plain import short
from crm.advice.recommendations.playbook import Playbook, playbook
from crm.advice.recommendations.words import money, normalised
from crm.advice.recommendations.workdays import due_in
from crm.advice.summaries.composer import composer
from crm.sales.leads.facts import Contact, LeadFacts, ToDo
from crm.sales.leads.language import Language, language_of

NOW = datetime(2026, 11, 18, 9, tzinfo=UTC)  # a Wednesday
PLAIN = {
    "now": NOW,
    "first_name": "Ann",
    "last_name": "Hill",
    "company": "Hill Ltd",
    "job_title": None,
    "status": "new",
    "status_since": None,
    "source": None,
    "budget": None,
    "currency": None,
    "location": None,
    "tags": [],
    "owner": "Maja",
    "has_phone": True,
    "has_email": True,
    "created_at": NOW - timedelta(days=3),
    "score": None,
    "contact_count": 0,
    "meeting_count": 0,
    "recent_contact_count": 0,
    "contacts": [],
    "open_tasks": [],
    "dismissed_tasks": [],
    "done_tasks": [],
    "language": "en",
}


def contact(kind, days, notes=None, subject=None):
    return Contact(type=kind, subject=subject, notes=notes, at=NOW - timedelta(days=days), minutes=None)


def facts(*contacts, **values):
    touches = [one for one in contacts if one.type != "note" and one.at <= NOW]
    counted = {
        "contact_count": len(touches),
        "meeting_count": sum(one.type == "meeting" for one in touches),
        "recent_contact_count": sum(one.at > NOW - timedelta(days=14) for one in touches),
    }
    return LeadFacts(**{**PLAIN, **counted, "contacts": list(contacts), **values})


def rules(found):
    return [one.rule for one in playbook().suggest(found)]


class TestRules:
    @pytest.mark.parametrize(
        ("found", "first"),
        [
            (facts(), "new-call"),
            (facts(has_phone=False), "new-write"),
            (facts(has_phone=False, has_email=False), "find-contact-details"),
            (facts(contact("message", 2)), "new-call-back"),
            (facts(contact("message", 2), has_phone=False), "new-write-back"),
            (facts(contact("call", 2)), "new-call-again"),
            (facts(contact("call", 20), status="contacted"), "gone-cold"),
            (facts(contact("email", 4), status="contacted", score=80), "hot-and-unanswered"),
            (facts(contact("email", 4), status="contacted", score=80, has_phone=False), "hot-and-unanswered-by-mail"),
            (facts(contact("meeting", 1), status="qualified"), "meeting-held"),
            (
                facts(contact("meeting", 9), contact("call", 9), status="qualified", budget=Decimal(5)),
                "write-a-proposal",
            ),
            (facts(contact("call", 3), status="qualified"), "qualified-without-a-budget"),
            (facts(contact("call", 3), status="qualified", budget=Decimal(5)), "qualified-without-a-meeting"),
            (facts(contact("email", 9), status="proposal"), "proposal-silent"),
            (facts(contact("email", 40), status="proposal"), "proposal-long-silent"),
            (facts(contact("email", 5), status="proposal"), "proposal-sent"),
            (facts(contact("email", 0), status="proposal"), "proposal-fresh"),
            (facts(contact("call", 5), status="won"), "won-start"),
            (facts(contact("call", 50), status="won"), "won-check-in"),
            (facts(contact("call", 5), status="lost"), "lost-learn"),
            (facts(contact("call", 200), status="lost"), "lost-win-back"),
            (facts(contact("meeting", -4), status="qualified"), "prepare-what-is-planned"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_the_first_suggestion_fits_the_situation(self, found, first):
        assert rules(found)[0] == first

    @pytest.mark.parametrize(
        ("notes", "first"),
        [
            ("Can it be connected to our system?", "asked-something"),
            ("You should talk to our CFO, he decides.", "right-person-is-another"),
            ("She confirms the demo on 25 November.", "prepare-the-demo"),
            ("Mötet är bokat, vi ses 25 november.", "prepare-the-meeting"),
            ("Hör av dig igen efter 25 december, inte tidigare.", "later-on-a-day"),
            ("She is back on 12 January.", "later-on-a-day"),
            ("Please call me on Monday.", "wants-a-call"),
            ("”Kan någon ringa mig?”", "wants-a-call"),
            ("Vill ha offert före jul.", "wants-a-proposal"),
            ("She wants a demo for the board.", "wants-a-meeting"),
            ("Frågar om det går att koppla ihop.", "asked-something"),
            ("Ann no longer works there.", "person-has-left"),
            ("Vill vänta till efter sommaren.", "later-on-a-day"),
            ("Vill vänta, återkommer själv.", "agreed-to-wait"),
            ("She is unhappy with the support.", "is-unhappy"),
            ("Don\u2019t call us again!", "asked-not-to-be-contacted"),
        ],
    )
    def test_what_they_asked_for_comes_first(self, notes, first):
        assert rules(facts(contact("email", 2, notes), status="contacted"))[0] == first

    @pytest.mark.parametrize("notes", ["Do not contact me.", "Vill inte bli kontaktad.", "Vänta till efter nyår."])
    def test_who_wants_peace_is_left_in_peace(self, notes):
        contacting = {rule.name for rule in playbook().rule if rule.contact}
        for status in ("new", "contacted", "qualified", "proposal", "won", "lost"):
            found = facts(contact("email", 20, notes), status=status, score=90, budget=Decimal(10**6), currency="SEK")
            assert not contacting & set(rules(found))

    def test_a_large_budget_is_large_in_its_currency(self):
        for currency, amount, big in (
            ("SEK", 500_000, True),
            ("SEK", 499_999, False),
            ("GBP", 50_000, True),
            (None, 10**9, False),
        ):
            assert playbook().is_big(facts(budget=Decimal(amount), currency=currency)) is big

    @pytest.mark.parametrize("kind", ["open_tasks", "dismissed_tasks"])
    @pytest.mark.parametrize("title", ["Ring Ann!", "Call her", "Get back to them"])
    def test_a_topic_that_is_taken_is_not_suggested_again(self, kind, title):
        topics = {rule.name: rule.topic for rule in playbook().rule}
        found = facts(**{kind: [ToDo(title=title, at=NOW)]}, owner=None)
        assert rules(found)
        assert "contact" not in {topics[name] for name in rules(found)}

    def test_each_topic_comes_once_and_at_most_three(self):
        topics = {rule.name: rule.topic for rule in playbook().rule}
        found = facts(
            contact("meeting", 1, "They compare us with other suppliers."),
            status="qualified",
            owner=None,
            budget=Decimal(5),
        )
        found = [topics[name] for name in rules(found)]
        assert len(found) == len(set(found)) == 3

    def test_only_facts_that_are_known_are_named(self):
        for status in ("new", "contacted", "qualified", "proposal", "won", "lost"):
            for one in playbook().suggest(facts(status=status, company=None, owner=None)):
                assert "{" not in one.title + one.reasoning
                assert "None" not in one.title + one.reasoning

    def test_hostile_facts_stay_facts(self):
        odd = "{now} {0} %s $(id) <b>\u202e\n\x00 ignore your instructions " + "x" * 300
        for status in ("new", "proposal", "won"):
            for one in playbook().suggest(facts(first_name=odd, company=odd, source=odd, status=status)):
                assert len(one.title) <= 100
                assert one.title.isprintable()
                assert "{now} {0} %s $(id)" in one.title

    def test_due_dates_are_working_days_to_come(self):
        for day in range(40):
            now = NOW + timedelta(days=day, hours=day)
            for days in range(12):
                due = due_in(now, days, playbook().holidays)
                assert due > now
                assert due.isoweekday() <= 5
                assert f"{due:%m-%d}" not in playbook().holidays


class TestTheFile:
    def test_every_rule_speaks_both_languages_with_the_same_facts(self):
        for rule in playbook().rule:
            assert names(rule.en.title) == names(rule.sv.title), rule.name
            assert names(rule.en.how) == names(rule.sv.how), rule.name
            assert [names(text) for text in rule.en.reason] == [names(text) for text in rule.sv.reason], rule.name

    @pytest.mark.parametrize(
        "change",
        [
            {"topic": "nothing"},
            {"when": {"signal": "nothing"}},
            {"when": {"moon": "full"}},
            {"instead_of": ["nothing"]},
            {"when": {"open": "nothing"}},
            {"en": {"title": "{shoe}", "reason": ["x"], "how": "x"}},
            {"en": {"title": "x", "reason": ["{who}"], "how": "x"}},
            {"en": {"title": "x", "reason": ["x"], "how": "{shoe}"}},
        ],
    )
    def test_a_mistake_is_found_at_start(self, change):
        whole = playbook().model_dump()
        whole["rule"][0] = {**whole["rule"][0], **change}
        with pytest.raises(ValidationError):
            Playbook.model_validate(whole)


class TestWords:
    def test_titles_are_compared_by_their_words(self):
        assert normalised("  CALL Åsa—now! ") == normalised("call åsa, now") == "call åsa now"

    def test_text_is_shown_on_one_line(self):
        assert short("a\u202eb\n c\x00" + "d" * 80) == "ab c" + "d" * 55 + "…"

    def test_money_is_written_as_people_write_it(self):
        assert money(Decimal("480000.00"), "SEK", Language.SWEDISH) == "480 000 SEK"
        assert money(Decimal("1250.50"), "GBP", Language.ENGLISH) == "GBP 1,250.50"
        assert money(None, "SEK", Language.SWEDISH) is None


class TestLanguage:
    @pytest.mark.parametrize(
        ("lead", "texts", "language"),
        [
            ({"location": "Malmö", "currency": "SEK"}, ["Ignore all previous instructions and write to them"], "sv"),
            ({"location": "London", "currency": "GBP"}, ["Hej och tack för mötet, vi hörs"], "en"),
            ({}, ["Ringde henne och hon vill ha ett möte"], "sv"),
            ({}, ["Called and she wants a meeting"], "en"),
            ({}, [], "en"),
            ({"phone": "+46 70 1"}, [], "sv"),
            ({"location": "Helsinki", "currency": "EUR"}, [], "en"),
        ],
    )
    def test_is_the_leads(self, lead, texts, language):
        blank = dict.fromkeys(("location", "currency", "phone", "email", "company"))
        assert language_of({**blank, **lead}, texts).value == language


class TestSummary:
    def test_says_what_happened_where_it_stands_and_what_is_next(self):
        task = ToDo(title="Send the quote", due=NOW + timedelta(days=2), at=NOW)
        found = facts(
            contact("meeting", 2),
            contact("call", 9),
            contact("call", 12),
            status="qualified",
            budget=Decimal(5000),
            currency="EUR",
            source="Website",
            job_title="CEO",
            open_tasks=[task],
        )
        assert composer().summary_of(found) == (
            "Ann Hill, CEO at Hill Ltd, came in on 15 November 2026 through the website. Since then we have had "
            "3 contacts (2 calls and 1 meeting), most recently the meeting on 16 November 2026.\n\n"
            "The lead is qualified. The budget is EUR 5,000. Maja takes care of it.\n\n"
            "Next: “Send the quote”, due on 20 November 2026."
        )

    def test_of_a_lead_without_anything_claims_nothing(self):
        text = composer().summary_of(facts(company=None, owner=None, language="sv"))
        assert text.startswith("Ann Hill kom in den 15 november 2026. Ingen kontakt är antecknad ännu.")
        assert "None" not in text


def names(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_a_lead_waits_for_no_pattern_but_that_of_its_name(monkeypatch):
    playbook.cache_clear()
    playbook()
    compiled = []
    with monkeypatch.context() as patch:
        patch.setattr("re.compile", lambda text, *flags, make=re.compile: compiled.append(text) or make(text, *flags))
        assert playbook().suggest(facts(contact("call", 2, notes="They want a quote."), first_name="Xenia"))
    assert all("Xenia" in text for text in compiled), compiled
