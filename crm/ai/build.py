"""Builds the AI gateway from the settings."""

from crm.ai.calls import Calls
from crm.ai.gateway import Ai
from crm.ai.playbook import PlaybookProvider
from crm.ai.provider import Provider
from crm.core.settings import AiFallback, AiProvider, Settings
from crm.db.database import Database


def build(config: Settings, database: Database) -> Ai:
    """Build the gateway; the app and the worker have one per process."""
    provider = _provider(config)
    falls_back = config.ai_fallback is AiFallback.PLAYBOOK and not isinstance(provider, PlaybookProvider)
    return Ai(
        provider,
        Calls(database, config.ai_daily_budget_usd),
        timeout=config.ai_timeout_seconds,
        fallback=PlaybookProvider() if falls_back else None,
    )


def _provider(config: Settings) -> Provider:
    chosen = config.ai_chosen
    if chosen is AiProvider.PLAYBOOK:
        return PlaybookProvider()
    from crm.ai import openai_client  # noqa: PLC0415  (takes a third of a second; needed only with a key)

    if chosen is AiProvider.OPENROUTER:
        assert config.openrouter_api_key is not None
        endpoint = openai_client.openrouter(
            config.openrouter_api_key.get_secret_value(), app_url=config.ai_app_url, app_title=config.ai_app_title
        )
    else:
        assert config.openai_api_key is not None
        endpoint = openai_client.openai_or_compatible(config.openai_api_key.get_secret_value(), config.openai_base_url)
    return openai_client.OpenAiProvider(endpoint, config.ai_model_chosen, max_output_tokens=config.ai_max_output_tokens)
