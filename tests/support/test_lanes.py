"""Files that wait are found by their mark."""

from pathlib import Path

from tests.support.lanes import seconds

TESTS = Path(__file__).parents[1]


def test_finds_every_file_that_says_that_it_waits():
    marked = {path for path in TESTS.rglob("test_*.py") if "mark.waits(" in path.read_text() and path != Path(__file__)}
    assert len(marked) > 10
    assert {path for path in marked if not seconds(path)} == set()


def test_other_files_compute():
    assert seconds(Path(__file__)) == 0
