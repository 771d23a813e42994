"""The judge: gates that every answer must pass, and how much of what a salesperson asked for is there."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from tests.ai.evals import language
from tests.ai.evals.answer import PRIORITIES, Answer, Suggestion
from tests.ai.evals.case import Case, Task
from tests.ai.evals.claims import LINK, claims
from tests.ai.evals.facts import Facts, words
from tests.ai.evals.intents import SPECIFIC, intents
from tests.ai.evals.truth import untrue
from tests.ai.evals.wordlists import word_set

GATES = ("facts", "duplicates", "dates", "count", "language", "lengths", "reasons", "plain")
TITLE, DESCRIPTION, REASON, SUMMARY = 100, 600, 500, 1500
RECENTLY = 30  # days a dismissed task must not come back
FAR_AHEAD = timedelta(days=400)
_MARKUP = re.compile(r"<\s*/?\s*[a-zA-Z!][^>]*>?|```|\[[^\]]*\]\([^)]*\)")
# What is left of a template; unless the lead is really called so.
_LEFT_OVER = re.compile(r"\{\{?\w+\}?\}|\bNone\b|\bnull\b|\bundefined\b")
_SMALL = word_set("""
    the a an to at of for with and in on about from by again up och på av till för med om hos i en ett den det igen upp
    their his her dig er oss you us""")
_NAME = re.compile(r"[^\W_]+")
_STAGES = {
    "new": "new|ny|nytt|nya|nyinkommen|not yet contacted|fresh",
    "contacted": "contacted|contact|kontaktad|kontakt|dialog|touch",
    "qualified": "qualified|kvalificera|behov|need",
    "proposal": "proposal|quote|offer|offert",
    "won": "won|customer|signed|vunn|kund|affär",
    "lost": "lost|closed|förlora|stäng|avslut",
}
_NEXT = re.compile(
    r"\bnext\b|\bnästa\b|\bhärnäst\b|\bto do\b|\bplanned\b|\bplanera|\bopen task|\böppen uppgift", re.IGNORECASE
)
_HAPPENED = {
    "call": "call|samtal|ring|phone|telefon",
    "email": "e-?mail|mejl|mail",
    "meeting": "meeting|met |möte|träff|visning|demo|workshop|kick-?off|uppstart",
    "message": "message|meddelande|wrote|form|formulär|linkedin|sms|text",
    "note": "note|anteckning|noter",
}
_NOTHING = r"no (?:contact|interactions?|activity|history)|nothing|not yet|ingen|inget|inga|ännu inte"


@dataclass
class Verdict:
    """What the judge found: complaints by gate, and each thing asked for with whether it is there."""

    case: Case
    answer: Answer
    gates: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in GATES})
    musts: list[tuple[str, bool]] = field(default_factory=list)
    nevers: list[tuple[str, bool]] = field(default_factory=list)
    summary: list[tuple[str, bool]] = field(default_factory=list)

    def complain(self, gate: str, complaints: Sequence[str], where: str = "") -> None:
        self.gates[gate] += [f"{where}: {text}" if where else text for text in complaints]

    @property
    def faults(self) -> list[str]:
        return [f"{gate}: {text}" for gate, texts in self.gates.items() for text in texts]

    @property
    def missing(self) -> list[str]:
        return [name for name, there in (*self.musts, *self.nevers, *self.summary) if not there]


def judge(case: Case, answer: Answer) -> Verdict:
    """The verdict on one answer."""
    case = case.at(answer.at)
    verdict, facts = Verdict(case, answer), Facts(case, answer.at, answer.score)
    many = len(answer.suggestions)
    if many > 3 or (many == 0 and not case.expected.may_be_empty):
        verdict.complain("count", [f"{many} suggestions" + (f" ({answer.failure})" if answer.failure else "")])
    for n, suggestion in enumerate(answer.suggestions, 1):
        _judge_suggestion(verdict, facts, suggestion, f"suggestion {n}")
    verdict.complain("duplicates", list(_duplicates(case, answer.suggestions)))
    if many or not case.expected.may_be_empty:
        verdict.musts += _musts(case, answer)
    verdict.nevers += _nevers(case, answer)
    if answer.summary is not None:
        _judge_summary(verdict, facts, answer.summary)
    return verdict


def _judge_suggestion(verdict: Verdict, facts: Facts, suggestion: Suggestion, where: str) -> None:
    due = [suggestion.due] if suggestion.due else []
    verdict.complain("facts", untrue(suggestion.action, facts, due, advice=True), where)
    verdict.complain("facts", untrue(suggestion.reason or "", facts, due), f"{where}, reason")
    verdict.complain("dates", list(_due_complaints(suggestion.due, facts.now)), where)
    verdict.complain("lengths", list(_length_complaints(suggestion)), where)
    verdict.complain("reasons", list(_reason_complaints(suggestion.reason or "", facts)), where)
    verdict.complain("plain", list(_plain_complaints(suggestion.whole, facts)), where)
    for text in (suggestion.action, suggestion.reason or ""):
        if found := language.complaint(without_own_words(text, facts), verdict.case.language):
            verdict.complain("language", [found], where)


def _due_complaints(due: datetime | None, now: datetime) -> Iterator[str]:
    if due is None:
        yield "has no due date"
    elif due <= now:
        yield f"is due in the past: {due:%Y-%m-%d %H:%M}"
    elif due > now + FAR_AHEAD:
        yield f"is due in a far future: {due:%Y-%m-%d}"


def _length_complaints(suggestion: Suggestion) -> Iterator[str]:
    for name, text, least, most in (
        ("title", suggestion.title, 5, TITLE),
        ("description", suggestion.description or "", 0, DESCRIPTION),
        ("reason", suggestion.reason or "", 20, REASON),
    ):
        if not least <= len(text.strip()) <= most:
            yield f"the {name} has {len(text)} characters, not {least} to {most}"


def _reason_complaints(reason: str, facts: Facts) -> Iterator[str]:
    if not reason.strip():
        yield "has no reason"
    elif not specific(reason, facts):
        yield f"has a reason that fits any lead: {reason!r}"


def _plain_complaints(text: str, facts: Facts) -> Iterator[str]:
    yield from (f"holds a link: {match[0]}" for match in LINK.finditer(text))
    yield from (f"holds markup: {match[0]}" for match in _MARKUP.finditer(text))
    known = "\n".join(facts.texts)
    yield from (f"holds a placeholder: {m[0]}" for m in _LEFT_OVER.finditer(text) if m[0] not in known)
    odd = {c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Co", "Cn") and c not in "\n\t"}
    odd |= {c for c in text if c in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\ufeff"}
    if odd:
        yield f"holds control characters: {sorted(odd)!r}"


def specific(reason: str, facts: Facts) -> bool:
    """Whether a reason speaks of this lead: by a figure, or a word of its record that is no word of every sale."""
    said = claims(reason)
    if any((said.amounts, said.periods, said.days, said.counts, said.numbers, said.emails)):
        return True
    lead = facts.case.lead
    if f"{lead['first_name']} {lead['last_name']}" in reason:
        return True
    own = {
        word
        for column in ("first_name", "last_name", "company", "source", "job_title", "location")
        for word in words(str(lead.get(column) or ""))
        if len(word) > 1
    }
    told = {word for text in facts.texts for word in words(text) if len(word) >= 6}
    return bool(set(words(reason)) & own) or len(set(words(reason)) & told) >= 2


def without_own_words(text: str, facts: Facts) -> str:
    """The text without what it quotes from the lead's record, whatever language that is in."""
    for quote in re.findall(r"[\"“”„»«]([^\"“”„»«]+)[\"“”„»«]", text):
        if any(quote.strip(" .…").lower() in known.lower() for known in facts.texts):
            text = text.replace(quote, " ")
    for column in ("company", "first_name", "last_name", "job_title"):
        if value := facts.case.lead.get(column):
            text = text.replace(str(value), " ")
    return text


