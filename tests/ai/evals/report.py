"""Scores over many verdicts, the table of `make evals`, and docs/ai-quality.md."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.ai.evals.judge import GATES, Verdict

# What the playbook must reach.
LEAST = {**dict.fromkeys(GATES, 1.0), "musts": 0.85, "nevers": 0.95, "summary": 0.85}
ROWS = {
    "facts": "Facts: answers in which everything cited is in the record",
    "duplicates": "No duplicate of an open, dismissed or other suggestion",
    "dates": "Due dates there, and in the future",
    "count": "One to three suggestions (none where none is right)",
    "language": "In the lead's language",
    "lengths": "Lengths in bounds",
    "reasons": "Reasons there, and of this lead",
    "plain": "Plain text: no links, markup, control characters",
    "musts": "Musts: of what a salesperson asked for, the share that is there",
    "intents": "… of these, the right thing to do",
    "nevers": "Must-nots: of what would do harm, the share that is absent",
    "summary": "Summaries: what happened, where it stands, what is next",
}


@dataclass(frozen=True)
class Score:
    """How often something is as it should be."""

    good: int
    asked: int

    @property
    def share(self) -> float:
        return self.good / self.asked if self.asked else 1.0

    def __str__(self) -> str:
        return f"{self.share:.1%}" if self.good < self.asked else "100%"


def scores(verdicts: Iterable[Verdict]) -> dict[str, Score]:
    """The scores of one provider: gates by answer, rubrics by what was asked."""
    verdicts = list(verdicts)
    found = {gate: Score(sum(not v.gates[gate] for v in verdicts), len(verdicts)) for gate in GATES}
    for name in ("musts", "nevers", "summary"):
        checks = [there for verdict in verdicts for _, there in getattr(verdict, name)]
        found[name] = Score(sum(checks), len(checks))
    right = [there for verdict in verdicts for name, there in verdict.musts if name.startswith("must ")]
    found["intents"] = Score(sum(right), len(right))
    return found


def below(found: dict[str, Score]) -> list[str]:
    """The gates that are not reached."""
    return [name for name, least in LEAST.items() if found[name].share < least]


def parts(verdicts: Sequence[Verdict]) -> dict[str, list[Verdict]]:
    return {part: [v for v in verdicts if v.case.part == part] for part in ("open", "held_out")}


def table(columns: Mapping[str, Sequence[Verdict]]) -> list[list[str]]:
    """The rows of the table: for each provider its open and its held-out cases."""
    cells = {
        f"{name}, {part.replace('_', '-')}": scores(some)
        for name, verdicts in columns.items()
        for part, some in parts(verdicts).items()
        if some
    }
    head = ["", "gate", *cells]
    return [
        head,
        *(
            [ROWS[key], f"≥ {LEAST[key]:.0%}" if key in LEAST else "", *(str(found[key]) for found in cells.values())]
            for key in ROWS
        ),
    ]


def markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{'---|' * len(rows[0])}", *lines[1:]])


def misses(verdicts: Sequence[Verdict]) -> list[str]:
    """Where an answer falls short, one line a case; of held-out cases only how often, so that nobody tunes on them."""
    lines = [
        f"{v.case.name}: {'; '.join([*v.faults, *v.missing])}"
        for v in verdicts
        if v.case.part == "open" and (v.faults or v.missing)
    ]
    held = [v for v in verdicts if v.case.part == "held_out"]
    short = sum(bool(v.faults or v.missing) for v in held)
    return [*lines, f"(held out: {short} of {len(held)} answers fall short somewhere)"] if held else lines


def write(path: Path, text: str) -> None:
    path.write_text(text.rstrip() + "\n", encoding="utf-8")
