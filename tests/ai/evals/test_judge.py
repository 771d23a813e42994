"""The judge lets good answers pass and catches planted faults, each by the gate that is meant for it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.ai.evals import case as cases
from tests.ai.evals.answer import Answer, Suggestion
from tests.ai.evals.facts import Facts
from tests.ai.evals.judge import judge, working_day_after
from tests.ai.evals.truth import untrue

NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)  # a Friday
CASES = {case.name: case for case in cases.load("open")}
SWEDISH = CASES["sv-offert-tyst-i-nio-dagar"]
ENGLISH = CASES["en-demo-held-they-want-prices"]
DISMISSED = CASES["sv-ringforslag-nyss-avvisat"]

GOOD_SWEDISH = Suggestion(
    "Följ upp offerten på 180 000 kr med Maria",
    "Ring Maria och fråga om beslutet; hör om något i offerten är oklart.",
    "Offerten till Vätterns Transport gick ut för 9 dagar sedan och sedan dess har ingen hört något.",
    "high",
    NOW + timedelta(days=3),
)
GOOD_ENGLISH = Suggestion(
    "Send the proposal to Marcus",
    "60 users, maintenance planning first, within £48,000. Copy Helen Fielding.",
    "The demo was 3 days ago, Marcus liked it and Helen Fielding asked for prices. £48,000 is set aside.",
    "high",
    NOW + timedelta(days=3),
)
SUMMARY = (
    "Maria på Vätterns Transport fick en offert på 180 000 kr per mejl för 9 dagar sedan, efter ett möte om "
    "ruttplanering. Affären är i offertskedet. Nästa steg: följ upp offerten."
)


def verdict(case, *suggestions, summary=None):
    return judge(case, Answer(suggestions, summary, NOW))


class TestGoodAnswers:
    @pytest.mark.parametrize(("case", "suggestion"), [(SWEDISH, GOOD_SWEDISH), (ENGLISH, GOOD_ENGLISH)])
    def test_pass(self, case, suggestion):
        found = verdict(case, suggestion)
        assert (found.faults, found.missing) == ([], [])

    def test_a_good_summary_passes(self):
        found = verdict(SWEDISH, GOOD_SWEDISH, summary=SUMMARY)
        assert (found.faults, found.missing) == ([], [])

    def test_nothing_is_a_good_answer_where_the_case_says_so(self):
        found = verdict(CASES["sv-vill-inte-bli-kontaktad"])
        assert (found.faults, found.missing, found.musts) == ([], [], [])

    @pytest.mark.parametrize(
        "text",
        [
            "Det har gått 9 dagar sedan mejlet den 11 november.",
            "Drygt en vecka har gått, och mötet i Jönköping var för 25 dagar sedan.",
            "Offerten på 180 000 kr gäller i 30 dagar; 20 användare.",
            "SEK 180,000 is out since 11 November.",
            "Marias offert kom för 7 arbetsdagar sedan.",
            "Vi har haft tre kontakter: ett samtal, ett möte och ett mejl.",
        ],
    )
    def test_true_sentences_are_true(self, text):
        assert untrue(text, Facts(SWEDISH, NOW)) == []


class TestPlantedFacts:
    """Each sentence holds one thing that is not in the lead's record."""

    @pytest.mark.parametrize(
        "text",
        [
            "Offerten på 185 000 kr ligger ute.",
            "Offerten på €180,000 ligger ute.",
            "Offerten på 180 tkr och 15 % på köpet.",
            "Det har gått 16 dagar sedan offerten.",
            "Det har gått fem veckor sedan offerten.",
            "Mejlet den 3 oktober är obesvarat.",
            "Mejlet 2026-10-03 är obesvarat.",
            "Maria bad om svar i mars.",
            "De är 75 användare.",
            "Vi har haft 5 samtal med henne.",
            "Vi har haft fem samtal med henne.",
            "Mötet tog 90 minuter.",
            "Hör med Gunnar om beslutet.",
            "Erik har sagt ja.",
            "Maria Lundgren hos Skåneflytt har offerten.",
            "Skriv till maria@annan.example.",
            "Ring +46 70 123 45 67.",
            "Sedan det senaste meddelandet har det varit tyst.",
            "I går hörde hon av sig.",
            "Ingen har ringt henne.",
            "Grace sagt att allt är klart.",
        ],
    )
    def test_are_caught(self, text):
        assert untrue(text, Facts(SWEDISH, NOW))

    def test_also_in_the_description_and_the_summary(self):
        found = verdict(SWEDISH, replace(GOOD_SWEDISH, description="Nämn att 75 användare ingår."))
        assert found.gates["facts"]
        assert verdict(SWEDISH, GOOD_SWEDISH, summary=SUMMARY.replace("180 000", "185 000")).gates["facts"]

    def test_a_length_is_advice_in_the_description_and_a_claim_in_the_reason(self):
        advice = replace(GOOD_SWEDISH, description="Ring Maria och be om 35 minuter inom 3 dagar.")
        assert verdict(SWEDISH, advice).faults == []
        assert verdict(SWEDISH, replace(GOOD_SWEDISH, reason="Maria hade 35 minuter till övers för Vätterns.")).faults


