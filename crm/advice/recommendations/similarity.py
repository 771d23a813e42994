"""Compares titles: whether two ask for the same task in other words, in English and Swedish."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from crm.advice.recommendations.words import normalised

# The share of the shorter title's subject that must be in the other's.
_SHARED: Final = 0.6
# A word and its inflection ("proposal", "proposals"; "offert", "offerten"): the same stem, and an ending.
_STEM: Final = 4
_ENDING: Final = 3
_IGNORED: Final = frozenset(
    (
        *"a about again an and any as at back by concerning e for from go have her him his in".split(),  # noqa: SIM905
        *"into is it its me my of on or our please re regarding s some that the their them this".split(),  # noqa: SIM905
        *"to up us with you your".split(),  # noqa: SIM905
        *"angående att av de dem den det din dina en er ert ett från för gällande hans hennes".split(),  # noqa: SIM905
        *"honom henne i igen kring med mot och om oss på sin sitt till tillbaka upp vid vår åt".split(),  # noqa: SIM905
    )
)
_ACTIONS: Final = {
    word: action
    for action, words in {
        "call": "call calls calling dial phone phoning ring ringa telefon telefonera telephone",
        "write": "email emails epost mail maila mails mejl mejla mejlet post skriv skriva write writing",
        "message": "dm meddela meddelande message sms",
        "follow": "follow followup following följ följa uppföljning",
        "send": "send sending share skicka sända överlämna dela",
        "meet": "arrange boka book meet meeting möt möta möte mötet schedule träffa",
        "prepare": "draft förbered förbereda prepare prepping utarbeta",
        "ask": "ask fråga",
        "check": "check kolla kontrollera verify",
        "answer": "answer besvara reply respond svara",
        "invite": "bjud bjuda invite",
        "visit": "besök besöka visit",
    }.items()
    for word in words.split()
}


@dataclass(frozen=True, slots=True)
class Gist:
    """A title's actions and its subject, whatever the order of the words."""

    actions: frozenset[str]
    subject: frozenset[str]
    # The subject without the names of the lead and its company, which any of its tasks may have.
    topic: frozenset[str]

    def is_like(self, other: "Gist") -> bool:
        """Whether two titles ask for the same task."""
        if self.actions == other.actions and self.subject == other.subject:
            return True
        if min(len(self.subject), len(other.subject)) < 2:  # noqa: PLR2004
            return False
        return _same_kind(self.actions, other.actions) and _overlap(self.topic, other.topic)


def gist_of(title: str, names: Collection[str] = ()) -> Gist:
    """The gist of a title; `names` are those of the lead and of its company."""
    words = normalised(title).split()
    actions = frozenset(_ACTIONS[word] for word in words if word in _ACTIONS)
    if actions >= {"send", "write"}:  # "send an e-mail" is "write"
        actions -= {"send"}
    subject = frozenset(word for word in words if word not in _ACTIONS and word not in _IGNORED)
    if not subject and not actions:
        subject = frozenset(words)
    known = {word for name in names for word in normalised(name).split()}
    return Gist(actions, subject, subject - known)


def _same_kind(first: frozenset[str], second: frozenset[str]) -> bool:
    return first == second or bool(first and second and (first <= second or second <= first))


def _overlap(first: frozenset[str], second: frozenset[str]) -> bool:
    if not first or not second:
        return first == second
    if {word for word in first if word.isdecimal()} != {word for word in second if word.isdecimal()}:
        return False
    few, many = sorted((first, second), key=len)
    shared = sum(any(_same_word(word, another) for another in many) for word in few)
    return shared >= _SHARED * len(few)


def _same_word(first: str, second: str) -> bool:
    short, long = sorted((first, second), key=len)
    return short == long or (len(short) >= _STEM and len(long) - len(short) <= _ENDING and long.startswith(short))
