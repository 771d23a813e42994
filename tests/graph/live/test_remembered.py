"""What all channels remember, and what followers read for themselves, is bounded in sum."""

from crm.db.stream_position import Position
from crm.graph.live.event_filter import ProjectedEvent
from crm.graph.live.remembered import EventMemory, PrivateMemory

MIB = 1024 * 1024


def item(size):
    return ProjectedEvent(Position(0, 0), bytes(size))


def test_the_oldest_is_forgotten_wherever_it_is():
    remembered, channels = EventMemory(), {name: [] for name in "ab"}

    def add(name):
        one = item(10 * MIB)
        channels[name].append(one)
        remembered.add(one, lambda: remembered.remove(channels[name].pop(0)))

    for name in "aabbbb":
        add(name)
    assert [len(items) for items in channels.values()] == [2, 4]
    add("b")
    assert [len(items) for items in channels.values()] == [1, 5]
    for _ in range(3):
        add("b")
    assert [len(items) for items in channels.values()] == [0, 6]


def test_one_alone_is_remembered_however_large():
    remembered, kept = EventMemory(), [item(100 * MIB)]
    remembered.add(kept[0], lambda: remembered.remove(kept.pop()))
    assert len(kept) == 1


def test_who_is_behind_holds_all_that_was_read_or_the_first_of_it():
    private = PrivateMemory()
    items = [item(MIB) for _ in range(20)]
    with private.held(items) as first, private.held(items) as second:
        assert list(first) == items
        assert list(second) == items[:1]
    with private.held(items) as again:
        assert list(again) == items
