"""Asking an engine in the tests' own process."""

import json
from collections.abc import Mapping
from typing import Any

from crm.core.identity import Viewer
from crm.graph.run.engine import Engine, Request


async def answer(engine: Engine, viewer: Viewer, query: str, variables: Mapping[str, Any] | None = None) -> Any:
    """The whole answer."""
    return json.loads((await engine.run(Request(query, None, variables or {}), viewer)).body)


async def data(engine: Engine, viewer: Viewer, query: str, variables: Mapping[str, Any] | None = None) -> Any:
    """The answer's data, where no errors are expected."""
    found = await answer(engine, viewer, query, variables)
    assert "errors" not in found, found["errors"]
    return found["data"]
