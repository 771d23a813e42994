"""Problem documents, whatever went wrong."""

import json

import pytest

from crm.core import errors
from crm.web.rest import problem

CHANGED = errors.ConflictReason.CHANGED


def shown(error):
    found = problem.refused(error)
    return found, json.loads(found.body)


class TestProblem:
    def test_has_the_members_of_rfc_9457_and_ours(self):
        found, document = shown(
            errors.Conflict("It is at 3.", conflict=CHANGED, field="expectedVersion", currentVersion=3)
        )
        assert (found.status, found.media_type, found.headers) == (409, b"application/problem+json", ())
        assert document == {
            "type": "urn:crm:problem:CONFLICT",
            "title": "In conflict with what is there",
            "status": 409,
            "detail": "It is at 3.",
            "code": "CONFLICT",
            "conflict": "CHANGED",
            "field": "expectedVersion",
            "currentVersion": 3,
        }

    def test_no_detail_of_ours_takes_the_place_of_the_status(self):
        _, document = shown(errors.Conflict("The task is RUNNING.", conflict=CHANGED, status="RUNNING"))
        assert (document["status"], document["currentStatus"]) == (409, "RUNNING")

    def test_what_nobody_foresaw_has_the_id_under_which_it_was_logged(self):
        found, document = shown(ZeroDivisionError("secret"))
        assert (found.status, document["code"], len(document["requestId"])) == (500, "INTERNAL", 32)
        assert b"secret" not in found.body

    def test_a_pause_is_a_header_too(self):
        found, document = shown(errors.AiUnavailable("Later.", retryAfterSeconds=7))
        assert document["retryAfterSeconds"] == 7
        assert found.headers == ((b"retry-after", b"7"),)

    @pytest.mark.parametrize("text", ["\ud800", "\x00", "Å" * 100_000])
    def test_no_text_breaks_it(self, text):
        found, document = shown(errors.BadUserInput(text, field=text))
        assert document["detail"] == text[:600]
        assert len(found.body) < 5000
