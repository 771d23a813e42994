"""GET /graphql in a browser: GraphiQL with example queries in its tabs, or how to get it."""

import html
import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from string import Template

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import BaseRoute, Route

HERE = Path(__file__).parent
DIST = HERE / "dist"
EXAMPLES = HERE / "examples"

# Not from `mimetypes`, which believes what a machine's registry says of .js.
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

# GraphiQL's editor writes <style> elements and its style sheet holds fonts as data URLs; scripts come as files only.
# 'self' covers the WebSocket to this very address (CSP 3); `ws:` would allow one to anywhere.
POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; "
    "style-src 'self' 'unsafe-inline'; font-src data:; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
PAGE_HEADERS = {
    **SECURITY,
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-cache",
    "Vary": "Accept",
}
ASSET_HEADERS = {
    **SECURITY,
    "Content-Security-Policy": "default-src 'none'",  # a worker has the policy of its own file
    "Cache-Control": "public, max-age=31536000, immutable",  # the build puts a hash of the content in each name
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True)
class Example:
    """A tab of the page; its title is the name of its first operation."""

    query: str
    variables: str | None = None


def examples(folder: Path = EXAMPLES) -> list[Example]:
    """The example queries, in the order of the numbers in their file names."""
    return [_example(file) for file in sorted(folder.glob("*.graphql"), key=lambda file: int(file.stem.split("-")[0]))]


def routes(dist: Path = DIST) -> list[BaseRoute]:
    """The routes of the page and of the files that it loads."""
    return [
        Route("/graphql", partial(page, dist=dist), name="graphiql"),
        *asset_routes(dist),
    ]


def asset_routes(dist: Path = DIST) -> list[BaseRoute]:
    """The routes of the files only, for an application that dispatches GET /graphql to `page` itself."""
    return [Route("/graphiql/{name}", partial(asset, dist=dist), name="graphiql-asset")]


def page(request: Request, dist: Path = DIST, *, needs_token: bool = False) -> Response:
    """GraphiQL, with a field for a token if one is needed; or a page that says how to build it."""
    try:
        manifest = json.loads((dist / "manifest.json").read_text())
    except FileNotFoundError:
        return _html("missing.html", url=html.escape(f"{request.base_url}graphql"))
    return _html(
        "page.html",
        token="needed" if needs_token else "optional",
        examples=_json_for_html([asdict(example) for example in examples()]),
        **manifest,
    )


def asset(request: Request, dist: Path = DIST) -> Response:
    """A built file, compressed if the browser can read that."""
    # A name that is not in this list leads nowhere, whatever dots and slashes it has.
    files = {file.name: file for file in dist.glob("*")}
    file = files.get(request.path_params["name"])
    if file is None or file.suffix not in MEDIA_TYPES:
        raise HTTPException(404)
    zipped = files.get(f"{file.name}.gz")
    if zipped is None or "gzip" not in request.headers.get("Accept-Encoding", ""):
        return FileResponse(file, media_type=MEDIA_TYPES[file.suffix], headers=ASSET_HEADERS)
    headers = ASSET_HEADERS | {"Content-Encoding": "gzip"}
    return FileResponse(zipped, media_type=MEDIA_TYPES[file.suffix], headers=headers)


def _example(file: Path) -> Example:
    variables = file.with_suffix(".json")
    return Example(
        query=file.read_text("utf-8"),
        variables=variables.read_text("utf-8").rstrip() if variables.exists() else None,
    )


def _html(template: str, **values: str) -> Response:
    text = Template((HERE / template).read_text("utf-8")).substitute(values)
    return HTMLResponse(text, headers=PAGE_HEADERS)


def _json_for_html(value: object) -> str:
    """JSON that cannot end the <script> element that contains it."""
    return json.dumps(value).replace("<", "\\u003c")
