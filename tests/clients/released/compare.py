"""What of the schema breaks clients of the last release is known by name: `breaking.txt`, and CHANGELOG.md says it."""

import json
from pathlib import Path

import pytest

from tests.support import node

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
# A first run installs the packages.
pytestmark = pytest.mark.timeout(360)


def test_what_breaks_is_known():
    (released,) = HERE.glob("*.graphql")
    with node.alone_with(HERE.parent):
        found = node.run(HERE, "node", "compare.mjs", released.name, str(ROOT / "schema.graphql"))
    assert json.loads(found) == (HERE / "breaking.txt").read_text().splitlines()


def test_the_file_is_that_of_the_last_release():
    (released,) = HERE.glob("*.graphql")
    versions = [line.split()[1] for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert released.stem == next(version for version in versions if version != "Unreleased")
