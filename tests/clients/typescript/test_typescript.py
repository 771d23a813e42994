"""What a frontend developer does: generate types from the schema, compile a program against them, run it."""

import json
import re
from pathlib import Path

import pytest

from crm.web.graphql.persisted import PersistedDocuments
from tests.support import node

HERE = Path(__file__).parent
# A first run installs the packages.
pytestmark = pytest.mark.timeout(360)


def npm(*arguments, **environment):
    """Run npm in the project."""
    return node.run(HERE, "npm", *arguments, **environment)


@pytest.fixture(scope="module")
def compiled():
    """The project, installed, with its types generated and its program compiled."""
    with node.alone_with(HERE.parent):
        npm("run", "codegen")
        npm("run", "compile")


def bearer(server):
    return {"Authorization": f"Bearer {server.token('viewer')}"}


def without_one_of(path):
    """The generated types but one: the generator does not ask a server for @oneOf, which only the file tells it."""
    text, found = re.subn(r"export type LeadKey =.*?\n\n", "", path.read_text(), flags=re.DOTALL)
    assert found == 1
    return text


@pytest.mark.usefixtures("compiled")
class TestTypedClient:
    def test_types_are_generated_and_the_program_compiles_strictly(self):
        generated = (HERE / "src" / "gql" / "graphql.ts").read_text()
        types = re.sub(r"/\*.*?\*/", "", generated.split("export class TypedDocumentString")[0], flags=re.DOTALL)
        assert "export type LeadFilter = {" in types
        assert re.findall(r".*\bany\b.*", types) == []
        assert (HERE / "out" / "main.js").exists()

    def test_the_server_knows_its_documents_by_their_hashes(self):
        file = HERE / "src" / "gql" / "persisted-documents.json"
        documents = PersistedDocuments.read([file], only=True)
        written = json.loads(file.read_text())
        assert len(written) > 10
        for key, text in written.items():
            assert key.startswith("sha256:")
            assert documents.named({"documentId": key}) == text
            assert (
                documents.named({"extensions": {"persistedQuery": {"sha256Hash": key.removeprefix("sha256:")}}}) == text
            )

    def test_a_running_server_gives_the_same_types_as_the_file(self, server, tmp_path):
        config = HERE / "out" / "codegen.live.ts"  # beside the packages that it imports
        source = json.dumps([{f"{server.url}/graphql": {"headers": bearer(server)}}])
        text, replaced = re.subn(r'"[./]*/schema\.graphql"', lambda _: source, (HERE / "codegen.ts").read_text())
        assert replaced == 1
        config.write_text(text.replace("src/gql/", f"{tmp_path}/"))
        npm("run", "codegen", "--", "--config", str(config))
        assert without_one_of(tmp_path / "graphql.ts") == without_one_of(HERE / "src" / "gql" / "graphql.ts")

    def test_the_program_runs_against_a_live_server(self, server, db):
        printed = npm("start", CRM_URL=f"{server.url}/graphql", CRM_TOKEN=server.token("member"))

        flows = re.findall(r"^ok (\w+)$", printed, re.MULTILINE)
        assert flows == ["list", "one", "change", "tasks", "paging", "bulk", "errors", "live", "aiTasks"]
        stored = db.execute("SELECT location, company, deleted_at FROM leads WHERE last_name = 'Sjöö'").fetchone()
        assert (stored["location"], stored["company"]) == ("Umeå", None)
        assert stored["deleted_at"] is not None, "the program tidies up after itself"

    @pytest.mark.usefixtures("db")
    def test_a_program_that_fails_says_so(self, server):
        with pytest.raises(pytest.fail.Exception, match="needs the role member"):
            npm("start", CRM_URL=f"{server.url}/graphql", CRM_TOKEN=server.token("viewer"))


@pytest.mark.usefixtures("compiled")
class TestSchema:
    def test_keeps_the_rules_of_graphql_eslint(self):
        npm("run", "lint")


class TestLockFile:
    def test_installs_from_whatever_registry_is_configured(self):
        packages = json.loads((HERE.parent / "package-lock.json").read_text())["packages"]
        assert [name for name, package in packages.items() if "resolved" in package] == []
        assert [name for name, package in packages.items() if name and "integrity" not in package] == []
