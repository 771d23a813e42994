"""Words and progress for people at a terminal, on stderr."""

import re
import sys
from typing import NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

console = Console(stderr=True)


def fail(message: str) -> NoReturn:
    """Say what is wrong and end with exit code 2."""
    console.print(f"[red]crm:[/red] {message}", soft_wrap=True, highlight=False)
    sys.exit(2)


def first_line(error: BaseException) -> str:
    """An error's first line, or its class."""
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return re.sub(r"^\(psycopg\.[\w.]+\) ", "", first)  # SQLAlchemy names the class first: of no use to who reads it


def progress_bar() -> Progress:
    """A bar that shows its task's description, how many are done and for how long."""
    text = TextColumn("{task.description}")
    return Progress(SpinnerColumn(), text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console)
