"""The playground's page and files, over HTTP, with a small build in place of the real one."""

import gzip
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from graphql import NonNullTypeNode, OperationDefinitionNode, parse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.testclient import TestClient

from crm.web.graphiql.page import DIST, Example, examples, page, routes

SCRIPT = "console.log('Åsa')\n" * 50
MANIFEST = {"icon": "icon-1.svg", "script": "main-1.js", "style": "page-1.css"}


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    (folder / "main-1.js").write_text(SCRIPT, "utf-8")
    (folder / "main-1.js.gz").write_bytes(gzip.compress(SCRIPT.encode()))
    (folder / "page-1.css").write_text("body { margin: 0 }")
    (folder / "icon-1.svg").write_text("<svg/>")
    return folder


@pytest.fixture
def client(dist: Path) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=routes(dist)), base_url="http://127.0.0.1:8000") as client:
        yield client


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[TestClient]:
    """A server on a machine that never built the page."""
    with TestClient(Starlette(routes=routes(tmp_path / "nowhere")), base_url="http://127.0.0.1:8000") as client:
        yield client


class Elements(HTMLParser):
    """Every element's name and attributes, and the text of the scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts += data

    def addresses(self) -> list[str]:
        return [value for _, attrs in self.found for name, value in attrs.items() if name in {"src", "href"} and value]


def policy_of(header: str) -> dict[str, set[str]]:
    return {name: set(values) for name, *values in (directive.split() for directive in header.split(";"))}


class TestPage:
    def test_loads_the_built_files(self, client: TestClient) -> None:
        answer = client.get("/graphql", headers={"Accept": "text/html"})
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        addresses = Elements(answer.text).addresses()
        assert sorted(addresses) == sorted(f"graphiql/{name}" for name in MANIFEST.values())
        for address in addresses:
            assert client.get(answer.url.join(address)).is_success

    def test_holds_the_examples_in_order(self, client: TestClient) -> None:
        tabs = json.loads(Elements(client.get("/graphql").text).scripts)
        assert [Example(**tab) for tab in tabs] == examples()

    def test_says_whether_a_token_is_needed(self, client: TestClient, dist: Path) -> None:
        assert 'id="graphiql" data-token="optional"' in client.get("/graphql").text
        request = Request({"type": "http", "method": "GET", "path": "/graphql", "headers": []})
        assert b'id="graphiql" data-token="needed"' in page(request, dist, needs_token=True).body

    def test_has_no_script_of_its_own(self, client: TestClient) -> None:
        elements = Elements(client.get("/graphql").text).found
        inline = [attrs for tag, attrs in elements if tag == "script" and "src" not in attrs]
        assert [attrs["type"] for attrs in inline] == ["application/json"]
        assert not [name for _, attrs in elements for name in attrs if name.startswith("on")]

    def test_names_no_other_host(self, client: TestClient) -> None:
        assert "//" not in client.get("/graphql").text

    @pytest.mark.parametrize("server", ["client", "bare"])
    def test_is_locked_down(self, server: str, request: pytest.FixtureRequest) -> None:
        headers = request.getfixturevalue(server).get("/graphql").headers
        policy = policy_of(headers["content-security-policy"])
        assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == {"'none'"}
        assert policy["script-src"] == policy["worker-src"] == policy["connect-src"] == {"'self'"}
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-cache"
        assert headers["vary"] == "Accept"

    def test_leaves_post_to_the_api(self, client: TestClient) -> None:
        assert client.post("/graphql", json={"query": "{ me { id } }"}).status_code == 405


class TestPageThatIsNotBuilt:
    def test_says_how_to_get_it(self, bare: TestClient) -> None:
        answer = bare.get("/graphql")
        assert answer.status_code == 200
        assert "make graphiql" in answer.text
        assert "Node.js 20" in answer.text

    def test_shows_a_request_that_can_be_copied(self, bare: TestClient) -> None:
        text = bare.get("/graphql").text
        assert "curl http://127.0.0.1:8000/graphql \\\n" in text
        assert '-H "Authorization: Bearer $(crm token)"' in text

    def test_loads_nothing(self, bare: TestClient) -> None:
        elements = Elements(bare.get("/graphql").text)
        assert elements.addresses() == ["data:,"]
        assert "script" not in {tag for tag, _ in elements.found}

    def test_trusts_no_host_header(self, bare: TestClient) -> None:
        assert "<img" not in bare.get("/graphql", headers={"Host": "<img src=x>"}).text

    def test_appears_once_it_is_built(self, bare: TestClient, tmp_path: Path, dist: Path) -> None:
        dist.rename(tmp_path / "nowhere")
        assert "main-1.js" in bare.get("/graphql").text


class TestAssets:
    @pytest.mark.parametrize(
        ("name", "media_type"),
        [
            ("main-1.js", "text/javascript; charset=utf-8"),
            ("page-1.css", "text/css; charset=utf-8"),
            ("icon-1.svg", "image/svg+xml"),
        ],
    )
    def test_have_their_type_and_may_be_kept(self, client: TestClient, name: str, media_type: str) -> None:
        answer = client.get(f"/graphiql/{name}")
        assert answer.headers["content-type"] == media_type
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["etag"]

    @pytest.mark.parametrize(("accepted", "encoding"), [("br, gzip", "gzip"), ("identity", None)])
    def test_are_compressed_for_who_can_read_it(self, client: TestClient, accepted: str, encoding: str | None) -> None:
        answer = client.get("/graphiql/main-1.js", headers={"Accept-Encoding": accepted})
        assert answer.headers.get("content-encoding") == encoding
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.text == SCRIPT

    @pytest.mark.parametrize("name", ["", "manifest.json", "main-1.js.gz", "main-2.js", f"{'a' * 5000}.js", "%00.js"])
    def test_are_nothing_else(self, client: TestClient, name: str) -> None:
        assert client.get(f"/graphiql/{name}").status_code == 404

    @pytest.mark.parametrize(
        "path",
        [
            "../secret.js",
            "%2e%2e/secret.js",
            "..%2fsecret.js",
            "%2e%2e%2fsecret.js",
            "..%5csecret.js",
            "x/../../secret.js",
        ],
    )
    def test_never_leave_their_folder(self, client: TestClient, dist: Path, path: str) -> None:
        (dist.parent / "secret.js").write_text("secret")
        assert client.get(f"/graphiql/{path}").status_code == 404

    def test_an_absolute_path_leads_nowhere(self, client: TestClient, dist: Path) -> None:
        assert client.get(f"/graphiql/{dist}/main-1.js").status_code == 404
        assert client.get(f"/graphiql/{str(dist).replace('/', '%2f')}%2fmain-1.js").status_code == 404

    def test_are_missing_when_not_built(self, bare: TestClient) -> None:
        assert bare.get("/graphiql/main-1.js").status_code == 404


def title(example: Example) -> str:
    """What GraphiQL writes on the example's tab."""
    name = operations(example)[0].name
    return name.value if name else "<untitled>"


