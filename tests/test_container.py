"""Dockerfile and compose.yaml: what they name is there, and what they run is what this repository offers."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from crm.cli import app
from crm.core.settings import Settings

ROOT = Path(__file__).parents[1]
PAGE = "docs/operations/docker.md"
VARIABLE = re.compile(r"\$\{(\w+)(?:(:[?-])([^}]*))?\}")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile and what follows it, on one line."""
    lines = [line for line in text_of("Dockerfile").splitlines() if line and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", "").splitlines()
    return [(words[0], words[1]) for words in (line.split(maxsplit=1) for line in joined)]


def of_kind(kind: str) -> list[str]:
    return [rest for name, rest in instructions() if name == kind]


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    return found[max(place for place, (name, _) in enumerate(found) if name == "FROM") :]


def variables_of_settings() -> set[str]:
    return {str(field.validation_alias or f"CRM_{name.upper()}") for name, field in Settings.model_fields.items()}


def check_command(arguments: list[str]) -> None:
    """Let the command line parse this, as `crm` would before it does anything."""
    group: Any = typer.main.get_command(app)
    commands = group.commands
    assert arguments[0] in commands, arguments
    commands[arguments[0]].make_context(arguments[0], arguments[1:])


COMPOSE = yaml.safe_load(text_of("compose.yaml"))
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "crm"}


class TestDockerfile:
    def test_base_images_have_a_version(self):
        stages = [rest.split() for rest in of_kind("FROM")]
        assert len(stages) == 3
        for image, *_ in stages:
            assert re.fullmatch(r"(node|python):\d+(\.\d+)*-[a-z-]+", image), image

    def test_python_is_new_enough_for_the_package_and_node_for_the_page(self):
        versions = dict(rest.split()[0].split("-")[0].split(":") for rest in of_kind("FROM"))
        assert f'requires-python = ">={versions["python"]}"' in text_of("pyproject.toml")
        wanted = json.loads(text_of("crm/web/graphiql/package.json"))["engines"]["node"]
        assert int(versions["node"]) >= int(wanted.removeprefix(">="))

    def test_what_is_copied_is_there_and_let_in(self):
        let_in = {line[1:] for line in text_of(".dockerignore").splitlines() if line.startswith("!")}
        stages = {rest.split()[2] for rest in of_kind("FROM") if " AS " in rest}
        sources = []
        for rest in of_kind("COPY"):
            origin = re.match(r"--from=(\w+) ", rest)
            if origin:
                assert origin[1] in stages
            else:
                sources += rest.split()[:-1]
        assert len(sources) > 6
        for source in sources:
            assert (ROOT / source).exists(), source
            assert Path(source).parts[0] in let_in, source

    def test_secrets_and_data_stay_out(self):
        ignored = text_of(".dockerignore").splitlines()
        assert next(line for line in ignored if not line.startswith("#")) == "*"
        assert not {"!.env", "!.data", "!.git", "!tests"} & set(ignored)
        assert not [rest for kind in ("ENV", "ARG") for rest in of_kind(kind) if re.search("SECRET|PASSWORD|KEY", rest)]
        assert ".env" in text_of(".gitignore").splitlines()

    def test_packages_are_held_against_their_hashes(self):
        [fetched] = [rest for rest in of_kind("RUN") if "pip download" in rest]
        assert "--require-hashes" in fetched
        assert "requirements.lock" in fetched
        [installed] = [rest for rest in of_kind("RUN") if "pip install" in rest]
        assert "--no-index" in installed

    def test_runs_as_nobody_in_particular(self):
        stage = last_stage()
        names = [name for name, _ in stage]
        assert names.count("USER") == 1
        assert not {"RUN", "COPY"} & set(names[names.index("USER") :])
        user = dict(stage)["USER"]
        assert user != "0"
        assert f"useradd --system --uid {user}" in " ".join(rest for name, rest in stage if name == "RUN")

    def test_signals_reach_the_program(self):
        """In the exec form there is no shell between."""
        assert json.loads(of_kind("ENTRYPOINT")[0]) == ["crm"]
        command = json.loads(of_kind("CMD")[0])
        check_command(command)
        assert of_kind("EXPOSE") == [command[command.index("--port") + 1]]


