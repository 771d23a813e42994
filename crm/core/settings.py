"""Every setting of the program, read from the environment once."""

import re
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class AiProvider(StrEnum):
    """Who answers the CRM's questions."""

    AUTO = "auto"
    OPENROUTER = "openrouter"
    OPENAI = "openai"
    PLAYBOOK = "playbook"


class AiFallback(StrEnum):
    """Who answers when the provider cannot."""

    NONE = "none"
    PLAYBOOK = "playbook"


# The smallest current model: openai/types/shared/chat_model.py names no shutdown date for it (a test looks there).
_DEFAULT_MODEL: Final = "gpt-6-luna"


# What is left of a password with an unescaped `@` or `/` is not printed either: see `Address.parsed`.
_HOSTS: Final = re.compile(r"[\w./:%,\-\[\]]*")
_PORTS: Final = re.compile(r"[0-9,]*")
_ESCAPED: Final = "in user and password, write `@` as %40, `/` as %2F, `%` as %25 and a blank as %20"


class PostgresUrl(str):
    """Where a database is. It holds a password, so it does not show in tracebacks, logs and other settings' errors."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Nothing of it."""
        return "Address('**********')"

    @classmethod
    def parsed(cls, given: str) -> "PostgresUrl":
        """The address; what libpq cannot read, or would read amiss, is refused without being quoted."""
        if given and not given.startswith(("postgresql://", "postgres://")):
            msg = "must start with postgresql://; this runs on PostgreSQL only"
            raise ValueError(msg)
        try:
            parts = conninfo_to_dict(given)
        except psycopg.Error:
            msg = f"is not an address like postgresql://user:password@host:5432/crm ({_ESCAPED})"
            raise ValueError(msg) from None
        if not (_HOSTS.fullmatch(str(parts.get("host", ""))) and _PORTS.fullmatch(str(parts.get("port", "")))):
            msg = f"has a host or a port that is none ({_ESCAPED})"
            raise ValueError(msg)
        return cls(given)


DatabaseUrl = Annotated[str, AfterValidator(PostgresUrl.parsed)]


