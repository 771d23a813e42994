"""Every setting of the program, read from the environment once: a group a file."""

from functools import lru_cache

from pydantic_settings import BaseSettings, SettingsConfigDict

from crm.core.settings.ai import AiFallback, AiProvider, AiSettings
from crm.core.settings.database import DatabaseSettings
from crm.core.settings.operations import OperationSettings
from crm.core.settings.program import ProgramSettings
from crm.core.settings.web import WebSettings
from crm.core.settings.work import WorkSettings

__all__ = ["AiFallback", "AiProvider", "Settings", "settings"]


class Settings(
    AiSettings, WorkSettings, WebSettings, OperationSettings, DatabaseSettings, ProgramSettings, BaseSettings
):
    """Each field is an environment variable; the description says what it does."""

    model_config = SettingsConfigDict(
        env_prefix="CRM_", extra="ignore", populate_by_name=True, hide_input_in_errors=True
    )


@lru_cache
def settings() -> Settings:
    """The settings of this process."""
    return Settings()
