"""Every setting of the program, read from the environment once."""

from functools import lru_cache
from pathlib import Path
from uuid import UUID

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Each field is an environment variable; the description says what it does."""

    model_config = SettingsConfigDict(env_prefix="CRM_", extra="ignore", populate_by_name=True)

    database_url: str | None = Field(
        default=None,
        validation_alias="DATABASE_URL",
        description="PostgreSQL 15-18; without it `crm dev` starts its own.",
    )
    database_read_url: str | None = Field(
        default=None,
        validation_alias="DATABASE_READ_URL",
        description="A replica for reads; used only when a client sends `X-Allow-Stale: true`.",
    )
    local_admin: UUID | None = Field(default=None, description="Set by `crm dev`: who a request without a token is.")
    database_listen_url: str | None = Field(
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
    plan_cache_bytes: int = Field(default=64 * 1024 * 1024, ge=0, description="Memory for compiled operations.")
    request_timeout_seconds: float = Field(default=30, gt=0, le=3600, description="A request's deadline.")
    connect_timeout_seconds: float = Field(default=5, gt=0, le=60, description="How long to wait for a connection.")
    max_answer_bytes: int = Field(default=16 * 1024 * 1024, ge=1024, description="The largest answer.")
    large_answer_bytes: int = Field(
        default=1024 * 1024,
        ge=1024,
        description="Answers from this size on queue for a few slots.",
    )
    large_answers: int = Field(default=4, ge=1, le=100, description="How many large answers may be under way at once.")

    max_body_bytes: int = Field(default=256 * 1024, ge=1024, description="The largest request body.")
    max_bulk_body_bytes: int = Field(default=2 * 1024 * 1024, ge=1024, description="The same for `createLeads`.")
    max_depth: int = Field(default=12, ge=1, description="How deep a selection may nest.")
    max_introspection_depth: int = Field(default=20, ge=1, description="The same for `__schema` and `__type`.")
    max_fields: int = Field(default=500, ge=1, description="Fields per operation, fragments expanded.")
    max_aliases: int = Field(default=30, ge=1, description="Aliases per operation, fragments expanded.")
    max_directives: int = Field(default=50, ge=0, description="Directives per operation.")
    max_fragments: int = Field(default=50, ge=0, description="Named fragments per document.")
    max_tokens: int = Field(default=4000, ge=10, description="Lexical tokens per document.")
    max_cost: int = Field(
        default=10_000,
        ge=1,
        description="Cost points per operation: roughly the records it may touch.",
    )
    max_validation_errors: int = Field(default=5, ge=1, le=100, description="Validation errors shown at once.")

    event_retention_days: int = Field(default=400, ge=1, description="Older events are removed.")
    websocket_init_seconds: float = Field(
        default=10,
        gt=0,
        description="A WebSocket must send `connection_init` within this time.",
    )
    websocket_operations: int = Field(default=100, ge=1, description="Operations at once on one WebSocket.")


@lru_cache
def settings() -> Settings:
    """The settings of this process."""
    return Settings()
