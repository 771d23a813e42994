"""PostgreSQL: where it is, the connections to it, and how long they may be kept busy."""

import re
from typing import Annotated, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, BaseModel, Field

# The hosts that are not the rest of a password with an unescaped `@` or `/`: see `PostgresUrl.parsed`.
_HOSTS: Final = re.compile(r"[\w./:%,\-\[\]]*")
_PORTS: Final = re.compile(r"[0-9,]*")
_ESCAPED: Final = "in user and password, write `@` as %40, `/` as %2F, `%` as %25 and a blank as %20"


class PostgresUrl(str):
    """The URL of a database. It holds a password, so its repr, in tracebacks and logs and errors, does not show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        """A constant, without any part of the URL."""
        return "Address('**********')"

    @classmethod
    def parsed(cls, url: str) -> "PostgresUrl":
        """The URL; one that libpq cannot read, or would misread, is refused without being quoted."""
        if url and not url.startswith(("postgresql://", "postgres://")):
            msg = "must start with postgresql://; this runs on PostgreSQL only"
            raise ValueError(msg)
        try:
            parts = conninfo_to_dict(url)
        except psycopg.Error:
            msg = f"is not an address like postgresql://user:password@host:5432/crm ({_ESCAPED})"
            raise ValueError(msg) from None
        if not (_HOSTS.fullmatch(str(parts.get("host", ""))) and _PORTS.fullmatch(str(parts.get("port", "")))):
            msg = f"has a host or a port that is none ({_ESCAPED})"
            raise ValueError(msg)
        return cls(url)


DatabaseUrl = Annotated[str, AfterValidator(PostgresUrl.parsed)]


class DatabaseSettings(BaseModel):
    """PostgreSQL: where it is, the connections to it, and how long they may be kept busy."""

    database_url: DatabaseUrl | None = Field(
        default=None,
        validation_alias="DATABASE_URL",
        description="PostgreSQL 15-18; without it `crm dev` starts its own.",
    )
    database_read_url: DatabaseUrl | None = Field(
        default=None,
        validation_alias="DATABASE_READ_URL",
        description="A replica for reads; used only when a client sends `X-Allow-Stale: true`.",
    )
    database_listen_url: DatabaseUrl | None = Field(
        default=None,
        validation_alias="DATABASE_LISTEN_URL",
        description="A direct connection for LISTEN, when DATABASE_URL goes through a pooler.",
    )
    pool_size: int = Field(default=10, ge=1, le=500, description="Connections to PostgreSQL per process.")
    prepared_max: int = Field(
        default=500,
        ge=0,
        le=10_000,
        description="Prepared statements per connection; 0 for poolers that cannot keep them.",
    )
    prepared_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=0,
        description="About how much of PostgreSQL's memory the prepared statements of one connection may take.",
    )
    pool_idle_seconds: float = Field(
        default=60, ge=0, le=86_400, description="A connection that nobody used for so long is closed; 0: never."
    )
    viewer_connections: int = Field(
        default=3, ge=1, le=500, description="Connections of one user while others wait; alone, a user may have all."
    )
    slow_reads: int = Field(
        default=3,
        ge=1,
        le=500,
        description="Connections with reads of over half a second, and as many with such writes, while others wait.",
    )
    connect_timeout_seconds: float = Field(default=5, gt=0, le=60, description="How long to wait for a connection.")
    read_timeout_seconds: float = Field(
        default=10, gt=0, le=3600, description="How long one read may keep PostgreSQL; then it is cancelled: TIMEOUT."
    )
    mutation_read_timeout_seconds: float = Field(
        default=2,
        gt=0,
        le=3600,
        description="How long a mutation may read what it shows; then it is undone: TIMEOUT. Everybody's live changes "
        "wait for it.",
    )
    mutation_timeout_seconds: float = Field(
        default=5,
        ge=0,
        le=3600,
        description="How long one transaction of a user's may last before its commit, waiting for others included; "
        "then it is undone: CONFLICT. Everybody's live changes wait for it. 0: as long as the request.",
    )
    read_max_lag_seconds: float | None = Field(
        default=None,
        gt=0,
        description="A replica that is further behind is not asked: the primary answers. Without it, any is.",
    )
    event_retention_days: int = Field(default=400, ge=1, description="Older events are removed.")