class TestPlantedFaults:
    @pytest.mark.parametrize(
        ("gate", "changes"),
        [
            ("dates", {"due": NOW - timedelta(hours=1)}),
            ("dates", {"due": None}),
            ("dates", {"due": NOW + timedelta(days=900)}),
            ("language", {"title": "Call Maria", "description": "Ask her about the decision and the next step."}),
            ("language", {"reason": "The proposal for Vätterns Transport was sent 9 days ago and there is no answer."}),
            ("lengths", {"title": "Följ upp offerten " * 10}),
            ("lengths", {"description": "Ring Maria. " * 100}),
            ("reasons", {"reason": None}),
            ("reasons", {"reason": "Det är bra att höra av sig till kunder som har fått en offert."}),
            ("plain", {"description": "Se https://evil.example/x"}),
            ("plain", {"title": "Ring <b>Maria</b> om offerten"}),
            ("plain", {"title": "Ring {first} om offerten"}),
            ("plain", {"title": "Ring Maria\u202e om offerten"}),
            ("plain", {"reason": "Offerten till Vätterns ligger hos None sedan 9 dagar."}),
        ],
    )
    def test_are_caught_by_their_gate(self, gate, changes):
        assert verdict(SWEDISH, replace(GOOD_SWEDISH, **changes)).gates[gate]

    def test_four_suggestions_and_none_are_too_many_and_too_few(self):
        assert verdict(SWEDISH, *[GOOD_SWEDISH] * 4).gates["count"]
        assert verdict(SWEDISH).gates["count"]

    @pytest.mark.parametrize(
        "title",
        ["Ring Åsa om offerten", "Ring Åsa angående offerten", "Följ upp offerten hos Åsa", "ring åsa om offerten "],
    )
    def test_what_was_dismissed_ten_days_ago_must_not_come_back(self, title):
        suggestion = replace(GOOD_SWEDISH, title=title, reason="Bergman & Holm fick offerten på 95 000 kr.")
        assert verdict(DISMISSED, suggestion).gates["duplicates"]

    def test_what_was_dismissed_long_ago_may_come_back(self):
        long_ago = replace(DISMISSED, tasks=[replace(DISMISSED.tasks[0], made=50, closed=45)])
        suggestion = replace(GOOD_SWEDISH, title="Ring Åsa om offerten")
        assert not verdict(long_ago, suggestion).gates["duplicates"]

    def test_open_tasks_and_twins_are_duplicates(self):
        case = CASES["sv-offert-ligger-redan-som-uppgift"]
        assert verdict(case, replace(GOOD_SWEDISH, title="Ta fram offert åt Niklas")).gates["duplicates"]
        twin = replace(GOOD_SWEDISH, title="Hör om beslutet om offerten")
        assert verdict(SWEDISH, GOOD_SWEDISH, twin).gates["duplicates"]


class TestRubric:
    def test_a_wrong_intent_is_missed_and_barred(self):
        found = verdict(SWEDISH, replace(GOOD_SWEDISH, title="Skicka offerten till Maria", description=None))
        assert ("must chase_decision", False) in found.musts
        assert ("never send_proposal", False) in found.nevers

    def test_a_discount_is_barred(self):
        found = verdict(SWEDISH, replace(GOOD_SWEDISH, description="Ring om offerten och erbjud rabatt."))
        assert ("never discount", False) in found.nevers

    def test_urgency_and_dates_count(self):
        found = verdict(SWEDISH, replace(GOOD_SWEDISH, priority="low", due=NOW + timedelta(days=20)))
        assert ("at least high", False) in found.musts
        assert ("within 3 working days", False) in found.musts

    def test_a_lost_lead_is_left_alone_for_a_while(self):
        case = CASES["sv-forlorad-i-gar-pa-pris"]
        again = Suggestion("Ring Henrik igen", None, "Dahlbergs sade nej i går.", "low", NOW + timedelta(days=2))
        assert ("no contact for 30 days", False) in verdict(case, again).nevers
        assert verdict(case, replace(again, due=NOW + timedelta(days=90))).nevers[-1] == (
            "no contact for 30 days",
            True,
        )

    def test_a_summary_without_what_is_next_is_incomplete(self):
        found = verdict(SWEDISH, GOOD_SWEDISH, summary=SUMMARY.partition("Nästa")[0])
        assert ("summary: what is next", False) in found.summary

    def test_working_days_skip_the_weekend(self):
        assert working_day_after(NOW, 1).isoformat() == "2026-11-23"
        assert working_day_after(NOW, 5).isoformat() == "2026-11-27"
