"""`make evals`: how good are the playbook's suggestions and summaries, beside random templates (and a live model)?

The leads of the cases are put into a throw-away PostgreSQL, a real server is started on it, and the API is asked. With
OPENROUTER_API_KEY or OPENAI_API_KEY set, the live model is asked as well, at its price. Exits with 1 if the playbook
misses a gate.
"""

import argparse
import os
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from crm.db import migrations
from tests.ai.evals import case as cases
from tests.ai.evals import document, floor, report
from tests.ai.evals.asking import Asker
from tests.ai.evals.case import Case
from tests.ai.evals.judge import Verdict, judge
from tests.support.postgres import remove, throw_away_postgres
from tests.support.servers import Server

PAGE = Path(__file__).parents[3] / "docs" / "ai-quality.md"
_KEYS = ("OPENROUTER_API_KEY", "OPENAI_API_KEY")
_LIVE = (*_KEYS, "OPENAI_BASE_URL", "CRM_AI_PROVIDER", "CRM_AI_MODEL", "CRM_AI_TIMEOUT_SECONDS")


@contextmanager
def asker(**settings: Any) -> Iterator[Asker]:
    """Somebody who asks a server of its own, over a database of its own."""
    postgres, folder = throw_away_postgres()
    postgres.start()
    try:
        migrations.upgrade(postgres.url)
        server = Server(postgres.url, folder / "log", **settings).start()
        found = Asker(server.url, server.token(), postgres.url)
        try:
            yield found
        finally:
            found.close()
            server.stop()
    finally:
        postgres.stop()
        remove(folder)


def verdicts(asking: Asker, asked: Sequence[Case]) -> list[Verdict]:
    return [judge(case, answer) for case, answer in asking.answers(asked)]


def floor_verdicts(asked: Sequence[Case], seed: int) -> dict[str, list[Verdict]]:
    now, dice = datetime.now(UTC), random.Random(seed)
    generators = {"random template": floor.filled, "template, another's facts": floor.careless}
    return {
        name: [judge(case, generate(case, now, dice)) for _ in range(document.ROUNDS) for case in asked]
        for name, generate in generators.items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    asked = [case for case in cases.everything() if options.only in case.name]
    with asker(CRM_AI_PROVIDER="playbook") as asking:
        playbook = verdicts(asking, asked)
    columns = {"playbook": playbook, **floor_verdicts(asked, options.seed)}
    notes = []
    if any(os.environ.get(key) for key in _KEYS) and not options.no_live:
        name, columns_live, note = _live(asked)
        columns[name] = columns_live
        notes.append(note)
    _show(columns, notes, showing=options.show)
    missed = {part: report.below(report.scores(some)) for part, some in report.parts(playbook).items() if some}
    if not options.only and not options.no_page:
        report.write(PAGE, document.page(columns, notes, missed))
    for part, names in missed.items():
        Console().print(
            f"{part}: " + (f"the playbook misses {', '.join(names)}" if names else "the playbook passes all gates")
        )
    return int(any(missed.values()))


def _live(asked: Sequence[Case]) -> tuple[str, list[Verdict], str]:
    settings = {name: os.environ[name] for name in _LIVE if os.environ.get(name)}
    with asker(**settings) as asking:
        found = verdicts(asking, asked)
        model, usd = asking.model(), asking.spent()
    return f"live: {model}", found, f"{model} was asked {2 * len(asked)} times for USD {usd:.4f} (as far as known)."


def _show(columns: Mapping[str, Sequence[Verdict]], notes: Sequence[str], *, showing: bool) -> None:
    console = Console(width=None if sys.stdout.isatty() else 200)
    head, *rows = report.table(columns)
    shown = Table(*head)
    for row in rows:
        shown.add_row(*row)
    console.print(shown)
    for line in (*notes, *report.misses(columns["playbook"])):
        console.print(line, highlight=False, markup=False)
    if showing:
        console.print(document.told(columns["playbook"]), highlight=False, markup=False)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.ai.evals", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases whose name holds this (writes no page)")
    parser.add_argument("--show", action="store_true", help="print every answer to the open cases")
    parser.add_argument("--no-live", action="store_true", help="ask no live model even if a key is set")
    parser.add_argument("--no-page", action="store_true", help="leave docs/ai-quality.md as it is")
    parser.add_argument("--seed", type=int, default=1, help="of the random templates")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
