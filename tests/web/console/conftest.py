"""The page's board over HTTP, and tasks in whatever state."""

import re
from html import unescape
from html.parser import HTMLParser

import pytest

from tests.support.http_client import AsyncClient

PAGE = "/console/ai-tasks"
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


class Board:
    """A board, as one reads it."""

    def __init__(self, html):
        self.html = html
        self.text = text_of(html)
        self.elements = Elements(html)
        self.sections = dict(re.findall(r'<section id="(\w+)">(.*?)</section>', html, re.DOTALL))

    def says(self, section):
        return text_of(self.sections[section])

    def rows(self, section):
        return re.findall(r'<tbody id="task-([-0-9a-f]+)"', self.sections[section])

    def row(self, key):
        (found,) = re.findall(rf'<tbody id="task-{key}".*?</tbody>', self.html, re.DOTALL)
        return text_of(found)

    def buttons(self, section):
        return [text_of(one) for one in re.findall(r"<button.*?</button>", self.sections[section], re.DOTALL)]


def text_of(html):
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


@pytest.fixture
async def browser(server, db):  # noqa: ARG001
    async with AsyncClient(base_url=server.url) as found:
        yield found


@pytest.fixture
async def api(server, db):  # noqa: ARG001
    headers = {"Authorization": f"Bearer {server.token()}"}
    async with AsyncClient(base_url=server.url, headers=headers, timeout=30) as found:
        yield found


@pytest.fixture
def look(browser, server):
    """Look at the board, as an admin unless said otherwise."""

    async def at(role="admin", **asked):
        headers = {"Authorization": f"Bearer {server.token(role)}"}
        answer = await browser.get(f"{PAGE}/board", params=asked, headers=headers)
        assert answer.status_code == 200, answer.text
        return Board(answer.text)

    return at


@pytest.fixture
def put(db):
    """Put tasks into the table, an admin's unless said otherwise; times are seconds before now."""

    def into(status, *, count=1, role="admin", due=0, started=None, finished=None, **values):
        columns = {"status": status, "task_type": "echo", **values}
        times = {"due_at": due, "started_at": started, "stopped_at": finished, "finished_at": finished}
        moments = ", ".join("now() - make_interval(secs => %s)" for _ in times)
        rows = db.execute(
            f"INSERT INTO ai_tasks (id, job_id, created_by, {', '.join([*columns, *times])}) "
            f"SELECT gen_random_uuid(), number, (SELECT id FROM users WHERE email = %s), "
            f"{', '.join('%s' for _ in columns)}, {moments} FROM generate_series(1, %s) number RETURNING id",
            [f"service-{role}@crm.invalid", *columns.values(), *times.values(), count],
        ).fetchall()
        keys = [str(row["id"]) for row in rows]
        return keys[0] if count == 1 else keys

    return into
