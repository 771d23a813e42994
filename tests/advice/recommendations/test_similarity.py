import random

import pytest

from crm.advice.recommendations.similarity import gist_of

SAME = [
    ("Call Lars about the proposal", "Call Lars regarding the proposal"),
    ("Call Lars about the proposal", "Ring Lars about proposal"),
    ("Call Lars about the proposal", "Phone Lars to discuss the proposal"),
    ("Call Lars about the proposal", "Give Lars a call about the proposals"),
    ("E-mail Lars the price list", "Write to Lars with the price list"),
    ("Email Lars about the pilot", "Send Lars an e-mail about the pilot"),
    ("Follow up on the quote with Lars", "Follow-up: quote, Lars"),
    ("Follow up the proposal with Lars at Hill Ltd", "Follow up with Lars on the revised proposal"),
    ("Send the contract to Lars for signing", "Send Lars the contract"),
    ("Book a demo for Lars and his team", "Schedule a demo with Lars and the team"),
    ("Call Lars", "ring LARS!"),
    ("Ring Lars om offerten", "Ringa Lars angående offerten"),
    ("Ring Lars om offerten", "Ring upp Lars om offert"),
    ("Mejla Lars om prislistan", "Skriv till Lars om prislistan"),
    ("Mejla Lars om prislistan", "Skicka ett mejl till Lars om prislistan"),
    ("Följ upp offerten med Lars", "Uppföljning av offerten med Lars på Hill Ltd"),
    ("Boka ett möte med Lars om piloten", "Boka möte om piloten med Lars"),
]
DIFFERENT = [
    ("Send the proposal to Lars", "Call Lars about the proposal"),
    ("Call Lars about the proposal", "Call Lars about the invoice"),
    ("Call Lars at Hill Ltd about the proposal", "Call Lars at Hill Ltd about the invoice"),
    ("Call Lars Berg at Hill Ltd about the price", "Call Lars Berg at Hill Ltd to find the decision maker"),
    ("Call Lars", "Call Lars about the proposal"),
    ("Call Lars", "E-mail Lars"),
    ("Call Lars", "Call Ann"),
    ("Prepare the product demo for Lars", "Book the product demo with Lars"),
    ("Send invoice 17 to Lars", "Send invoice 18 to Lars"),
    ("Ask Lars about the budget", "Ask Lars about the timeline"),
    ("E-mail Lars about the pilot", "Call Lars about the pilot"),
    ("Task 1", "Task 2"),
    ("Skicka offerten till Lars", "Ring Lars om offerten"),
    ("Ring Lars om offerten", "Ring Lars om fakturan"),
    ("Ring Lars på Hill Ltd om offerten", "Ring Lars på Hill Ltd om leveransen"),
    ("Mejla Lars om priset", "Ring Lars om priset"),
    ("Förbered mötet med Lars om piloten", "Följ upp piloten med Lars"),
    ("Boka demo med Lars", "Boka lunch med Lars"),
]
NAMES = ("Lars", "Berg", "Hill Ltd")


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_in_other_words(one, other):
    assert gist_of(one, NAMES).is_like(gist_of(other, NAMES))
    assert gist_of(other, NAMES).is_like(gist_of(one, NAMES))


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_another_task(one, other):
    assert not gist_of(one, NAMES).is_like(gist_of(other, NAMES))
    assert not gist_of(other, NAMES).is_like(gist_of(one, NAMES))


@pytest.mark.parametrize("title", sorted({title for pair in SAME + DIFFERENT for title in pair}))
def test_the_order_of_words_does_not_matter(title):
    words = title.replace("-", " ").split()
    for seed in range(10):
        turned = " ".join(random.Random(seed).sample(words, len(words)))
        assert gist_of(turned, NAMES) == gist_of(title, NAMES)


def test_titles_of_nothing_but_small_words_are_told_apart():
    assert not gist_of("To us").is_like(gist_of("From them"))
    assert gist_of("To us").is_like(gist_of("us, to"))
