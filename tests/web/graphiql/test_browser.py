"""The page /graphql in a real browser: see browse.mjs."""

import re
from pathlib import Path

import pytest

from crm.web.graphiql.page import DIST
from tests.support import browser

_BUILT = pytest.mark.skipif(not DIST.exists(), reason="the page is not built: make graphiql")
pytestmark = [_BUILT, pytest.mark.usefixtures("db"), pytest.mark.waits(10)]


@pytest.fixture(scope="module")
def playing():
    """A browser for all scenes."""
    with browser.playing(Path(__file__).parent) as scene:
        yield scene


@pytest.fixture
def browse(playing, server):
    """Play a scene on `crm serve`; returns what was seen."""

    return lambda name, token: playing(name, server, token)


@pytest.fixture
def token(server):
    return server.token()


class TestPage:
    def test_that_needs_a_token_says_where_it_goes(self, browse, token):
        seen = browse("token", token)
        assert "crm token" in seen["hint"]
        assert seen["focused"] == "token"
        assert "You are signed out" in seen["signedOut"]
        assert "no blanks" in seen["malformed"]
        assert "Signed in as" in seen["who"]
        assert token not in seen["stored"]

    def test_shows_all_messages_of_a_subscription_within_bounds(self, browse, token):
        seen = browse("live", token)
        assert 0 < seen["both"].index("Åsa Två") < seen["both"].index("Åsa Ett")
        assert int(re.search(r'"received": (\d+)', seen["bounded"])[1]) == 112
        assert '"shown": 100' in seen["bounded"]
        assert "Fyra" not in seen["stopped"]

    def test_on_a_telephone_its_panes_are_on_top_of_each_other(self, browse, token):
        seen = browse("narrow", token)
        assert seen["wide"] == 390
        tops = [place["y"] for place in seen["places"]]
        assert tops == sorted(tops)
        assert all(place["x"] >= 0 and place["x"] + place["width"] <= 390 for place in seen["places"])
        assert all(place["height"] >= 180 for place in seen["places"][:-1])

    def test_of_1280_pixels_shows_the_examples_lines_whole(self, browse, token):
        assert browse("comments", token) == {"wrapped": []}
