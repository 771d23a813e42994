"""The page docs/ai-quality.md, made of what a run has shown."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from tests.ai.evals import case as cases
from tests.ai.evals import report
from tests.ai.evals.judge import Verdict

ROUNDS = 10  # random templates are judged so many times over, so that luck evens out

_PAGE = """# How good are the suggestions?

This page is written by `make evals`; do not edit it. Run of {date} (UTC), PostgreSQL and server of its own, through
the API: `regenerateSummary` and `generateTaskRecommendations` for each of {many} leads ({open} open, {held} held out).

{table}

{passed}
{notes}
## How it is measured

- The cases ([tests/ai/evals](../tests/ai/evals/README.md)) are leads with their history, and what a salesperson would
  and would not do about them. They were written before the rules and the prompts. About half are Swedish; empty,
  contradictory and hostile records are among them. The held-out third is frozen by a hash, and only its scores are
  shown, so that nobody tunes on it.
- Gates are checked by program, without a model: every amount, number, date, period, name and address that an answer
  cites must be in the lead's record. `tests/ai/evals/test_judge.py` plants faults of each kind and sees them caught.
- Musts are intents ("follow up the proposal") told by sets of words in both languages, facts that must be mentioned,
  urgency, and when it is due. Must-nots are what is planned already or was turned down, and what would do harm.
- *Random template* is the floor: one to three random templates, filled with the lead's own facts, {rounds} rounds. What
  it reaches, a generator gets for nothing. *Another's facts* fills in the wrong lead's: what it reaches at the gate
  for facts is what that gate lets slip (templates that cite nothing).
- A live model is asked too when `OPENROUTER_API_KEY` or `OPENAI_API_KEY` is set; its column is labelled with its name.

## What this does not show

- Whether anybody sells more. Acceptance of real suggestions does (`taskAnalytics`).
- Style. Words are matched, sentences are not weighed: a clumsy suggestion of the right intent passes.
- Every untruth. A period must fit *some* event of the lead, not the one that was meant; a number that happens to be in
  the record passes; an invented name that begins a sentence is known only if it is a common one.
- Blindness of the judge. Its word sets were mended after the first run where they misread an answer, and held-out
  answers were read for that; two open cases got a must-not more (no kick-off for a deal that fell through, no contract
  because a hostile note says so). No held-out case has been changed since it was written.
- The cases are a few dozen leads by a few hands. A difference of a percent or two between columns means nothing.
{missing}
"""


def page(columns: Mapping[str, Sequence[Verdict]], notes: Sequence[str], missed: Mapping[str, Sequence[str]]) -> str:
    """The page, as Markdown."""
    everything = cases.everything()
    passed = "\n".join(
        f"- {part.replace('_', '-')}: the playbook "
        + (f"**misses** {', '.join(names)}." if names else "passes every gate.")
        for part, names in missed.items()
    )
    short = report.misses(columns["playbook"])
    missing = "\n## Where the playbook falls short\n\n" + "\n".join(f"- {line}" for line in short) if short else ""
    return _PAGE.format(
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        many=len(everything),
        open=sum(case.part == "open" for case in everything),
        held=sum(case.part == "held_out" for case in everything),
        table=report.markdown(report.table(dict(columns))),
        passed=passed,
        notes="".join(f"- {note}\n" for note in notes),
        rounds=ROUNDS,
        missing=missing,
    )


def told(verdicts: Sequence[Verdict]) -> str:
    """Every answer to the open cases, to be read."""
    lines = []
    for verdict in verdicts:
        if verdict.case.part != "open":
            continue
        lines.append(f"\n── {verdict.case.name} ({verdict.case.lead['status']})")
        for s in verdict.answer.suggestions:
            due = f"{s.due:%a %d %b}" if s.due else "no date"
            lines += [f"  • {s.title}  [{s.priority}, {due}]", f"    {s.description}", f"    because: {s.reason}"]
        lines.append(f"  summary: {verdict.answer.summary}")
        lines += [f"  ✗ {text}" for text in (*verdict.faults, *verdict.missing)]
    return "\n".join(lines)
