"""Which provider and model the settings choose, and what they refuse."""

import re
from pathlib import Path
from typing import get_args

import openai
import pytest
from openai.types.shared.chat_model import ChatModel
from pydantic import ValidationError

from crm.ai.build import build
from crm.ai.openai_client import OpenAiProvider
from crm.ai.playbook import PlaybookProvider
from crm.core.settings import Settings
from crm.db.database import Database
from tests.ai.questions import KEY
from tests.support import children

NAMES = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENROUTER_API_KEY")


@pytest.fixture(autouse=True)
def _no_keys_of_ours(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def built(database_url):
    database = Database(database_url)
    made = []

    def make(**given):
        made.append(build(Settings(**given), database))
        return made[-1]

    yield make
    for one in made:
        await one.close()
    database.close()


class TestTheProvider:
    async def test_without_a_key_is_the_playbook(self, built):
        assert isinstance(built().provider, PlaybookProvider)

    @pytest.mark.parametrize(
        ("given", "name", "model"),
        [
            ({"openrouter_api_key": KEY}, "openrouter", "openai/gpt-6-luna"),
            ({"openai_api_key": KEY}, "openai", "gpt-6-luna"),
            ({"openai_api_key": KEY, "openrouter_api_key": KEY}, "openrouter", "openai/gpt-6-luna"),
            ({"openai_api_key": KEY, "openrouter_api_key": KEY, "ai_provider": "openai"}, "openai", "gpt-6-luna"),
            ({"openai_api_key": KEY, "ai_model": "llama-5"}, "openai", "llama-5"),
            ({"openai_api_key": KEY, "ai_provider": "playbook"}, "playbook", "playbook"),
            ({"openai_api_key": "  ", "openrouter_api_key": ""}, "playbook", "playbook"),
        ],
        ids=str,
    )
    async def test_is_the_first_that_has_a_key_or_the_named_one(self, given, name, model, built):
        provider = built(**given).provider
        assert (provider.name, provider.model) == (name, model)

    async def test_at_another_address(self, built, model_server):
        provider = built(openai_api_key=KEY, openai_base_url=model_server.url).provider
        assert isinstance(provider, OpenAiProvider)

    async def test_falls_back_only_where_there_is_something_to_fall_back_from(self, built):
        assert built(openai_api_key=KEY, ai_fallback="playbook").falls_back
        assert not built(openai_api_key=KEY).falls_back
        assert not built(ai_fallback="playbook").falls_back


class TestMistakes:
    @pytest.mark.parametrize("name", ["openai", "openrouter"])
    def test_a_named_provider_without_its_key(self, name):
        with pytest.raises(ValidationError, match=f"{name.upper()}_API_KEY"):
            Settings(ai_provider=name)

    @pytest.mark.parametrize("address", ["localhost:1234", "ftp://x/v1", "https://", "not an address", "//x"])
    def test_a_base_that_is_no_address(self, address):
        with pytest.raises(ValidationError, match="must be an address"):
            Settings(openai_base_url=address)

    @pytest.mark.parametrize("key", ["sk-å", "sk\n-1", "sk-\x00"])
    def test_a_key_that_is_none_is_not_quoted(self, key):
        with pytest.raises(ValidationError, match="no key has") as raised:
            Settings(openai_api_key=key)
        assert "sk" not in raised.value.errors()[0]["msg"]

    def test_are_told_at_the_start(self):
        environment = {"PATH": "", "CRM_AI_PROVIDER": "openrouter", "DATABASE_URL": "postgresql://x/y"}
        found = children.run_module("crm", ["serve"], environment)
        assert found.returncode == 2
        assert "CRM_AI_PROVIDER=openrouter needs OPENROUTER_API_KEY" in found.stderr
        assert "Traceback" not in found.stderr


class TestTheDefaultModel:
    def test_is_one_that_the_sdk_lists_and_nobody_is_about_to_shut_down(self):
        model = Settings(openai_api_key=KEY).ai_model_chosen
        assert model in get_args(ChatModel)
        source = (Path(openai.__file__).parent / "types" / "shared" / "chat_model.py").read_text()
        retiring = set(re.findall(r'"([\w.-]+)"', source.split('"""Deprecated values:')[1]))
        assert "gpt-4o-mini" in retiring  # the list is where it was
        assert model not in retiring