class TestHealthcheck:
    @pytest.fixture
    def check(self):
        """Run the image's check against another port."""
        [text] = of_kind("HEALTHCHECK")
        program, *arguments = json.loads(text[text.index("CMD") + 4 :])
        assert program == "python"

        def run(port: int) -> int:
            command = [sys.executable, *(one.replace("8000", str(port)) for one in arguments)]
            return subprocess.run(command, check=False, timeout=30, stderr=subprocess.DEVNULL).returncode

        return run

    def test_says_whether_a_server_lives(self, check, server):
        assert check(server.port) == 0

    def test_says_whether_nothing_listens(self, check):
        assert check(1) == 1


class TestCompose:
    def test_commands_are_ours(self):
        assert set(OURS) == {"migrate", "api", "worker"}
        for service in OURS.values():
            check_command(service["command"])

    def test_variables_are_settings_of_ours(self):
        known = variables_of_settings()
        for name, service in OURS.items():
            assert set(service["environment"]) <= known, name
            assert {"DATABASE_URL", "CRM_SECRET_KEY"} <= set(service["environment"])

    def test_passwords_have_no_default(self):
        found = VARIABLE.findall(text_of("compose.yaml"))
        assert {name for name, *_ in found} <= variables_of_settings() | {"POSTGRES_PASSWORD"}
        for name, kind, default in found:
            if name in {"POSTGRES_PASSWORD", "CRM_SECRET_KEY"}:
                assert kind == ":?", name
                assert PAGE in default
            else:
                assert (kind, default) == (":-", "")

    def test_values_are_taken(self, monkeypatch):
        """What Compose hands to the program, given the `.env` that the page makes, is valid."""
        values = {"POSTGRES_PASSWORD": "a1b2", "CRM_SECRET_KEY": "k" * 32}
        for name, value in OURS["api"]["environment"].items():
            monkeypatch.setenv(name, VARIABLE.sub(lambda found: values.get(found[1], ""), value))
        settings = Settings()
        assert settings.database_url == "postgresql://crm:a1b2@database:5432/crm"
        assert settings.cors_origins == ""
        assert settings.openai_api_key is None

    def test_ports_are_on_loopback_and_postgresql_has_none(self):
        ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
        assert set(ports) == {"api"}
        assert all(port.startswith("127.0.0.1:") for port in ports["api"])

    def test_waits_for_what_it_needs(self):
        """For PostgreSQL to answer, and for the tables to be up to date."""
        assert "test" in SERVICES["database"]["healthcheck"]
        assert SERVICES["migrate"]["depends_on"] == {"database": {"condition": "service_healthy"}}
        for name in ("api", "worker"):
            assert OURS[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
        assert "healthcheck" not in OURS["api"]  # the image's
        assert all(OURS[name]["healthcheck"] == {"disable": True} for name in ("migrate", "worker"))

    def test_data_is_kept_in_a_volume(self):
        [mounted] = SERVICES["database"]["volumes"]
        name, path = mounted.split(":")
        assert name in COMPOSE["volumes"]
        assert path == "/var/lib/postgresql"  # PostgreSQL 18's image keeps a folder for each version in it

    def test_is_given_time_to_stop(self):
        grace = Settings.model_fields["worker_grace_seconds"].default
        for name in ("api", "worker"):
            assert int(OURS[name]["stop_grace_period"].removesuffix("s")) > grace + 10


class TestPage:
    def test_commands_are_those_of_the_files(self):
        lines = [shlex.split(line, comments=True) for line in re.findall("^docker .*", text_of(PAGE), re.MULTILINE)]
        executed = [words[4:] for words in lines if words[:4] == ["docker", "compose", "exec", "api"]]
        assert len(executed) > 1
        for program, *arguments in executed:
            assert program == "crm"
            check_command(arguments)
        for words in lines:
            if words[:2] == ["docker", "run"]:
                check_command(words[words.index("crm") + 1 :] or ["serve"])

    def test_names_the_services_and_settings(self):
        page = text_of(PAGE)
        for name in SERVICES:
            assert f"| `{name}` |" in page
        for name in re.findall(r"CRM_[A-Z_]+", page):
            assert name in variables_of_settings()
        assert f"user {dict(last_stage())['USER']}" in page
