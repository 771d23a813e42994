"""A request's deadline, and its client's patience."""

import asyncio
import time

import pytest

from crm.web.deadline import Receive, RequestDeadline
from tests.support.waiting import eventually


async def _silent() -> dict[str, str]:
    await asyncio.sleep(60)
    return {"type": "http.request"}


async def _gone() -> dict[str, str]:
    return {"type": "http.disconnect"}


async def _watched(seconds: float, receive: Receive, *, reading: float = 0) -> None:
    """A request that takes longer than anybody waits for it."""
    with RequestDeadline(asyncio.get_running_loop(), seconds) as patience:
        await asyncio.sleep(reading)
        patience.watch(receive)
        await asyncio.sleep(60)


async def test_time_is_up():
    begun = time.monotonic()
    with pytest.raises(TimeoutError), RequestDeadline(asyncio.get_running_loop(), 0.05):
        await asyncio.sleep(60)
    assert 0.03 < time.monotonic() - begun < 10
    assert asyncio.current_task().cancelling() == 0


async def test_a_deadline_beyond_the_first_look_holds_too():
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        await _watched(0.5, _silent)
    assert 0.45 < time.monotonic() - begun < 10


async def test_a_client_that_goes_away_ends_it():
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        await _watched(20, _gone)
    assert time.monotonic() - begun < 10


async def test_a_request_still_being_read_when_first_looked_at_is_watched_later():
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        await _watched(20, _gone, reading=0.3)
    assert time.monotonic() - begun < 10


async def test_nothing_is_left_when_the_work_is_done_in_time():
    with RequestDeadline(asyncio.get_running_loop(), 2) as patience:
        patience.watch(_silent)
        await asyncio.sleep(0.25)
    before = asyncio.all_tasks()
    await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()})
    assert asyncio.current_task().cancelling() == 0
    assert len(before) <= 2  # this test, and the watcher that is being cancelled


async def test_a_cancellation_from_outside_stays_one():
    async def work() -> None:
        with RequestDeadline(asyncio.get_running_loop(), 20):
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_another_error_is_passed_on():
    with pytest.raises(LookupError), RequestDeadline(asyncio.get_running_loop(), 20):
        raise LookupError
