"""CONTRIBUTING.md and SECURITY.md: every file, command and name that they send people to is there."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ["CONTRIBUTING.md", "SECURITY.md"]
PATH = re.compile(r"(?:crm|tests|docs|alembic)/[\w./-]+|[A-Z]+\.md|pyproject\.toml|schema\.graphql")
TARGET = re.compile(r"`make (\w[\w-]*)|^\$ make (\w[\w-]*)", re.MULTILINE)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_every_path_is_there(page):
    found = {one.rstrip(".") for one in PATH.findall(text_of(page)) if "NNNN" not in one}
    assert len(found) > 3
    assert [one for one in sorted(found) if not (ROOT / one).exists()] == []


def test_every_make_target_is_there():
    makefile = text_of("Makefile")
    targets = {one or other for one, other in TARGET.findall(text_of("CONTRIBUTING.md"))}
    assert {"run", "test", "check", "format"} <= targets
    assert [one for one in sorted(targets) if not re.search(rf"^{one}:", makefile, re.MULTILINE)] == []


def test_every_name_is_there():
    names = {
        "crm/core/policy.py": ["EVERYBODY", "ADMINS", "INTERNAL", "exists", "belongs_to", "scopes", "owner"],
        "crm/core/columns.py": ["by", "order", "rule", "def column"],
        "crm/sales/leads/facts.py": ["_COLUMNS"],
        "crm/graph/declare/fields.py": ["extra_cost", "usual_rows", "def rows", "def mutation"],
        "crm/sales/scoring/graphql.py": ["@graph.extend(Lead)"],
        "crm/core/settings/__init__.py": ["class Settings"],
    }
    page = text_of("CONTRIBUTING.md")
    for path, wanted in names.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        for name in wanted:
            assert name in text, (path, name)
            assert name.removeprefix("def ").removeprefix("class ") in page, name


def test_nothing_is_installed_into_the_environment_of_another_checkout(tmp_path):
    """A link to it would make that one import this one's program."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    (tmp_path / "theirs" / "bin").mkdir(parents=True)
    python = tmp_path / "theirs" / "bin" / "python"
    python.write_text("#!/bin/sh\necho installing\n", encoding="utf-8")
    python.chmod(0o755)
    (tmp_path / ".venv").symlink_to("theirs")
    command = ["make", "--no-print-directory", ".venv/.installed"]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "Remove the link" in refused.stdout
    assert "installing\n" not in refused.stdout
    (tmp_path / ".venv").unlink()
    (tmp_path / "theirs").rename(tmp_path / ".venv")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0
