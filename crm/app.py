"""The Starlette application: routes, lifespan."""

import asyncio
import contextlib
import gc
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from types import FrameType
from typing import Any, Final
from uuid import UUID

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from crm.access.tokens import Tokens
from crm.advice.recommendations.playbook import playbook
from crm.advice.summaries.composer import composer
from crm.ai.build import build as build_ai
from crm.ai_tasks.builtin_types import limit_echo
from crm.ai_tasks.runner import Sweeper
from crm.core import errors
from crm.core.identity import Role, Viewer
from crm.core.logs import configure as configure_logs
from crm.core.memory import give_back_large_blocks
from crm.core.settings import Settings, settings
from crm.core.stop_signals import stop_signals
from crm.db.database import Database
from crm.graph.federation import subgraph
from crm.graph.run.engine import Engine
from crm.graph.run.warming import warm_up
from crm.jobs import WorkerContext
from crm.schema import schema
from crm.web.authentication import LocalAuthenticator, TokenAuthenticator
from crm.web.console.page import Console
from crm.web.graphiql.page import asset_routes, page
from crm.web.graphql.http import GraphQLHTTP
from crm.web.graphql.persisted import PersistedDocuments
from crm.web.graphql.websocket import GraphQLWebSocket
from crm.web.http_io import Receive, Scope, Send
from crm.web.rest.http import Rest
from crm.web.rest.table import ENDPOINTS
from crm.web.rest.websocket import AiTaskWebSocket

# How long the event loop waits for the interpreter lock while the side thread computes: it gives the lock up at each
# system call. With Python's own 5 ms half as many requests were served during a long compilation.
_TURN_SECONDS: Final = 0.0005
# Stops a background task of this process, and waits for its end.
StopBackground = Callable[[], Awaitable[None]]
_UNCACHED = {"cache-control": "no-store"}


class App:
    """Serves GraphQL at /graphql and REST under /api directly, and everything else through Starlette."""

    def __init__(self, config: Settings, *, local_admin: UUID | None = None) -> None:
        assert config.database_url is not None
        secret = config.secret_key.get_secret_value() if config.secret_key else ""
        origins = _origins(config)
        self._config = config
        self.database = Database.for_viewers(config)
        limit_echo(config.ai_task_echo_seconds)
        tokens = Tokens(secret, self.database)
        self.ai = build_ai(config, self.database)
        self.engine = Engine(subgraph(schema) if config.federation else schema, self.database, config, self.ai)
        authenticator = (
            LocalAuthenticator(tokens, origins, Viewer(local_admin, Role.ADMIN))
            if local_admin
            else TokenAuthenticator(tokens, origins)
        )
        documents = PersistedDocuments.read(config.document_files, only=config.trusted_documents)
        self._graphql = GraphQLHTTP(self.engine, authenticator, documents)
        self._rest = Rest(self.engine, authenticator, ENDPOINTS)
        self._sockets: dict[str, GraphQLWebSocket | AiTaskWebSocket] = {
            "/graphql": GraphQLWebSocket(self.engine, authenticator, documents),
            "/ws/ai-tasks": AiTaskWebSocket(self.engine, authenticator),
        }
        self._console = Console(self.engine, authenticator)
        self._authenticator = authenticator
        self._pages = self._starlette()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and scope["path"] == "/graphql" and not _wants_page(scope):
            await self._graphql(scope, receive, send)
        elif scope["type"] == "websocket" and scope["path"] in self._sockets:
            await self._sockets[scope["path"]](scope, receive, send)
        elif scope["type"] == "http" and _is_rest(scope["path"]):
            await self._rest(scope, receive, send)
        else:
            await self._pages(scope, receive, send)

    def _starlette(self) -> Starlette:
        pages = Starlette(
            routes=[
                Route("/", _start, methods=["GET"]),
                Route("/healthz", _alive, methods=["GET"]),
                Route("/readyz", _ready, methods=["GET"]),
                Route("/graphql", self._page, methods=["GET"]),
                Route("/graphql/", _without_slash, methods=["GET", "POST", "QUERY"]),
                *asset_routes(),
                *self._console.routes(),
            ],
            lifespan=self._lifespan,
        )
        # Starlette's redirect would repeat the scheme and the host that the client sent, in `Location`.
        pages.router.redirect_slashes = False
        return pages

    async def _page(self, request: Request) -> object:
        """GraphiQL: it asks for a token unless requests are answered as they come, as in `crm dev`."""
        with contextlib.suppress(errors.Unavailable):  # the page says so when it asks for something
            try:
                await self._authenticator.viewer(dict(request.scope["headers"]))
            except errors.Unauthenticated:
                return page(request, needs_token=True)
        return page(request)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        warm_up(self.engine)
        playbook()
        composer()
        _settle_garbage_collector()
        give_back_large_blocks()
        sys.setswitchinterval(_TURN_SECONDS)
        self.engine.feed.start()
        context = WorkerContext(self.database, self.engine.feed, self._config, self.ai)
        background = self._work_inside(context) if self._config.worker_inside else self._sweep(context)
        try:
            yield
        finally:
            await background()
            await self.engine.subscriptions.stop()
            await self.engine.feed.stop()
            await self.ai.close()
            self.database.close()

    @staticmethod
    def _work_inside(context: WorkerContext) -> StopBackground:
        """Run a worker in this process: for one machine, where a second process is more trouble than it is worth."""
        from crm.background import make  # noqa: PLC0415  (a process without a worker need not import procrastinate)

        worker = make(context)
        running = asyncio.create_task(worker.run())
        _on_signal(worker.stop)  # with the last requests, not after them

        async def end() -> None:
            worker.stop()
            await running

        return end

    @staticmethod
    def _sweep(context: WorkerContext) -> StopBackground:
        """Put AI tasks of dead workers back into the queue: no worker may be left to do so."""
        sweeping = asyncio.create_task(Sweeper(context).sweep_always())

        async def end() -> None:
            sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sweeping

        return end