def operations(example: Example) -> list[OperationDefinitionNode]:
    return [node for node in parse(example.query).definitions if isinstance(node, OperationDefinitionNode)]


class TestExamples:
    def test_are_the_tabs_a_new_user_sees(self) -> None:
        assert [title(example) for example in examples()] == [
            "Leads",
            "OneLead",
            "Search",
            "Paging",
            "Stats",
            "CreateLead",
            "Live",
            "Suggest",
            "Background",
            "Kanban",
            "LeadPage",
            "MyDay",
            "NewLead",
            "Answer",
        ]

    @pytest.mark.parametrize("example", examples(), ids=title)
    def test_begin_with_a_comment_and_fit_the_editor(self, example: Example) -> None:
        assert example.query.startswith("# ")
        assert max(map(len, example.query.splitlines())) <= 50

    @pytest.mark.parametrize("example", examples(), ids=title)
    def test_come_with_their_variables(self, example: Example) -> None:
        declared = [node for operation in operations(example) for node in operation.variable_definitions or ()]
        names = {node.variable.name.value for node in declared}
        required = {node.variable.name.value for node in declared if isinstance(node.type, NonNullTypeNode)}
        assert required <= set(json.loads(example.variables or "{}")) <= names


@pytest.mark.skipif(not DIST.exists(), reason="the page is not built: make graphiql")
class TestBuild:
    def test_page_finds_its_files(self) -> None:
        with TestClient(Starlette(routes=routes())) as client:
            answer = client.get("/graphql")
            for address in Elements(answer.text).addresses():
                assert client.get(answer.url.join(address)).headers["content-encoding"] == "gzip"

    def test_styles_load_nothing_from_elsewhere(self) -> None:
        styles = "".join(file.read_text("utf-8") for file in DIST.glob("*.css"))
        assert styles
        assert not re.findall(r"""(?:url\(|@import)\s*["']?(?:https?:)?//[^)"']*""", styles)
