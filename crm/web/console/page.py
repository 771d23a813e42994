"""The page /console/ai-tasks: its frame, its board, and the files it loads."""

from functools import partial
from pathlib import Path
from string import Template
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from crm.core import errors
from crm.core.identity import Viewer
from crm.graph.run.answers import rendered
from crm.graph.run.engine import Engine
from crm.graph.run.stored_operations import StoredOperations
from crm.web.console.board import Visit, broken, drawn
from crm.web.console.markup import Markup
from crm.web.console.view_state import PAGE, ViewState
from crm.web.http_io import Authenticator

HERE: Final = Path(__file__).parent
# 'self' covers the WebSocket to this very address (CSP 3). Scripts and styles come only from this server's files.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PAGE_HEADERS: Final = {**SECURITY, "Cache-Control": "no-store"}
_FILE_HEADERS: Final = {**SECURITY, "Cache-Control": "no-cache"}
_FILES: Final = {
    "/console/ai-tasks.css": ("ai_tasks.css", "text/css"),
    "/console/ai-tasks.js": ("ai_tasks.js", "text/javascript"),
    "/console/align.js": ("align.js", "text/javascript"),
    "/console/icon.svg": ("icon.svg", "image/svg+xml"),
}
_TURNED_AWAY: Final = "This token is wrong or has expired."


class Console:
    """The board's page, for browsers."""

    def __init__(self, engine: Engine, authenticator: Authenticator) -> None:
        self._engine = engine
        self._authenticator = authenticator
        self._board = StoredOperations.read(HERE / "ai_tasks.graphql")["AiTaskBoard"].checked(engine)
        self._frame = Template((HERE / "ai_tasks.html").read_text("utf-8"))

    def routes(self) -> list[BaseRoute]:
        """The routes of the page, its board, and its files."""
        return [
            Route(PAGE, self.page, methods=["GET"]),
            Route(f"{PAGE}/board", self.board, methods=["GET"]),
            *(Route(path, _to_the_page, methods=["GET"]) for path in ("/console", "/console/", f"{PAGE}/")),
            *(Route(path, partial(_file, *file), methods=["GET"]) for path, file in _FILES.items()),
        ]

    async def page(self, request: Request) -> Response:
        """The whole page: with the board if the request needs no token, else with a form for the token."""
        headers = dict(request.scope["headers"])
        try:
            self._authenticator.check_origin(headers)
            viewer = await self._authenticator.viewer(headers)
        except errors.Unauthenticated:
            return self._framed(Markup(), is_open=False)
        except errors.CrmError as error:
            return self._framed(broken([rendered(error)]), is_open=False, status=error.status)
        _, board = await self._drawn(request, viewer)
        return self._framed(board, is_open=True)

    async def board(self, request: Request) -> Response:
        """The board alone, with which the page replaces an older one."""
        headers = dict(request.scope["headers"])
        try:
            self._authenticator.check_origin(headers)
            viewer = await self._authenticator.viewer(headers)
        except errors.Unauthenticated as error:
            return PlainTextResponse(_TURNED_AWAY, error.status, headers=_PAGE_HEADERS)
        except errors.CrmError as error:
            return PlainTextResponse(error.message, error.status, headers=_PAGE_HEADERS)
        status, board = await self._drawn(request, viewer)
        return HTMLResponse(board, status, headers=_PAGE_HEADERS)

    async def _drawn(self, request: Request, viewer: Viewer) -> tuple[int, Markup]:
        view_state = ViewState.of(request.query_params)
        answer = await self._engine.run(self._board.named.request(view_state.variables()), viewer)
        if answer.problems:
            code = errors.ErrorCode[answer.problems[0]["extensions"]["code"]]
            return code.status, broken(answer.problems)
        visit = Visit(f"{request.url.scheme}://{request.url.netloc}", "authorization" in request.headers)
        return 200, drawn(answer, viewer, view_state, visit)

    def _framed(self, board: Markup, *, is_open: bool, status: int = 200) -> Response:
        values = {"board": board, "state": "open" if is_open else "closed", "sign_in_hidden": " hidden" * is_open}
        return HTMLResponse(self._frame.substitute(values), status, headers=_PAGE_HEADERS)


async def _to_the_page(_: Request) -> Response:
    return RedirectResponse(PAGE)


def _file(name: str, media_type: str, _: Request) -> Response:
    return FileResponse(HERE / name, media_type=media_type, headers=_FILE_HEADERS)
