"""A server of a test's own."""

import pytest

from tests.support.servers import Server


@pytest.fixture
def alone(database_url, tmp_path):
    """A server that has answered nobody else."""
    running = Server(database_url, tmp_path / "log").start()
    yield running
    running.stop()
