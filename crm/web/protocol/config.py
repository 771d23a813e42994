"""Limits on connections (their number, sizes and times), and uvicorn's configuration with them."""

import resource
from dataclasses import dataclass, replace
from typing import Any, Self

import uvicorn

from crm.core.settings import Settings
from crm.web.protocol import bodies, unread

_SHORTEST_TICK = 0.02
_LONGEST_TICK = 0.5
# Connections to PostgreSQL and to models, files, and connections that are accepted only to be refused.
_OTHER_FILES = 800
_FEWEST = 100


@dataclass(frozen=True)
class ClientLimits:
    """The bounds of connections; `crm/core/settings/` describes each."""

    head_bytes: int = 64 * 1024
    head_seconds: float = 10
    body_seconds: float = 30
    stalled_seconds: float = 60
    body_bytes: int = bodies.DEFAULT_MOST
    unread_bytes: int = unread.DEFAULT_MOST
    connections: int = 5000
    drain_seconds: float = 3
    ping_seconds: float = 20

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The limits from the settings."""
        return cls(
            head_bytes=settings.max_head_bytes,
            head_seconds=settings.head_timeout_seconds,
            body_seconds=settings.body_timeout_seconds,
            stalled_seconds=settings.stalled_reader_seconds,
            body_bytes=settings.max_kept_body_bytes,
            unread_bytes=settings.max_unread_bytes,
            connections=settings.max_connections,
            drain_seconds=settings.drain_seconds,
            ping_seconds=settings.websocket_ping_seconds,
        )

    def within_open_files(self) -> Self:
        """Limit the connections to the open files of this process, after raising that limit as far as allowed."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = self.connections + _OTHER_FILES
        if soft != resource.RLIM_INFINITY and soft < wanted:
            soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            return replace(self, connections=min(self.connections, max(_FEWEST, soft - _OTHER_FILES)))
        return self

    @property
    def tick(self) -> float:
        """The seconds between two checks of connections: short enough for the shortest of the time limits."""
        shortest = min(self.head_seconds, self.body_seconds, self.stalled_seconds, self.ping_seconds)
        return min(_LONGEST_TICK, max(_SHORTEST_TICK, shortest / 10))


class Config(uvicorn.Config):
    """uvicorn's configuration, with this package's protocols and their limits."""

    def __init__(self, app: Any, *, limits: ClientLimits | None = None, **options: Any) -> None:
        from crm.web.protocol.http import Http  # noqa: PLC0415  (which needs this module)
        from crm.web.protocol.websocket import WebSocket  # noqa: PLC0415

        self.limits = limits or ClientLimits()
        super().__init__(
            app,
            http=Http,
            ws=WebSocket,
            ws_ping_interval=self.limits.ping_seconds,
            ws_ping_timeout=self.limits.ping_seconds,
            ws_per_message_deflate=False,  # a message of 1 KB could become one of 1 MB when it is read
            log_config=None,
            access_log=False,
            server_header=False,
            **options,
        )
