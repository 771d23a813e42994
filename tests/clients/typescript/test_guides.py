"""The guides for frontend developers say nothing that is not so: every example is run, every table compared."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from graphql import build_schema, parse, validate
from graphql.execution.values import get_variable_values

from crm.ai_tasks.runner import LASTING
from crm.core import errors
from crm.graph.run import answers

ROOT = Path(__file__).parents[3]
GUIDES = ROOT / "docs" / "guides"
BLOCK = re.compile(r"^```(\w+) ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(guide):
    return BLOCK.findall((GUIDES / guide).read_text())


@pytest.fixture
def sales(make_user, make_lead, make_task, make_interaction):
    """The records that the examples are about."""
    maja = make_user(name="Maja Lind", email="maja@example.com")
    asa = make_lead(
        first_name="Åsa",
        last_name="Ångström",
        company="Nordic Timber",
        email="asa@nordictimber.example",
        status="qualified",
        budget="125000.00",
        currency="SEK",
        tags=["wood", "export"],
        activity_score=82,
        owner_id=maja["id"],
    )
    make_lead(first_name="John", last_name="Hill", company="Hill & Sons", tags=["export"], activity_score=40)
    make_lead(first_name="Ingrid", last_name="Berg", company="Bergs Bageri", status="won")
    make_task(lead_id=asa["id"], title="Send the price list", due_date="2027-02-01T08:00:00Z", priority="high")
    make_task(lead_id=asa["id"], title="Ask about the sawmill", source="ai_suggested", generated_by="playbook")
    make_interaction(lead_id=asa["id"], type="call", subject="First call", occurred_at="2026-11-02T09:00:00Z")


def settled(value):
    """An answer without what differs by the run: who was faster, and when."""
    if isinstance(value, dict):
        return {key: settled(member) for key, member in value.items() if key not in {"changedAt", "changedById"}}
    return [settled(element) for element in value] if isinstance(value, list) else value


async def run_examples(guide, graphql):
    """Each query with its variables; then, where the guide shows the answer, the same answer."""
    found = blocks(guide)
    count = 0
    for place, (kind, _, text) in enumerate(found):
        if kind != "graphql":
            continue
        following = found[place + 1 : place + 3]
        after = {word: json.loads(shown) for language, word, shown in following if language == "json"}
        answer = await graphql(text, role="member", expect_errors=True, **after.get("variables", {}))
        for problem in answer.get("errors", ()):
            problem.pop("locations", None)
        assert settled(answer) == settled(after["answer"]), f"{guide}, example {place}:\n{text}"
        count += 1
    return count


@pytest.mark.usefixtures("sales")
class TestGraphQLGuide:
    async def test_the_examples_answer_as_shown(self, graphql):
        assert await run_examples("graphql.md", graphql) > 5

    def test_the_commands_work(self, server):
        environment = {**os.environ, "CRM_URL": f"{server.url}/graphql", "CRM_TOKEN": server.token("member")}
        commands = [text for kind, _, text in blocks("graphql.md") if kind == "sh"]
        assert commands
        for command in commands:
            done = subprocess.run(
                ["bash", "-ec", command], env=environment, capture_output=True, text=True, timeout=30, check=True
            )
            assert "Nordic Timber" in done.stdout

    def test_the_table_of_errors_has_every_code_with_its_status(self):
        rows = re.findall(r"^\| `([A-Z_]+)` \| (\d+) \|", (GUIDES / "graphql.md").read_text(), re.MULTILINE)
        statuses = {kind.code: str(kind.status) for kind in all_errors(errors.CrmError)}
        statuses |= dict.fromkeys(answers.MISTAKES, str(answers.UNPROCESSABLE))
        assert dict(rows) == {code: statuses[code] for code in errors.ErrorCode.__members__}


class TestHTTPGuide:
    def test_the_commands_answer_as_shown(self, server, db):  # noqa: ARG002
        environment = {**os.environ, "CRM_URL": f"{server.url}/graphql", "CRM_TOKEN": server.token("member")}
        found = blocks("http.md")
        for (kind, _, command), (after, _, shown) in zip(found, [*found[1:], ("", "", "")], strict=True):
            if kind == "sh":
                done = subprocess.run(
                    ["bash", "-ec", command], env=environment, capture_output=True, text=True, timeout=30, check=True
                )
                if after == "json":
                    answer = json.loads(done.stdout)
                    for problem in answer.get("errors", ()):
                        problem.pop("locations", None)
                    assert answer == json.loads(shown), command
                elif after == "http":
                    assert [line for line in shown.splitlines() if line not in done.stdout.splitlines()] == []


def all_errors(kind: type[errors.CrmError]):
    """The classes that name a code, the first of each."""
    found = {kind.code: kind}
    for one in vars(errors).values():
        if isinstance(one, type) and issubclass(one, kind):
            found.setdefault(one.code, one)
    return found.values()


class TestAiTasksGuide:
    """Its answers hold ids and times of one day, so they are compared with what was asked for, not with an answer."""

    def test_the_examples_are_valid_and_the_answers_have_what_was_asked_for(self):
        schema = build_schema((ROOT / "schema.graphql").read_text())
        operation, count = None, 0
        for kind, word, text in blocks("ai-tasks.md"):
            if kind == "graphql":
                document = parse(text)
                assert validate(schema, document) == [], text
                operation, count = document.definitions[0], count + 1
            elif word == "variables":
                given = get_variable_values(schema, operation.variable_definitions, json.loads(text))
                assert not isinstance(given, list), given  # of errors
            elif word in {"answer", "answers"}:
                for answer in text.splitlines() if word == "answers" else [text]:
                    assert shape(json.loads(answer)["data"]) <= asked_for(operation), answer
        assert count > 10

    def test_the_table_of_error_codes_has_those_of_the_code(self):
        rows = re.findall(r"^\| `([A-Z_]+)` \| .* \| (yes|no)\b", guide_text("ai-tasks.md"), re.MULTILINE)
        files = (ROOT / "crm" / "ai_tasks" / f"{name}.py" for name in ("task_types", "lease", "runner"))
        code = "".join(file.read_text() for file in files)
        assert dict(rows).keys() >= set(re.findall(r'code(?:: str)? ?= ?"([A-Z_]+)"', code))
        assert dict(rows).keys() <= {*re.findall(r'"([A-Z_]+)"', code), *errors.ErrorCode.__members__}
        # No task type computes a query; and a spent budget is one case of a code whose others are tried again.
        lasting = {kind.code for kind in LASTING} - {errors.TooComplex.code, errors.AiUnavailable.code}
        assert {name for name, again in rows if again == "no"} == lasting


def shape(value):
    """The paths of an answer's members."""
    if isinstance(value, list):
        return set().union(*map(shape, value))
    return (
        {(key, *path) for key, one in value.items() for path in [(), *shape(one)]} if isinstance(value, dict) else set()
    )


