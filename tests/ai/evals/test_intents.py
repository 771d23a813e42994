"""The keyword sets tell what a suggestion is about, and what it is not about."""

import pytest

from tests.ai.evals import case as cases
from tests.ai.evals.intents import NAMES, intents

SAID = [
    ("Call Anna at Bergs Bygg", "call contact", "email send_proposal"),
    ("Ring Anna i dag", "call contact", "email"),
    ("Mejla Omar ett kundexempel", "email send_information", "call"),
    ("Send Peter an e-mail with the presentation", "email send_information", "call send_proposal"),
    ("Find an e-mail address or phone number for Deirdre", "find_details", "email call contact"),
    ("Ta reda på telefonnummer till Test Testsson", "find_details", "call contact"),
    ("Skriv offert till Skånes Fastigheter", "send_proposal", "chase_decision"),
    ("Send the proposal to Marcus", "send_proposal", "first_contact"),
    ("Skriv till Åsa om offerten", "email chase_decision", "send_proposal call"),
    ("Send a short reminder about the proposal", "email chase_decision", "send_proposal"),
    ("Följ upp offerten på 180 000 kr. Ring Maria och fråga om beslutet.", "chase_decision call", "send_proposal"),
    ("Ask who decides and what the budget is", "qualify", "chase_decision call"),
    ("Fråga vem som beslutar och vilken budget de har", "qualify", "chase_decision"),
    ("Book a demo with Sophie", "book_demo", "prepare_demo book_meeting"),
    ("Prepare the demo for Beatrice", "prepare_demo", "book_demo"),
    ("Boka ett behovsmöte i Lund", "book_meeting", "call"),
    ("Check whether anything stands in the way of signing", "chase_signature", "send_proposal"),
    ("Plan the kick-off with Simon", "onboard", "check_in"),
    ("Planera uppstarten med Magnus", "onboard", "prepare_demo"),
    ("Ask Charlotte for a referral", "ask_referral", "send_proposal"),
    ("Be Charlotte om en rekommendation", "ask_referral", "email"),
    ("Call Grace, who was recommended by Martin", "call", "ask_referral"),
    ("Close the lead and do not contact Malin again", "close", "contact call email"),
    ("Stäng leadet. Kontakta inte Malin igen.", "close", "contact"),
    ("Kontrollera om vi får kontakta Malin igen", "", "contact"),
    ("Wait, and call Rebecca in January", "wait call", "email"),
    ("Offer 10 % discount", "discount", "send_proposal"),
    ("Erbjud rabatt", "discount", "call"),
    ("Stäm av hur det går för Gemma", "check_in", "onboard"),
    ("Svara på frågan om säkerhet", "answer_question", "call"),
    ("Discuss the payment terms with Teresa", "negotiate", "discount"),
    ("Get Karin Ek, the decision maker, to the table: invite the director", "involve_decider", "win_back"),
    ("Send a summary of the meeting", "send_summary", "book_meeting"),
    ("Find a reference customer for Howard", "find_reference", "call"),
    ("Make the first call to Grace", "first_contact call", "follow_up"),
    ("Pick up where the last call ended", "follow_up", "call first_contact"),
    ("Win Rebecca back", "win_back contact", "chase_decision"),
    ("Lös problemet med tidrapporterna", "solve_problem", "ask_referral"),
]


@pytest.mark.parametrize(("text", "there", "absent"), SAID, ids=[text for text, *_ in SAID])
def test_told_by_words(text, there, absent):
    found = intents(text)
    assert set(there.split()) <= found, sorted(found)
    assert not set(absent.split()) & found, sorted(found)


def test_cases_ask_for_intents_that_exist():
    asked = {
        name
        for case in cases.everything()
        for wanted in (*case.expected.must, *case.expected.never)
        for name in wanted.split("|")
    }
    assert asked <= NAMES, sorted(asked - NAMES)
