"""`make attacks`: looks for the request of each size that costs most, by changing those that cost much.

Every request is one member's, sent alone. What it may cost is in `BOUNDS`; what costs more is printed, written to a
file with its body, and makes the program end with 1.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from crm.schema import schema
from tests.attacks.genome import Breeder, Genome
from tests.attacks.seeds import SEEDS
from tests.attacks.target import MEBIBYTE, Cost, Target

SIZES: Final = {"100 B": 100, "1 KB": 1024, "8 KB": 8 * 1024, "250 KB": 250 * 1024, "2 MB": 2 * 1024 * 1024}
_KEPT: Final = 12
_FRESH: Final = 0.1
_OWN: Final = 0.8  # how often a request's parent is of its size; else the worst of any
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Bound:
    """What a request may cost of one thing."""

    most: float
    unit: str
    of: Callable[[Cost], float]


BOUNDS: Final = {
    "loop": Bound(50, "ms", lambda cost: cost.loop_ms),
    "database": Bound(10_000, "ms", lambda cost: cost.database_ms),
    "memory": Bound(64, "MiB", lambda cost: cost.memory / MEBIBYTE),
    "answer": Bound(16, "MiB", lambda cost: cost.answer / MEBIBYTE),
}
# What no request may be answered with, whatever it costs.
_WRONG_CODES: Final = ("INTERNAL", "no code", "not JSON")


@dataclass(frozen=True, slots=True)
class Find:
    """A request and what it cost."""

    genome: Genome
    cost: Cost

    @property
    def is_wrong(self) -> bool:
        """Whether the answer is a fault of the server's."""
        return self.cost.code in _WRONG_CODES or self.cost.status == 0


class Search:
    """Keeps the costliest requests of each size, for each thing that they cost."""

    def __init__(self, target: Target, seed: str) -> None:
        self._target = target
        self._dice = random.Random(seed)
        self._breeder = Breeder(schema._schema, self._dice)  # noqa: SLF001
        self.kept: dict[str, dict[str, list[Find]]] = {size: {name: [] for name in BOUNDS} for size in SIZES}
        self.wrong: list[Find] = []
        self.tried = 0

    def sow(self) -> None:
        """Try what is known already."""
        for genome in SEEDS:
            self._try(genome)

    def step(self, size: str) -> None:
        """Change a costly request of this size, and see what that costs."""
        own = [find for finds in self.kept[size].values() for find in finds]
        smaller = [find for kept in self.kept.values() for finds in kept.values() for find in finds[:1]]
        pool = own if own and self._dice.random() < _OWN else smaller
        if not pool or self._dice.random() < _FRESH:
            genome: Genome | None = self._breeder.fresh()
        else:
            first, second = (self._dice.choice(pool).genome for _ in range(2))
            genome = self._breeder.mutant(first, second, SIZES[size])
        if genome is not None:
            self._try(genome)

    def worst(self, size: str, name: str) -> Find | None:
        """The costliest request of a size."""
        return next(iter(self.kept[size][name]), None)

    def beyond(self) -> list[tuple[str, str, Find]]:
        """What costs more than it may, costliest first, each size and thing once."""
        found = [(size, name, self.worst(size, name)) for size in SIZES for name in BOUNDS]
        return [
            (size, name, find) for size, name, find in found if find and BOUNDS[name].of(find.cost) > BOUNDS[name].most
        ]

    def _try(self, genome: Genome) -> None:
        body = genome.body
        size = next((name for name, most in SIZES.items() if len(body) <= most), None)
        if size is None:
            return
        find = Find(genome, self._target.measure(body))
        self.tried += 1
        if find.is_wrong:
            self.wrong.append(find)
        for name, bound in BOUNDS.items():
            self._keep(size, name, find, bound)

    def _keep(self, size: str, name: str, find: Find, bound: Bound) -> None:
        """Keep it among the costliest; one beyond the bound must be so twice, since the machine has other work."""
        kept = self.kept[size][name]
        if len(kept) >= _KEPT and bound.of(find.cost) <= bound.of(kept[-1].cost):
            return
        if bound.of(find.cost) > bound.most:
            again = self._target.measure(find.genome.body)
            find = min(find, Find(find.genome, again), key=lambda one: bound.of(one.cost))
        kept.append(find)
        kept.sort(key=lambda one: -bound.of(one.cost))
        del kept[_KEPT:]


def report(search: Search, console: Console) -> None:
    """The worst of each size, as a Markdown table."""
    console.print(
        "| size | worst for | loop | PostgreSQL | memory | answer | answered | request |", soft_wrap=True, markup=False
    )
    console.print("|---|---|---:|---:|---:|---:|---|---|", markup=False)
    for size in SIZES:
        for name in BOUNDS:
            find = search.worst(size, name)
            if find is not None:
                console.print(_row(size, name, find), soft_wrap=True, markup=False, highlight=False)


def _row(size: str, name: str, find: Find) -> str:
    cost = find.cost
    text = " ".join(find.genome.text.split())
    shown = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    return (
        f"| {size} | {name} | {cost.loop_ms:.0f} ms | {cost.database_ms:,.0f} ms | {cost.memory / MEBIBYTE:.0f} MiB"
        f" | {cost.answer / 1024:,.0f} KiB | {cost.status} {cost.code} | `{shown.replace('|', ' ')}` |"
    )


def write(search: Search, path: Path) -> None:
    """The finds with their bodies, to be sent again."""
    finds = [
        {"size": size, "worst_for": name, "cost": str(find.cost), "body": find.genome.body.decode("utf-8", "replace")}
        for size in SIZES
        for name in BOUNDS
        for find in search.kept[size][name][:1]
    ]
    wrong = [{"cost": str(find.cost), "body": find.genome.body.decode("utf-8", "replace")} for find in search.wrong]
    path.write_text(json.dumps({"worst": finds, "wrong": wrong}, ensure_ascii=False, indent=1))


def main() -> int:
    """Search for so many minutes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--finds", type=Path, default=Path("attacks.json"), help="Where the worst are written.")
    given = parser.parse_args()
    console = Console()
    folder = Path(tempfile.mkdtemp(prefix="crm-attacks-"))
    try:
        with Target(folder) as target:
            search = Search(target, given.seed)
            search.sow()
            _run(search, given.minutes * 60, console)
            report(search, console)
            write(search, given.finds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    console.print(f"\n{search.tried:,} requests tried; the worst are in {given.finds}.")
    for size, name, find in search.beyond():
        bound = BOUNDS[name]
        console.print(f"[red]{size}: {name} {bound.of(find.cost):,.0f} {bound.unit}, more than {bound.most:,}[/red]")
    for find in search.wrong[:10]:
        console.print(f"[red]{find.cost}[/red] {find.genome.text[:200]!r}", markup=True)
    return 1 if search.beyond() or search.wrong else 0


def _run(search: Search, seconds: float, console: Console) -> None:
    begun = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("attacking", total=seconds)
        while (elapsed := time.monotonic() - begun) < seconds:
            for size in SIZES:
                search.step(size)
            progress.update(task, completed=elapsed, description=f"{search.tried:,} requests")


if __name__ == "__main__":
    sys.exit(main())