def asked_for(node, before=()):
    """The paths of what an operation selects, and whatever is within JSON."""
    found = set()
    for field in node.selection_set.selections:
        path = (*before, field.name.value)
        found.add(path)
        if field.selection_set:
            found |= asked_for(field, path)
        elif path[-1] == "result":
            found |= {(*path, name) for name in ("suggestedTaskIds", "taskIds", "complete", "message")}
    return found


@pytest.mark.usefixtures("sales")
class TestPagingGuide:
    async def test_the_examples_answer_as_shown(self, graphql):
        assert await run_examples("paging.md", graphql) >= 2

    def test_the_orders_served_by_an_index_are_those_that_the_schema_names(self):
        sdl = (ROOT / "schema.graphql").read_text()
        named = {
            (kind, field)
            for kind, body in re.findall(r"^enum (\w+)OrderField \{\n(.*?)^\}", sdl, re.MULTILINE | re.DOTALL)
            for text, field in re.findall(r'"""(.*?)"""\s+(\w+)', body, re.DOTALL)
            if "Served by an index" in text and f"type {kind}Connection " in sdl
        }
        listed = {
            (kind, field)
            for kind, cell in re.findall(r"^\| `(\w+?)s?Connection` \| (.*?) \|", guide_text("paging.md"), re.MULTILINE)
            for field in re.findall(r"`([A-Z_]+)`", cell)
        }
        assert {(kind.capitalize(), field) for kind, field in listed} == named


class TestGuidesToClients:
    PROJECTS = pytest.mark.parametrize(
        ("guide", "folder"), [("typescript.md", "typescript"), ("python.md", "."), ("federation.md", "federation")]
    )

    @PROJECTS
    def test_their_code_is_the_code_of_the_projects(self, guide, folder):
        """A block named after a file is in that file, word for word."""
        shown = [(name, text) for kind, name, text in named_blocks(guide)]
        assert len(shown) > 3
        for name, text in shown:
            assert text.strip() in (ROOT / "tests" / "clients" / folder / name).read_text(), name

    @PROJECTS
    def test_what_their_code_imports_is_shown(self, guide, folder):
        """Whoever copies the blocks of a file has what they use."""
        files = {}
        for kind, name, text in named_blocks(guide):
            if kind in {"ts", "js", "python"}:
                files[name] = files.get(name, "") + text
        assert files
        for name, shown in files.items():
            whole = (ROOT / "tests" / "clients" / folder / name).read_text()
            code = re.sub(r'"[^"\n]*"', "", IMPORT.sub("", shown))
            used = imported(whole) & set(re.findall(r"[\w$]+", code))
            assert used <= imported(shown), name


# Of TypeScript, but for what the tests' programs share; and of Python.
IMPORT = re.compile(
    r"""^import\s+(?:type\s+)?([^;]+?)\s+from\s+"(?!../../shared)[^"]+";
    | ^from\s+\S+\s+import\s+(\([^)]+\)|[^(\n]+)
    | ^import\s+(\w+)$""",
    re.MULTILINE | re.VERBOSE,
)


def imported(code):
    """The names that a program imports."""
    names = " ".join("".join(found) for found in IMPORT.findall(code))
    return set(re.findall(r"[\w$]+", re.sub(r"\w+\s+as\s|\btype\b", "", names))) - {"as"}


def guide_text(guide):
    return (GUIDES / guide).read_text()


def named_blocks(guide):
    return re.findall(r"^```(\w+) ([\w./]+)\n(.*?)^```$", guide_text(guide), re.MULTILINE | re.DOTALL)