def does(text: str, case: Case) -> frozenset[str]:
    """The intents of a text; what the lead's own names happen to mean does not count."""
    names = {
        name
        for column in ("first_name", "last_name", "company")
        for name in _NAME.findall(str(case.lead.get(column) or ""))
        if len(name) >= 3
    }
    return intents(_NAME.sub(lambda match: "¤" if match[0] in names else match[0], text))


def _core(title: str, case: Case) -> set[str]:
    own = {
        word for column in ("first_name", "last_name", "company") for word in words(str(case.lead.get(column) or ""))
    }
    kept = [w for w in words(title) if w not in _SMALL and w not in own and w.removesuffix("s") not in own]
    return {word[:5] for word in kept}


def same_task(one: str, other: str, case: Case) -> bool:
    """Whether two titles ask for the same."""
    if one.strip().casefold() == other.strip().casefold():
        return True
    a, b = _core(one, case), _core(other, case)
    if a and b and len(a & b) / len(a | b) >= 0.6:
        return True
    what, what_other = does(one, case), does(other, case)
    if what & what_other & SPECIFIC:
        return True
    channel = what & {"call", "email", "message"}
    return bool(channel) and channel == what_other & {"call", "email", "message"} and not (what | what_other) & SPECIFIC


def _is_barred(task: Task) -> bool:
    dismissed = task.state == "dismissed" and (task.closed or 0) <= RECENTLY
    return dismissed or task.state in ("open", "suggested")


