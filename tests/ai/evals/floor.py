"""The floor: suggestions from random templates. What a generator gets that knows how to write, but not what to do.

`filled` puts the lead's own facts into a random template: names, company, the budget, the days since the last contact.
`careless` takes the facts of another lead: it shows that the gates bite.
"""

import random
from collections.abc import Mapping
from datetime import datetime, timedelta

from tests.ai.evals import case as cases
from tests.ai.evals.answer import PRIORITIES, Answer, Suggestion
from tests.ai.evals.case import Case

TEMPLATES: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "en": (
        ("Call {first}", "Ask how things are going.", "{first} has not heard from us for {days} days."),
        ("Send {first} an e-mail", "Keep it short.", "It has been {days} days since anything happened at {company}."),
        ("Book a meeting with {company}", "Suggest two times to {first}.", "{company} came in {age} days ago."),
        ("Book a demo for {first}", "Show what matters to them.", "{first} should see what {company} would get."),
        ("Send the proposal to {company}", "Put {budget} into it.", "{company} has had {days} days to think."),
        ("Follow up the proposal", "Ask {first} about the decision.", "{days} days have gone by at {company}."),
        ("Ask {first} about budget and needs", "Find out who decides.", "We know little about {company} so far."),
        ("Send information to {first}", "A customer example says most.", "{company} may want to read more."),
        ("Plan the kick-off with {first}", "Agree on dates.", "{company} should get going well."),
        ("Ask {first} for a referral", "Who else might need this?", "{first} knows others in the trade of {company}."),
        ("Win {company} back", "Ask how things stand.", "{company} has been quiet for {days} days."),
        ("Involve the decision maker", "Ask {first} who signs.", "{first} may not be alone in this at {company}."),
        ("Check in with {first}", "How does it work for them?", "{days} days since the last contact with {first}."),
        ("Find a reference customer for {first}", "Same trade if possible.", "{company} may want to hear others."),
        ("Read up on {company}", "Size, owners, what they use.", "Good to know before talking to {first}."),
        ("Settle the terms with {first}", "Payment and notice.", "{company} will want to know."),
    ),
    "sv": (
        ("Ring {first}", "Fråga hur det går.", "{first} har inte hört av oss på {days} dagar."),
        (
            "Skicka ett mejl till {first}",
            "Håll det kort.",
            "Det har gått {days} dagar utan att något hänt hos {company}.",
        ),
        ("Boka möte med {company}", "Föreslå två tider för {first}.", "{company} kom in för {age} dagar sedan."),
        ("Boka visning för {first}", "Visa det som betyder något.", "{first} borde få se vad {company} skulle få."),
        ("Skicka offert till {company}", "Lägg in {budget}.", "{company} har haft {days} dagar att tänka på."),
        ("Följ upp offerten", "Fråga {first} om beslutet.", "{days} dagar har gått hos {company}."),
        ("Fråga {first} om budget och behov", "Ta reda på vem som beslutar.", "Vi vet ännu lite om {company}."),
        ("Skicka information till {first}", "Ett kundexempel säger mest.", "{company} vill kanske läsa mer."),
        ("Planera uppstart med {first}", "Kom överens om datum.", "{company} ska komma i gång på ett bra sätt."),
        ("Be {first} om en rekommendation", "Vilka fler kan behöva oss?", "{first} känner fler i samma bransch."),
        ("Vinn tillbaka {company}", "Fråga hur läget är.", "{company} har varit tyst i {days} dagar."),
        ("Ta med beslutsfattaren", "Fråga {first} vem som skriver under.", "{first} är kanske inte ensam om det här."),
        ("Stäm av med {first}", "Hur fungerar det för dem?", "{days} dagar sedan den senaste kontakten med {first}."),
        ("Hitta en referenskund åt {first}", "Gärna samma bransch.", "{company} vill kanske höra andra."),
        ("Läs på om {company}", "Storlek, ägare, vad de använder.", "Bra att veta inför att tala med {first}."),
        ("Stäm av villkoren med {first}", "Betalning och uppsägning.", "{company} kommer att vilja veta."),
    ),
}
SUMMARIES = {
    "en": (
        "{first} at {company} was last in touch {days} days ago. The lead is {status}. Next: get in touch.",
        "We had a call with {first}. {company} is interested. Next: send a proposal for {budget}.",
        "{company} came in {age} days ago. Nothing has been decided.",
    ),
    "sv": (
        "{first} på {company} hördes senast för {days} dagar sedan. Leadet är {status}. Nästa steg: hör av dig.",
        "Vi har haft ett samtal med {first}. {company} är intresserade. Nästa steg: skicka offert på {budget}.",
        "{company} kom in för {age} dagar sedan. Inget är beslutat.",
    ),
}


def filled(case: Case, now: datetime, dice: random.Random) -> Answer:
    """One to three random templates, with the lead's own facts."""
    return _answer(case, _facts(case), now, dice)


def careless(case: Case, now: datetime, dice: random.Random) -> Answer:
    """The same with somebody else's facts."""
    return _answer(case, _facts(dice.choice([other for other in cases.everything() if other is not case])), now, dice)


def _answer(case: Case, facts: Mapping[str, str], now: datetime, dice: random.Random) -> Answer:
    language = dice.choice(("sv", "en")) if case.language == "any" else case.language
    suggestions = [
        Suggestion(
            title.format_map(facts)[:255],
            description.format_map(facts),
            reason.format_map(facts),
            dice.choice(PRIORITIES),
            now + timedelta(days=dice.randint(1, 10)),
        )
        for title, description, reason in dice.sample(TEMPLATES[language], dice.randint(1, 3))
    ]
    return Answer(suggestions, dice.choice(SUMMARIES[language]).format_map(facts), now)


def _facts(case: Case) -> Mapping[str, str]:
    lead = case.lead
    past = [interaction.ago for interaction in case.interactions if interaction.ago > 0]
    budget = f"{lead['budget']:f} {lead.get('currency')}" if lead.get("budget") else "the budget"
    return {
        "first": lead["first_name"],
        "company": lead.get("company") or lead["last_name"],
        "budget": budget,
        "days": str(round(min(past, default=case.created))),
        "age": str(round(case.created)),
        "status": lead["status"],
    }
