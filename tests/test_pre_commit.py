""".pre-commit-config.yaml: its hooks are what `make check` runs, by the programs of .venv."""

import re
import shlex
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]


def checks() -> list[str]:
    """The commands of `make check`."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe[1].splitlines()]


def command(entry: str) -> str:
    """What a hook runs; a pipe needs a shell around it."""
    words = shlex.split(entry)
    return words[2] if words[:2] == ["bash", "-c"] else entry


def test_hooks_are_what_make_check_runs():
    assert [command(hook["entry"]) for hook in HOOKS] == checks()


def test_hooks_need_nothing_but_the_virtual_environment():
    for hook in HOOKS:
        assert hook["language"] == "system"
        assert hook["pass_filenames"] is False  # each looks at everything, as `make check` does


def test_each_hook_runs_for_a_change_of_what_it_looks_at():
    def concerned(path: str) -> list[str]:
        return [hook["id"] for hook in HOOKS if re.search(hook["files"], path)]

    assert concerned("crm/app.py") == ["format", "lint", "types", "imports", "schema"]
    assert concerned("pyproject.toml") == ["lint", "types", "imports"]
    assert concerned("schema.graphql") == ["schema"]
    assert concerned("Dockerfile") == ["dockerfile"]
    assert concerned("README.md") == []


def test_contributing_says_how_to_install_them():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert ".pre-commit-config.yaml" in page
    assert "pre-commit install" in page
