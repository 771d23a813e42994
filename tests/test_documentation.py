"""Pages that name a test name one that exists."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")] if "tests/" in path.read_text())
# `tests/db/test_lanes.py::TestIdleConnections`, `::TestIt::test_that` of the file named before, or `tests/attacks`.
NAME = re.compile(r"(?<![\w/])(tests/[\w./-]*\w)?((?:::[Tt]est\w+)*)")


def definitions(tree: ast.AST, prefix: str = "") -> Iterator[str]:
    """Classes and functions as `::Class` and `::Class::function`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}::{node.name}"
            yield from definitions(node, f"{prefix}::{node.name}")


def missing(text: str) -> list[str]:
    """Names of paths and tests in a text that are not there."""
    path, absent = "", []
    for match in NAME.finditer(text):
        path, item = match[1] or path, match[2]
        if not (match[1] or item):
            continue
        if not (ROOT / path).exists() or (item and not is_in(ROOT / path, item)):
            absent.append(path + item)
    return absent


def is_in(path: Path, item: str) -> bool:
    """Whether a file has the test; `::test_it` alone may stand in any of its classes."""
    return path.is_file() and any(name.endswith(item) for name in definitions(ast.parse(path.read_text())))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_is_there(page):
    assert missing(page.read_text()) == []


def test_a_test_that_is_not_there_is_found():
    here = "tests/test_documentation.py"
    assert (
        missing(f"`{here}::test_every_test_is_there`, `::test_a_test_that_is_not_there_is_found` and tests/attacks")
        == []
    )
    assert missing(f"`{here}::test_that_is_not_there`, `::test_nor_this`, `tests/nowhere.py`") == [
        f"{here}::test_that_is_not_there",
        f"{here}::test_nor_this",
        "tests/nowhere.py",
    ]