def _on_signal(stop: Callable[[], None]) -> None:
    """Call `stop` as well when the process is asked to stop; handlers set before are still called."""
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in stop_signals():
        before = signal.getsignal(number)

        def both(number: int, frame: FrameType | None, before: Any = before) -> None:
            loop.call_soon_threadsafe(stop)
            if callable(before):
                before(number, frame)

        signal.signal(number, both)


def _settle_garbage_collector() -> None:
    """Keep the collector from walking the objects made at start-up (schema, models): they stay for ever."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def create() -> ASGIApp:
    """Make the application: the factory that uvicorn's workers call."""
    config = settings()
    configure_logs(config)
    return _with_cors(App(config, local_admin=config.local_admin), _origins(config))


def _origins(config: Settings) -> frozenset[str]:
    return frozenset(origin.strip().rstrip("/") for origin in config.cors_origins.split(",") if origin.strip())


def _with_cors(app: ASGIApp, origins: frozenset[str]) -> ASGIApp:
    """Let pages of these origins call the API, and read its answers, errors too."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=sorted(origins),
        allow_methods=["GET", "HEAD", "POST", "PUT", "QUERY"],
        allow_headers=["authorization", "content-type", "x-allow-stale", "x-cost", "if-none-match"],
        expose_headers=["www-authenticate", "location", "deprecation", "link", "retry-after", "etag"],
    )


async def _start(_: Request) -> object:
    return RedirectResponse("/graphql")


async def _without_slash(request: Request) -> object:
    """Redirect to /graphql, by path alone; with 308 the client repeats its method and body."""
    return RedirectResponse(f"/graphql?{request.url.query}".rstrip("?"), status_code=308, headers=_UNCACHED)


async def _alive(_: Request) -> object:
    """The process answers."""
    return JSONResponse({"status": "ok"}, headers=_UNCACHED)


async def _ready(request: Request) -> object:
    """Whether a load balancer may send requests here: not once the process was told to stop."""
    if request.scope["state"].get("draining"):
        return JSONResponse({"status": "stopping"}, status_code=503, headers=_UNCACHED)
    return JSONResponse({"status": "ok"}, headers=_UNCACHED)


def _is_rest(path: str) -> bool:
    """Whether a path is meant for REST: a misspelt one gets REST's kind of error."""
    return path.lstrip("/").startswith("api")


def _wants_page(scope: Scope) -> bool:
    if scope["method"] not in ("GET", "HEAD"):
        return False
    accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
    return b"text/html" in accept
