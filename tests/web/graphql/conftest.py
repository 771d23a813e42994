"""A server of a test's own, whose memory is measured: no fork, which shares another process's."""

import pytest

from tests.support.servers import Server


@pytest.fixture
def alone(database_url, tmp_path):
    """A server that has answered nobody else."""
    running = Server(database_url, tmp_path / "log", fork=False).start()
    yield running
    running.stop()
