"""The page /console/ai-tasks over HTTP: its frame, and who gets its board."""

import re

import pytest

from tests.support.rest_client import ECHO, TASKS

from .conftest import PAGE, Elements


class TestPage:
    async def test_without_a_token_asks_for_one_and_shows_nothing(self, browser, api):
        await api.post(TASKS, json=ECHO)
        answer = await browser.get(PAGE)
        assert answer.status_code == 200
        assert '<main id="board" tabindex="-1"></main>' in answer.text
        assert "hidden" not in Elements(answer.text).of("form")[0]

    async def test_with_one_shows_the_board(self, api):
        answer = await api.get(PAGE)
        elements = Elements(answer.text)
        assert "hidden" in elements.of("form")[0]
        assert [one["id"] for one in elements.of("section")] == ["queue", "running", "waiting", "failed", "recent"]

    @pytest.mark.parametrize("path", ["/console", "/console/", f"{PAGE}/"])
    async def test_is_what_other_addresses_lead_to(self, browser, path):
        answer = await browser.get(path)
        assert (answer.is_redirect, answer.headers["location"]) == (True, PAGE)

    async def test_is_locked_down(self, browser):
        headers = (await browser.get(PAGE)).headers
        policy = dict(one.split(maxsplit=1) for one in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"

    async def test_has_no_script_or_style_of_its_own_and_names_no_other_host(self, api):
        await api.post(TASKS, json=ECHO)
        text = (await api.get(PAGE)).text
        elements = Elements(text)
        assert elements.of("style") == []
        assert [attrs["src"] for attrs in elements.of("script")] == ["/console/ai-tasks.js"]
        assert not [name for _, attrs in elements.found for name in attrs if name.startswith("on") or name == "style"]
        assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", text)

    async def test_its_files_are_there_and_name_no_other_host(self, browser):
        elements = Elements((await browser.get(PAGE)).text)
        addresses = [attrs["src"] for attrs in elements.of("script")] + [attrs["href"] for attrs in elements.of("link")]
        for address in addresses:
            answer = await browser.get(address)
            assert answer.status_code == 200
            assert "no-cache" in answer.headers["cache-control"]
            assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", answer.text)
            for path in re.findall(r"from '\./([^']+)'", answer.text):
                assert f"/console/{path}" in addresses, "the browser should not learn of it only from the script"


class TestWhoGetsTheBoard:
    async def test_nobody_without_a_token(self, browser):
        answer = await browser.get(f"{PAGE}/board")
        assert (answer.status_code, answer.headers["content-type"]) == (401, "text/plain; charset=utf-8")

    async def test_nobody_with_a_wrong_one_who_is_told_so_in_plain_words(self, browser):
        answer = await browser.get(f"{PAGE}/board", headers={"Authorization": "Bearer nonsense"})
        assert (answer.status_code, answer.text) == (401, "This token is wrong or has expired.")

    async def test_no_page_of_another_origin(self, api):
        answer = await api.get(f"{PAGE}/board", headers={"Origin": "https://evil.example"})
        assert (answer.status_code, "<" in answer.text) == (403, False)
