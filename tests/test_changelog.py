"""CHANGELOG.md: by version, the newest on top, under the headings of Keep a Changelog."""

import re
import tomllib
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
KINDS = ["Breaking", "Added", "Changed", "Fixed"]
RELEASES = re.findall(r"^## (\d+\.\d+\.\d+) \((\d{4}-\d\d-\d\d)\)$", TEXT, re.MULTILINE)


def sections() -> list[tuple[str, str]]:
    """Each version's heading and what stands under it."""
    _, *parts = re.split(r"^## (.+)\n", TEXT, flags=re.MULTILINE)
    return list(zip(parts[::2], parts[1::2], strict=True))


def test_the_newest_release_is_the_version_of_the_package():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert RELEASES[0][0] == version


def test_only_what_is_unreleased_stands_above_it():
    first, *others = [heading for heading, _ in sections()]
    assert first == "Unreleased" or first.startswith(RELEASES[0][0])
    assert len(others) == len(RELEASES) - (first != "Unreleased")


def test_releases_go_back_in_time():
    days = [date.fromisoformat(day) for _, day in RELEASES]
    assert days == sorted(days, reverse=True)
    numbers = [tuple(map(int, version.split("."))) for version, _ in RELEASES]
    assert numbers == sorted(set(numbers), reverse=True)


def test_each_version_has_its_changes_under_known_headings():
    for version, text in sections():
        before, *parts = re.split(r"^### (.+)\n", text, flags=re.MULTILINE)
        assert before.strip() == "", version
        kinds = parts[::2]
        assert kinds == [kind for kind in KINDS if kind in kinds], version
        for kind, changes in zip(kinds, parts[1::2], strict=True):
            assert changes.strip().startswith("- "), (version, kind)
