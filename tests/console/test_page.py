"""The page /console/ai-tasks: over HTTP, and in a real browser."""

import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import httpx2
import pytest
from rest_client import ECHO, TASKS
from servers import Server

HERE = Path(__file__).parent
PAGE = "/console/ai-tasks"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


class Elements(HTMLParser):
    """Every element's name and attributes."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def of(self, name):
        return [attrs for tag, attrs in self.found if tag == name]


@pytest.fixture
def local(database_url, db, tmp_path):  # noqa: ARG001  (the local admin must outlive the emptying)
    """`crm dev`, on the tests' database, with its worker."""
    settings = {"CRM_WORKER_POLL_SECONDS": "0.1", "CRM_WORKER_GRACE_SECONDS": "0"}
    running = Server(database_url, tmp_path / "log", command=("dev", "--no-demo"), **settings).start()
    yield running
    running.stop()


@pytest.fixture
def working(database_url, db, tmp_path):  # noqa: ARG001
    settings = {"CRM_WORKER_INSIDE": "true", "CRM_WORKER_POLL_SECONDS": "0.1", "CRM_WORKER_GRACE_SECONDS": "0"}
    running = Server(database_url, tmp_path / "log", **settings).start()
    yield running
    running.stop()


@pytest.fixture
async def browser(server, db):  # noqa: ARG001
    async with httpx2.AsyncClient(base_url=server.url) as found:
        yield found


@pytest.fixture
async def api(server, db):  # noqa: ARG001
    headers = {"Authorization": f"Bearer {server.token()}"}
    async with httpx2.AsyncClient(base_url=server.url, headers=headers, timeout=30) as found:
        yield found


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
        assert "Nothing waits." in answer.text
        assert "curl -X POST" in answer.text

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

    async def test_a_page_of_another_origin_does_not_get_the_board(self, api):
        answer = await api.get(f"{PAGE}/board", headers={"Origin": "https://evil.example"})
        assert (answer.status_code, "<" in answer.text) == (403, False)


class TestBoard:
    async def test_needs_a_token(self, browser):
        answer = await browser.get(f"{PAGE}/board")
        assert (answer.status_code, answer.headers["content-type"]) == (401, "text/plain; charset=utf-8")
        wrong = await browser.get(f"{PAGE}/board", headers={"Authorization": "Bearer nonsense"})
        assert (wrong.status_code, wrong.text) == (401, "This token is wrong or has expired.")

    async def test_escapes_whatever_it_shows(self, api, make_lead, db):
        lead = make_lead(first_name=HOSTILE, company=HOSTILE)["id"]
        for status in ("queued", "running", "retrying", "failed", "completed"):
            task = (await api.post(TASKS, json={**ECHO, "leadId": lead, "agentId": HOSTILE[:90]})).json()
            db.execute(
                "UPDATE ai_tasks SET status = %s, error = %s, attempt = 1, started_at = now(), "
                "finished_at = CASE WHEN %s IN ('failed', 'completed') THEN now() END WHERE id = %s",
                (status, HOSTILE, status, task["id"]),
            )
        text = (await api.get(f"{PAGE}/board")).text
        elements = Elements(text)
        assert elements.of("script") == elements.of("img") == []
        assert not [name for _, attrs in elements.found for name in attrs if name.startswith("on")]
        assert text.count("&lt;script&gt;") >= 10

    async def test_shows_the_queue_by_status_and_priority(self, api):
        for priority in ("URGENT", "URGENT", "LOW"):
            await api.post(TASKS, json={**ECHO, "priority": priority})
        text = re.sub(r"<[^>]+>", " ", (await api.get(f"{PAGE}/board")).text)
        assert re.search(r"Waiting for the first attempt\s+3\s", text)
        assert re.search(r"Urgent\s+2\s+High\s+0\s+Normal\s+0\s+Low\s+1\s", text)

    async def test_a_viewer_gets_no_buttons(self, api, server, db):
        await api.post(TASKS, json=ECHO)
        db.execute("UPDATE ai_tasks SET created_by = (SELECT id FROM users WHERE email = 'service-viewer@crm.invalid')")
        answer = await api.get(f"{PAGE}/board", headers={"Authorization": f"Bearer {server.token('viewer')}"})
        assert "Next in line" in answer.text
        assert Elements(answer.text).of("button") == []


@pytest.fixture(scope="module")
def npm():
    """playwright-core, as the lock file has it."""
    if not Path(CHROMIUM).exists():
        pytest.skip("there is no chromium: apt-get install chromium")
    wanted = (HERE / "package-lock.json").read_text()
    installed = HERE / "node_modules" / ".installed"
    if not installed.exists() or installed.read_text() != wanted:
        command = [shutil.which("npm") or "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(command, cwd=HERE, check=True, timeout=110, stdout=subprocess.DEVNULL)
        installed.write_text(wanted)
    return HERE


def browse(npm, scene, server, **environment):
    done = subprocess.run(
        ["node", "browse.mjs", scene, server.url],
        cwd=npm,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class TestInABrowser:
    def test_locally_everything_by_the_keyboard(self, npm, local):
        seen = browse(npm, "local", local)
        assert "Nothing runs." in seen["empty"]
        assert '<b>&"x"' in seen["text"]
        assert seen["progress"] > 1
        assert seen["kept"], "the button lost the focus when the board was drawn anew"
        assert seen["notice"] == "Cancelled: echo."
        assert seen["focus"] == "running"
        assert "asked to fail" in seen["error"]

    def test_with_a_token_that_stays_in_memory(self, npm, working):
        token = working.token()
        seen = browse(npm, "token", working, CRM_TOKEN=token)
        assert seen["before"] == seen["after"] == seen["left"] == ""
        assert "not a token" in seen["malformed"]
        assert token not in seen["stored"]
