"""docs/decisions: every record says what it has to say, and what enforces it is there."""

import re
import tomllib
from datetime import date
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "decisions"
RECORDS = sorted(FOLDER.glob("[0-9]*.md"))
SECTIONS = ["Context", "Decision", "Alternatives", "Enforced by"]
STATUS = re.compile(r"(Accepted|Superseded by \[\d+\]\((\S+)\)), (\d{4}-\d\d-\d\d)\.")


def sections(text: str) -> dict[str, str]:
    """What stands under each heading of the second level."""
    _, *parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return {name: part.strip() for name, part in zip(parts[::2], parts[1::2], strict=True)}


@pytest.fixture(params=RECORDS, ids=lambda path: path.stem)
def record(request):
    return request.param


@pytest.fixture
def text(record):
    return record.read_text(encoding="utf-8")


def test_is_numbered_in_its_name_and_title(record, text):
    assert text.startswith(f"# {int(record.name[:4])}. ")


def test_has_a_status_and_a_date(record, text):
    status = STATUS.match(text.splitlines()[2])
    assert status, text.splitlines()[2]
    assert date(2026, 11, 1) < date.fromisoformat(status[3]) <= date.today()  # noqa: DTZ011
    assert status[2] is None or (record.parent / status[2]).exists()


def test_has_every_section(text):
    found = sections(text)
    for name in SECTIONS:
        assert found.get(name), name


def test_what_enforces_it_is_there(text):
    """Tests by their path, import contracts and lint rules by their name."""
    enforced = sections(text)["Enforced by"]
    paths = re.findall(r"`(\w[\w./-]*/[\w./-]*)`", enforced)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    contracts = [one["name"] for one in pyproject()["tool"]["importlinter"]["contracts"]]
    named = re.findall(r'the contract "([^"]+)"', enforced)
    assert [name for name in named if name not in contracts] == []
    assert any("test" in path for path in paths) or named


def test_what_it_names_is_there(record, text):
    """Paths and links in a record lead somewhere, also after a move."""
    paths = set(re.findall(r"`((?:crm|tests|docs|alembic)/[\w./-]*\w)`", text))
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
    links = re.findall(r"\]\((?!http)([^)#]+)", text)
    assert [link for link in links if not (record.parent / link).exists()] == []


def test_numbers_are_given_once():
    """Some are kept for records that are being written."""
    numbers = [int(path.name[:4]) for path in RECORDS]
    assert numbers == sorted(set(numbers))


def test_the_index_lists_each_with_its_title():
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    for path in RECORDS:
        number, title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").split(". ", 1)
        assert f"| {number} | [{title}]({path.name}) |" in index


def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
