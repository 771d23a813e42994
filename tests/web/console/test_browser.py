"""The page /console/ai-tasks in a real browser: see browse.mjs."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support import browser
from tests.support.servers import Server

HERE = Path(__file__).parent
SETTINGS: dict[str, Any] = {"CRM_WORKER_POLL_SECONDS": "0.1", "CRM_WORKER_GRACE_SECONDS": "0"}


@pytest.fixture(scope="module")
def browse():
    """Play a scene, in a browser that serves all of them; returns what was seen."""
    with browser.playing(HERE) as scene:
        yield scene


@pytest.fixture(scope="module")
def emptied(database_url):
    """Nothing of other tests; the servers here live longer than a test, and so does what they know."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("TRUNCATE leads, tasks, interactions, events, ai_calls, ai_tasks RESTART IDENTITY CASCADE")
    return database_url


@pytest.fixture(scope="module")
def local(emptied, tmp_path_factory):
    """`crm dev`, on the tests' database, with its worker."""
    log = tmp_path_factory.mktemp("local") / "log"
    running = Server(emptied, log, command=("dev", "--no-demo"), **SETTINGS).start()
    yield running
    running.stop()


@pytest.fixture
def working(emptied, tmp_path):
    running = Server(emptied, tmp_path / "log", CRM_WORKER_INSIDE="true", **SETTINGS).start()
    yield running
    running.stop()


class TestLocally:
    def test_everything_works_by_the_keyboard(self, browse, local):
        seen = browse("local", local)
        assert "Nothing runs." in seen["empty"]
        assert '<b>&"x"' in seen["text"]
        assert seen["progress"] > 1
        assert seen["kept"], "the button lost the focus when the board was drawn anew"
        assert seen["notice"].startswith("Cancelled: echo ")
        assert seen["focus"] == "running"
        assert "asked to fail" in seen["error"]

    def test_only_a_second_click_cancels(self, browse, local):
        seen = browse("sure", local)
        assert seen["asked"].startswith("Really cancel?")
        assert (seen["untouched"], seen["cancelled"]) == ("QUEUED", "CANCELLED")

    def test_a_server_that_is_away_does_nothing_and_is_not_live(self, browse, local):
        seen = browse("away", local)
        assert "nothing was done" in seen["notice"]
        assert "cannot be reached" in seen["away"]
        assert "Live" not in seen["away"]
        assert seen["still"].startswith("Cancel")
        assert (seen["untouched"], seen["back"]) == ("QUEUED", "Live")

    def test_a_row_folds_out_and_stays_so_wherever_it_goes(self, browse, local):
        seen = browse("rows", local)
        assert "<img src=x onerror=alert(1)>" in seen["details"]
        assert seen["open"]
        assert seen["due"] == "4 Jan 2027, 15:00 GMT+9", "the time should be the reader's own"

    def test_tables_grow_and_priorities_change_in_place(self, browse, local):
        seen = browse("more", local)
        assert seen["before"][0] == 20
        assert "20 of" in seen["before"][1]
        assert seen["address"].endswith("?later=50")
        assert seen["priority"] == seen["focused"] == "HIGH"
        assert seen["notice"].startswith("Now high: echo ")

    def test_on_a_telephone_nothing_is_out_of_sight(self, browse, local):
        seen = browse("narrow", local)
        assert seen["wide"] == 390
        assert seen["places"]
        assert all(place["left"] >= 0 and place["right"] <= 390 and place["height"] >= 44 for place in seen["places"])
        assert seen["labels"] == ['"Goes on"', '"Status"']

    def test_without_scripts_it_can_be_read(self, browse, local):
        seen = browse("scriptless", local)
        assert seen["open"]
        assert seen["buttons"] == 0
        assert seen["priority"] == "Normal"


class TestWithAToken:
    def test_that_stays_in_memory_one_sees_who_one_is(self, browse, working):
        token = working.token()
        seen = browse("token", working, token)
        assert seen["before"] == seen["after"] == seen["left"] == ""
        assert "not a token" in seen["malformed"]
        assert token not in seen["stored"]
        assert seen["said"] == ""
        assert seen["scrolled"] == 0
        assert seen["who"] == "Signed in as Service (admin), admin"
        assert f"curl -X POST {working.url}/api/ai/tasks" in seen["command"]
        assert "Bearer $TOKEN" in seen["command"]
