"""The seam between the API and the services is typed: mypy finds a wrong call."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROGRAM = """
from crm.ai_tasks.retention import AiTaskMaintenance
from crm.graph.run.context import Context
from crm.jobs.worker_plan import WorkerContext
from crm.sales.tasks.model import TaskSource
from crm.sales.tasks.service import TaskService


async def resolve(context: Context, worker_context: WorkerContext) -> None:
    await context.write(TaskService.delete, 1)
    await context.write(TaskService.set_source, 1, TaskSource.MANUAL, {})
    await context.write(TaskService.delete, "one")  # WRONG arg-type
    await context.write(TaskService.delete)  # WRONG call-arg
    await context.write(TaskService.complete, 1, completed="yes")  # WRONG arg-type
    await context.write(TaskService.complete, 1, done=True)  # WRONG call-arg
    await context.write(AiTaskMaintenance.clean, 30)  # WRONG type-var
    await context.run_workflow(AiTaskMaintenance.clean, 30)
    await context.run_workflow(AiTaskMaintenance.clean, "a month")  # WRONG arg-type
    (await worker_context.write(TaskService.restore, 1)).title.upper()
    (await worker_context.write(TaskService.restore, 1)).tittle  # WRONG attr-defined
"""


def test_mypy_finds_wrong_arguments_of_writes(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--no-error-summary", str(tmp_path / "program.py")]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    errors = re.findall(r"program\.py:(\d+): error: .*\[([a-z-]+)\]$", found.stdout, re.MULTILINE)
    lines = [re.search(r"# WRONG ([a-z-]+)$", line) for line in PROGRAM.splitlines()]
    wanted = {number: kind[1] for number, kind in enumerate(lines, 1) if kind}
    assert {int(line): kind for line, kind in errors} == wanted, found.stdout + found.stderr
