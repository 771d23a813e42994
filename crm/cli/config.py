"""The settings that a command needs, or a sentence that says which is missing or wrong."""

from pydantic import ValidationError

from crm.cli.console import fail
from crm.core.settings import Settings

_MIN_SECRET = 32


def read_settings() -> Settings:
    """The settings of the environment."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(
            ": ".join([*map(_variable, one["loc"][:1]), one["msg"].removeprefix("Value error, ")])
            for one in error.errors()
        )
        fail(f"A setting is wrong. {wrong}.")


def _variable(name: object) -> str:
    """A setting's environment variable."""
    text = str(name)
    return text if text.isupper() else f"CRM_{text.upper()}"


def database_url(config: Settings) -> str:
    """DATABASE_URL; the command cannot do without."""
    if not config.database_url:
        fail("Set DATABASE_URL, like postgresql://user:password@host:5432/crm (or use `crm dev`, which needs none).")
    return config.database_url


def secret_key(config: Settings) -> str:
    """CRM_SECRET_KEY, long enough."""
    secret = config.secret_key.get_secret_value() if config.secret_key else ""
    if len(secret) < _MIN_SECRET:
        fail(
            f"Set CRM_SECRET_KEY to {_MIN_SECRET} characters or more, the same for all processes: "
            "python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
        )
    return secret