class Settings(BaseSettings):
    """Each field is an environment variable; the description says what it does."""

    model_config = SettingsConfigDict(
        env_prefix="CRM_", extra="ignore", populate_by_name=True, hide_input_in_errors=True
    )

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
    local_admin: UUID | None = Field(default=None, description="Set by `crm dev`: who a request without a token is.")
    database_listen_url: DatabaseUrl | None = Field(
        default=None,
        validation_alias="DATABASE_LISTEN_URL",
        description="A direct connection for LISTEN, when DATABASE_URL goes through a pooler.",
    )
    secret_key: SecretStr | None = Field(
        default=None, description="Signs tokens; 32 characters or more. Needed by `crm serve`."
    )
    data_dir: Path = Field(default=Path(".data"), description="Where `crm dev` keeps its embedded PostgreSQL.")
    cors_origins: str = Field(
        "",
        description="Browser origins that may call the API, separated by commas; none by default.",
    )
    introspection: bool = Field(default=True, description="Whether clients may ask the API for its schema.")
    log_format: str = Field(default="auto", description="`json`, `text`, or `auto`: text on a terminal.")
    log_level: str = Field(default="info", description="`debug`, `info`, `warning` or `error`.")

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
    plan_cache_bytes: int = Field(default=64 * 1024 * 1024, ge=0, description="Memory for compiled operations.")
    request_timeout_seconds: float = Field(default=30, gt=0, le=3600, description="A request's deadline.")
    connect_timeout_seconds: float = Field(default=5, gt=0, le=60, description="How long to wait for a connection.")
    max_answer_bytes: int = Field(
        default=8 * 1024 * 1024,
        ge=1024,
        description="The largest answer. While it is made, PostgreSQL holds it up to seven times, a process four.",
    )
    large_answer_bytes: int = Field(
        default=1024 * 1024,
        ge=1024,
        description="Answers from this size on queue for a few slots.",
    )
    large_answers: int = Field(default=4, ge=1, le=100, description="How many large answers may be under way at once.")

    max_body_bytes: int = Field(default=256 * 1024, ge=1024, description="The largest request body.")
    max_bulk_body_bytes: int = Field(
        default=2 * 1024 * 1024, ge=1024, description="The same for mutations of many records, like `createLeads`."
    )
    max_head_bytes: int = Field(
        default=64 * 1024, ge=4096, description="A request's line and headers together; larger ones get 431."
    )
    head_timeout_seconds: float = Field(
        default=10,
        gt=0,
        le=600,
        description="A connection's first request, or one that has begun, sends its head in this.",
    )
    body_timeout_seconds: float = Field(
        default=30, gt=0, le=3600, description="A request's body must have come this long after its head."
    )
    stalled_reader_seconds: float = Field(
        default=60, gt=0, le=3600, description="A client that takes nothing of its answer for so long is dropped."
    )
    max_kept_body_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1024 * 1024,
        description="What a process keeps of request bodies that are not answered yet, and of WebSocket messages that "
        "are not whole yet, one user at most half of it. Beyond it the one that has been coming for the longest time "
        "gets 503 (a WebSocket: 1013).",
    )
    max_unread_bytes: int = Field(
        default=128 * 1024 * 1024,
        ge=1024 * 1024,
        description="What a process keeps of answers that their clients do not read; beyond it the client that has not "
        "read for the longest time is dropped. Answers that are being made come on top.",
    )
    max_connections: int = Field(
        default=5000,
        ge=10,
        description="Open connections per process, WebSockets included; more get 503. "
        "The limit of open files (`ulimit -n`) is raised to fit, or lowers this.",
    )
    drain_seconds: float = Field(
        default=3,
        ge=0,
        le=600,
        description="After SIGTERM: how long idle connections may send one more request (its answer says "
        "`Connection: close`) before they are closed. `crm dev` waits for none.",
    )
    max_depth: int = Field(default=12, ge=1, description="How deep a selection may nest.")
    max_introspection_depth: int = Field(default=20, ge=1, description="The same for `__schema` and `__type`.")
    max_fields: int = Field(default=500, ge=1, description="Fields per operation, fragments expanded.")
    max_aliases: int = Field(default=30, ge=1, description="Aliases per operation, fragments expanded.")
    max_directives: int = Field(default=50, ge=0, description="Directives per operation.")
    max_operations: int = Field(default=50, ge=1, description="Operations per document.")
    max_fragments: int = Field(default=50, ge=0, description="Named fragments per document.")
    max_tokens: int = Field(default=4000, ge=10, description="Lexical tokens per document.")
    max_cost: int = Field(
        default=10_000,
        ge=1,
        description="Cost points per operation: roughly the records it may touch.",
    )
    max_validation_errors: int = Field(default=5, ge=1, le=100, description="Validation errors shown at once.")

    worker_concurrency: int = Field(default=10, ge=1, le=200, description="Jobs that a worker runs at once.")
    worker_grace_seconds: float = Field(
        default=30, ge=0, le=3600, description="How long a worker that is to stop lets its jobs run; then they go back."
    )
    worker_poll_seconds: float = Field(
        default=0.5,
        ge=0.05,
        le=60,
        description="How often a worker looks for jobs that became due, or whose wake-up was lost.",
    )
    worker_heartbeat_seconds: float = Field(default=2, ge=0.1, le=60, description="How often a worker says it lives.")
    worker_stalled_seconds: float = Field(
        default=10, ge=0.5, le=600, description="After this long without a heartbeat a worker's jobs run elsewhere."
    )
    worker_inside: bool = Field(default=False, description="Run a worker inside the API's process; `crm dev` does.")

    ai_task_lease_seconds: float = Field(
        default=10, ge=0.5, le=600, description="A worker that says nothing for so long loses the AI tasks it runs."
    )
    ai_task_aging_seconds: float = Field(
        default=600, ge=1, le=86400, description="No AI task waits longer than this behind more urgent ones."
    )
    ai_task_echo_seconds: float = Field(
        default=5, ge=0, le=3600, description="The longest `echo`: it holds a worker's slot; `crm dev` allows an hour."
    )
    ai_task_retention_days: int = Field(
        default=7, ge=1, le=3650, description="Finished AI tasks go after this; their totals stay, day by day."
    )

    recalculation_pause_seconds: float = Field(
        default=60,
        ge=0,
        le=86400,
        description="Between two recalculations of all scores that users ask for; scores follow what happens anyhow.",
    )
    event_retention_days: int = Field(default=400, ge=1, description="Older events are removed.")
    websocket_init_seconds: float = Field(
        default=10,
        gt=0,
        description="A WebSocket must send `connection_init` within this time.",
    )
    websocket_ping_seconds: float = Field(
        default=20,
        gt=0,
        le=600,
        description="A WebSocket is pinged this often, and dropped when no answer comes for as long again.",
    )
    websocket_buffer_bytes: int = Field(
        default=1024 * 1024,
        ge=4096,
        description="What may wait for a slow reader of `/ws/ai-tasks`; one who is further behind is dropped.",
    )
    websocket_operations: int = Field(default=100, ge=1, description="Operations at once on one WebSocket.")
    max_subscription_bytes: int = Field(
        default=128 * 1024 * 1024,
        ge=1024 * 1024,
        description="Memory for the subscriptions of a process, half of it for one user: about 30 KB for each that "
        "differs from all others by its document or its variables. Beyond it a subscription is refused.",
    )

    openrouter_api_key: SecretStr | None = Field(
        default=None, validation_alias="OPENROUTER_API_KEY", description="Asks models through OpenRouter."
    )
    openai_api_key: SecretStr | None = Field(
        default=None, validation_alias="OPENAI_API_KEY", description="Asks OpenAI, or the server at OPENAI_BASE_URL."
    )
    openai_base_url: str = Field(
        default="https://api.openai.com/v1",
        validation_alias="OPENAI_BASE_URL",
        description="Any server that speaks OpenAI's Chat Completions.",
    )
    ai_provider: AiProvider = Field(
        default=AiProvider.AUTO,
        description="`openrouter`, `openai`, `playbook`, or `auto`: the first whose key is set, else the playbook.",
    )
    ai_model: str | None = Field(
        default=None,
        description=f"The model's id; without it {_DEFAULT_MODEL} (openai/{_DEFAULT_MODEL} at OpenRouter).",
    )
    ai_timeout_seconds: float = Field(
        default=30, gt=0, le=600, description="An answer's deadline, retries and all; a request's own may be shorter."
    )
    ai_max_output_tokens: int = Field(default=2000, ge=16, le=100_000, description="The longest reply, in tokens.")
    ai_daily_budget_usd: Decimal | None = Field(
        default=Decimal(5),
        ge=0,
        le=1_000_000,
        description="What models may cost in a day (UTC), all processes together; set but empty, whatever they cost.",
    )
    ai_fallback: AiFallback = Field(
        default=AiFallback.NONE, description="`playbook`: it answers, labelled, when the provider cannot."
    )
    ai_app_url: str | None = Field(default=None, description="Your CRM's address, shown to OpenRouter as the caller.")
    ai_app_title: str | None = Field(default=None, description="Your CRM's name, shown to OpenRouter as the caller.")

    @field_validator("openrouter_api_key", "openai_api_key", "ai_model", "ai_daily_budget_usd", mode="before")
    @classmethod
    def _empty_is_unset(cls, given: object) -> object:
        """`OPENAI_API_KEY=` in an environment file means none."""
        return (given.strip() or None) if isinstance(given, str) else given

    @field_validator("openrouter_api_key", "openai_api_key")
    @classmethod
    def _fits_a_header(cls, given: SecretStr | None) -> SecretStr | None:
        """A key that was pasted with something else would fail at every question, and be quoted in the error."""
        if given is not None and not (given.get_secret_value().isascii() and given.get_secret_value().isprintable()):
            msg = "holds characters that no key has"
            raise ValueError(msg)
        return given

    @field_validator("openai_base_url")
    @classmethod
    def _is_address(cls, given: str) -> str:
        parts = urlsplit(given)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            msg = "must be an address like https://api.openai.com/v1"
            raise ValueError(msg)
        return given

    @model_validator(mode="after")
    def _has_key(self) -> Self:
        """A provider that is named must have its key, or nobody finds out before the first question."""
        keys = {AiProvider.OPENROUTER: self.openrouter_api_key, AiProvider.OPENAI: self.openai_api_key}
        if self.ai_provider in keys and keys[self.ai_provider] is None:
            name = self.ai_provider.value
            msg = f"CRM_AI_PROVIDER={name} needs {name.upper()}_API_KEY"
            raise ValueError(msg)
        return self

    @property
    def ai_chosen(self) -> AiProvider:
        """The provider, once `auto` is settled."""
        if self.ai_provider is not AiProvider.AUTO:
            return self.ai_provider
        if self.openrouter_api_key is not None:
            return AiProvider.OPENROUTER
        return AiProvider.PLAYBOOK if self.openai_api_key is None else AiProvider.OPENAI

    @property
    def ai_model_chosen(self) -> str:
        """The model's id, as its provider spells it."""
        if self.ai_model is not None:
            return self.ai_model
        return f"openai/{_DEFAULT_MODEL}" if self.ai_chosen is AiProvider.OPENROUTER else _DEFAULT_MODEL


@lru_cache
def settings() -> Settings:
    """The settings of this process."""
    return Settings()
