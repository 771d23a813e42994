"""A server of a test's own, whose memory is measured: what it shares with others does not grow."""

import pytest

from tests.support.servers import Server


@pytest.fixture
def alone(database_url, tmp_path):
    """A server that has answered nobody else."""
    running = Server(database_url, tmp_path / "log").start()
    yield running
    running.stop()
