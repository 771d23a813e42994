"""The short form of `make evals`: the open cases through a real server with the playbook, every gate asserted."""

import random
from datetime import UTC, datetime

import pytest

from tests.ai.evals import case as cases
from tests.ai.evals import floor, report
from tests.ai.evals.asking import Asker
from tests.ai.evals.judge import judge

OPEN = cases.load("open")


@pytest.fixture
def asker(server, db, database_url):  # noqa: ARG001
    found = Asker(server.url, server.token(), database_url)
    yield found
    found.close()


def test_the_playbook_passes_every_gate(asker, db):
    verdicts = [judge(case, answer) for case, answer in asker.answers(OPEN)]
    found = report.scores(verdicts)
    assert report.below(found) == [], "\n".join(report.misses(verdicts))
    assert db.execute("SELECT count(*) AS n FROM leads").fetchone()["n"] == len(OPEN)
    assert {row["source"] for row in db.execute("SELECT summary_source AS source FROM leads")} == {"playbook"}


def test_random_templates_do_not_pass():
    dice, now = random.Random(7), datetime.now(UTC)
    filled = report.scores(judge(case, floor.filled(case, now, dice)) for case in OPEN)
    careless = report.scores(judge(case, floor.careless(case, now, dice)) for case in OPEN)
    assert {"musts", "nevers", "summary"} <= set(report.below(filled))
    assert careless["facts"].share < 0.1
