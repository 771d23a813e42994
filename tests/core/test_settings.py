"""Settings that hold secrets: refused by name alone, and never shown."""

import os
import traceback

import pytest
from pydantic import ValidationError

from crm.core.settings import Settings
from tests.support import children

NAMES = ["DATABASE_URL", "DATABASE_READ_URL", "DATABASE_LISTEN_URL"]
WHOLE = "postgresql://crm:hunter2@db.internal:5432/crm"
MALFORMED = {
    "an unescaped @": "postgresql://crm:hunt@er2@db:5432/crm",
    "an unescaped /": "postgresql://crm:hunt/er2@db:5432/crm",
    "an unescaped %": "postgresql://crm:hunt%er2@db:5432/crm",
    "a blank": "postgresql://crm:hunt er2@db:5432/crm",
    "an @ and a second port": "postgresql://crm:hunt@er2:5432@db:5432/crm",
    "another scheme": "mysql://crm:hunter2@db/crm",
    "no scheme": "crm:hunter2@db/crm",
}
PARTS = ("hunt", "er2")


def without_settings():
    return {name: value for name, value in os.environ.items() if not name.startswith(("CRM_", "DATABASE_"))}


class TestAddresses:
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("address", MALFORMED.values(), ids=MALFORMED)
    def test_that_are_none_are_refused_by_name_alone(self, monkeypatch, name, address):
        monkeypatch.setenv(name, address)
        with pytest.raises(ValidationError) as refused:
            Settings()
        shown = "".join(traceback.format_exception(refused.value))
        assert name in shown
        assert not [part for part in PARTS if part in shown], shown

    @pytest.mark.parametrize(
        "address",
        [
            WHOLE,
            "postgresql://crm:hunt%40er2@db/crm",
            "postgres://postgres@/crm?host=/tmp/a-folder",
            "postgresql://h1:5432,h2:5433/crm?target_session_attrs=read-write",
            "postgresql://[::1]:5432/crm",
        ],
    )
    def test_that_libpq_reads_are_taken_as_they_are(self, monkeypatch, address):
        monkeypatch.setenv("DATABASE_URL", address)
        assert Settings().database_url == address

    @pytest.mark.parametrize("name", NAMES)
    def test_do_not_show(self, monkeypatch, name):
        monkeypatch.setenv(name, WHOLE)
        config = Settings()
        for shown in (repr(config), str(config), repr(vars(config)), repr(list(config))):
            assert "hunter2" not in shown

    @pytest.mark.parametrize("command", ["serve", "worker", "migrate", "token"])
    def test_that_are_none_end_a_command_without_being_quoted(self, command):
        settings = {"DATABASE_URL": MALFORMED["an unescaped @"], "CRM_SECRET_KEY": "x" * 32}
        done = children.run_module("crm", [command], {**without_settings(), **settings})
        assert done.returncode == 2
        assert "DATABASE_URL" in done.stderr
        assert "%40" in done.stderr
        assert not [part for part in PARTS if part in done.stdout + done.stderr]


class TestDefaults:
    def test_let_no_echo_hold_a_slot_for_long(self, monkeypatch):
        monkeypatch.delenv("CRM_AI_TASK_ECHO_SECONDS", raising=False)
        assert Settings().ai_task_echo_seconds <= 5

    def test_bound_what_models_may_cost_in_a_day(self, monkeypatch):
        monkeypatch.delenv("CRM_AI_DAILY_BUDGET_USD", raising=False)
        assert Settings().ai_daily_budget_usd == 5
        monkeypatch.setenv("CRM_AI_DAILY_BUDGET_USD", "")
        assert Settings().ai_daily_budget_usd is None

    def test_leave_a_pause_between_recalculations(self, monkeypatch):
        monkeypatch.delenv("CRM_RECALCULATION_PAUSE_SECONDS", raising=False)
        assert Settings().recalculation_pause_seconds == 60
