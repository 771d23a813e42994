"""`make bench-scores`, in short and without its timing: everybody is served while all scores are recalculated."""

from tests.bench import scores

LEADS = 600


def test_everybody_is_served_meanwhile(server, database_url, db):  # noqa: ARG001
    scores.execute(database_url, ("DELETE FROM leases", *scores.FILL), leads=LEADS)
    results = scores.run(database_url, server, LEADS, seconds=0.2)
    assert [(one["count"], one["failed"]) for one in results] == [(LEADS, 0)] * 4
    assert results[0]["changed"] == LEADS
    assert results[2]["changed"] > 0  # a day later
