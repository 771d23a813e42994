"""What tests of all ways in share."""

import gc

import pytest


@pytest.fixture
def uncollected():
    """Free nothing but what nobody refers to any more: the collector does not come by."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
