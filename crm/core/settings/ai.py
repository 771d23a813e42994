"""Models: who answers, how long that may take, and what it may cost."""

from decimal import Decimal
from enum import StrEnum
from typing import Final, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator


class AiProvider(StrEnum):
    """The provider of answers to the CRM's questions."""

    AUTO = "auto"
    OPENROUTER = "openrouter"
    OPENAI = "openai"
    PLAYBOOK = "playbook"


class AiFallback(StrEnum):
    """The provider of answers when the first one fails."""

    NONE = "none"
    PLAYBOOK = "playbook"


# The smallest current model: openai/types/shared/chat_model.py names no shutdown date for it (a test looks there).
_DEFAULT_MODEL: Final = "gpt-6-luna"


class AiSettings(BaseModel):
    """Models: who answers, how long that may take, and what it may cost."""

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
    def _empty_is_unset(cls, value: object) -> object:
        """Treat an empty value, like `OPENAI_API_KEY=` in an environment file, as none."""
        return (value.strip() or None) if isinstance(value, str) else value

    @field_validator("openrouter_api_key", "openai_api_key")
    @classmethod
    def _fits_a_header(cls, key: SecretStr | None) -> SecretStr | None:
        """Refuse a key with other characters: it would fail at every question, and be quoted in the error."""
        if key is not None and not (key.get_secret_value().isascii() and key.get_secret_value().isprintable()):
            msg = "holds characters that no key has"
            raise ValueError(msg)
        return key

    @field_validator("openai_base_url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            msg = "must be an address like https://api.openai.com/v1"
            raise ValueError(msg)
        return url

    @model_validator(mode="after")
    def _has_key(self) -> Self:
        """Refuse a chosen provider without its key, which would otherwise fail only at the first question."""
        keys = {AiProvider.OPENROUTER: self.openrouter_api_key, AiProvider.OPENAI: self.openai_api_key}
        if self.ai_provider in keys and keys[self.ai_provider] is None:
            name = self.ai_provider.value
            msg = f"CRM_AI_PROVIDER={name} needs {name.upper()}_API_KEY"
            raise ValueError(msg)
        return self

    @property
    def ai_chosen(self) -> AiProvider:
        """The provider, with `auto` resolved."""
        if self.ai_provider is not AiProvider.AUTO:
            return self.ai_provider
        if self.openrouter_api_key is not None:
            return AiProvider.OPENROUTER
        return AiProvider.PLAYBOOK if self.openai_api_key is None else AiProvider.OPENAI

    @property
    def ai_model_chosen(self) -> str:
        """The model's id, in its provider's spelling."""
        if self.ai_model is not None:
            return self.ai_model
        return f"openai/{_DEFAULT_MODEL}" if self.ai_chosen is AiProvider.OPENROUTER else _DEFAULT_MODEL
