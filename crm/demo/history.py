"""Writes the histories of leads, a chunk at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

from crm.demo.cases import CaseMaker, Sellers
from crm.demo.dice import Dice
from crm.demo.events import Step, steps_of
from crm.demo.rows import LeadWriter
from crm.demo.tasks import TaskWriter
from crm.demo.worktime import WorkTime


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows in COPY's text format."""

    data: bytes
    count: int


@dataclass(frozen=True, slots=True)
class Chapter:
    """The rows of some leads, with their interactions and tasks."""

    lead_ids: list[int]
    leads: Rows
    interactions: Rows
    tasks: Rows
    steps: list[Step]


class Historian:
    """Writes chapters: each depends on the seed and its first id only, not on the chapters before."""

    def __init__(self, seed: int, time: WorkTime, sellers: Sellers) -> None:
        self.seed = seed
        self.time = time
        self.sellers = sellers

    def write(self, lead_ids: Sequence[int]) -> Chapter:
        """Write the chapter of these leads."""
        dice = Dice(f"{self.seed}:{lead_ids[0]}")
        maker = CaseMaker(dice, self.time, self.sellers)
        lead_writer = LeadWriter(dice, self.time, self.sellers)
        task_writer = TaskWriter(dice, self.time, self.sellers)
        leads: list[str] = []
        interactions: list[str] = []
        tasks: list[str] = []
        steps: list[Step] = []
        for lead_id in lead_ids:
            case = maker.make(lead_id)
            case_steps = steps_of(case, self.time)
            steps += case_steps
            leads.append(lead_writer.lead(case, len(case_steps)))
            interactions += lead_writer.interactions(case)
            tasks += task_writer.tasks(case)
        return Chapter(list(lead_ids), _rows(leads), _rows(interactions), _rows(tasks), steps)


def _rows(rows: list[str]) -> Rows:
    return Rows("".join(rows).encode(), len(rows))
