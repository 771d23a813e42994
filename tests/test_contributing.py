"""CONTRIBUTING.md and SECURITY.md: every file, command and name that they send people to is there."""

import re
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
