"""The program itself: who signs, what it says, who may call it."""

from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, Field, SecretStr


class ProgramSettings(BaseModel):
    """The program itself: who signs, what it says, who may call it."""

    secret_key: SecretStr | None = Field(
        default=None, description="Signs tokens; 32 characters or more. Needed by `crm serve`."
    )
    local_admin: UUID | None = Field(default=None, description="Set by `crm dev`: who a request without a token is.")
    data_dir: Path = Field(default=Path(".data"), description="Where `crm dev` keeps its embedded PostgreSQL.")
    cors_origins: str = Field(
        "",
        description="Browser origins that may call the API, separated by commas; none by default.",
    )
    introspection: bool = Field(default=True, description="Whether clients may ask the API for its schema.")
    log_format: str = Field(default="auto", description="`json`, `text`, or `auto`: text on a terminal.")
    log_level: str = Field(default="info", description="`debug`, `info`, `warning` or `error`.")