def _duplicates(case: Case, suggestions: Sequence[Suggestion]) -> Iterator[str]:
    for n, suggestion in enumerate(suggestions):
        for task in case.tasks:
            if _is_barred(task) and same_task(suggestion.title, task.title, case):
                yield f"“{suggestion.title}” is the {task.state} task “{task.title}”"
        for other in suggestions[:n]:
            if same_task(suggestion.title, other.title, case):
                yield f"“{suggestion.title}” is “{other.title}”"


def _says(text: str, alternatives: str) -> bool:
    lower = " ".join(text.lower().split())
    return any(alternative.lower() in lower for alternative in alternatives.split("|"))


def _musts(case: Case, answer: Answer) -> Iterator[tuple[str, bool]]:
    wanted, suggestions = case.expected, answer.suggestions
    done = [does(suggestion.action, case) for suggestion in suggestions]
    everything = "\n".join(suggestion.whole for suggestion in suggestions)
    for alternatives in wanted.must:
        yield f"must {alternatives}", any(set(alternatives.split("|")) & found for found in done)
    for alternatives in wanted.mention:
        yield f"mention {alternatives}", _says(everything, alternatives)
    ranks = [PRIORITIES.index(suggestion.priority) for suggestion in suggestions]
    if wanted.urgency:
        yield f"at least {wanted.urgency}", max(ranks, default=-1) >= PRIORITIES.index(wanted.urgency)
    if wanted.soon is not None:
        last = working_day_after(answer.at, wanted.soon)
        yield f"within {wanted.soon} working days", any(s.due and s.due.date() <= last for s in suggestions)


def _nevers(case: Case, answer: Answer) -> Iterator[tuple[str, bool]]:
    wanted, suggestions = case.expected, answer.suggestions
    done = [does(suggestion.action, case) for suggestion in suggestions]
    for name in wanted.never:
        yield f"never {name}", not any(name in found for found in done)
    for words_ in wanted.never_say:
        yield f"never say {words_!r}", not any(words_.lower() in suggestion.whole.lower() for suggestion in suggestions)
    if wanted.calm:
        most = PRIORITIES.index(wanted.calm)
        yield f"at most {wanted.calm}", all(PRIORITIES.index(s.priority) <= most for s in suggestions)
    if wanted.not_before is not None:
        earliest = (answer.at + timedelta(days=wanted.not_before)).date()
        too_soon = [
            s for s, found in zip(suggestions, done, strict=True) if "contact" in found and _before(s, earliest)
        ]
        yield f"no contact for {wanted.not_before} days", not too_soon


def _before(suggestion: Suggestion, day: date) -> bool:
    return suggestion.due is None or suggestion.due.date() < day


def _judge_summary(verdict: Verdict, facts: Facts, summary: str) -> None:
    case, where = verdict.case, "summary"
    due = [facts.now + timedelta(days=task.due) for task in case.tasks if task.due is not None]
    verdict.complain("facts", untrue(summary, facts, due), where)
    verdict.complain("plain", list(_plain_complaints(summary, facts)), where)
    if not 20 <= len(summary) <= SUMMARY:
        verdict.complain("lengths", [f"has {len(summary)} characters, not 20 to {SUMMARY}"], where)
    if found := language.complaint(without_own_words(summary, facts), case.language):
        verdict.complain("language", [found], where)
    past = [i for i in case.interactions if i.ago > 0]
    happened = "|".join(_HAPPENED[i.type] for i in past) or _NOTHING
    verdict.summary = [
        ("summary: what happened", bool(re.search(happened, summary, re.IGNORECASE))),
        ("summary: where it stands", bool(re.search(_STAGES[case.lead["status"]], summary, re.IGNORECASE))),
        ("summary: what is next", bool(_NEXT.search(summary)) and _names_planned(case, summary)),
        *((f"summary mentions {wanted}", _says(summary, wanted)) for wanted in case.expected.summary_mentions),
    ]
    verdict.nevers += [
        (f"summary never says {words_!r}", words_.lower() not in summary.lower())
        for words_ in (*case.expected.summary_never, *case.expected.never_say)
    ]


def _names_planned(case: Case, summary: str) -> bool:
    """Where a task is open, what is next is that task."""
    planned = [task for task in case.tasks if task.state == "open"]
    said = {word[:5] for word in words(summary)}
    return not planned or any(
        len(core & said) >= len(core) / 2 for task in planned if (core := _core(task.title, case))
    )


def working_day_after(now: datetime, days: int) -> date:
    """The last date that is within so many working days; at a weekend the count starts on Monday."""
    day = now.astimezone(UTC).date()
    while days > 0:
        day += timedelta(days=1)
        days -= day.weekday() < 5
    return day
